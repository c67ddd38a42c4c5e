# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The document that a guest is launched with, as its launch unit reads it."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from typing import Any

from .._core.errors import ProviderError
from .contract import BLANK, LaunchRequest, VolumeState

USER_DATA_LIMIT = 16384  # bytes that EC2 accepts, before Base64
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/user-data.html


def launch_document(members: Mapping[str, bytes]) -> bytes:
    """The tarball that the guest's launch unit unpacks into /run/immutable. Only root can read secrets."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in sorted(members.items()):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            entry.mode = 0o400 if name.startswith("secrets/") else 0o444
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def members(request: LaunchRequest) -> dict[str, bytes]:
    """The document's files by name, including secrets in clear text."""
    files = {
        "nonce": request.nonce.encode() + b"\n",
        "purpose": request.purpose.encode() + b"\n",
        "settings.json": json.dumps(dict(request.settings), sort_keys=True).encode(),
        "settings.env": "".join(f"{name}={_env(value)}\n" for name, value in sorted(request.settings.items())).encode(),
    }
    if request.authorized_keys:
        files["authorized_keys"] = "".join(f"{key.strip()}\n" for key in request.authorized_keys).encode()
    for name, value in request.secrets.items():
        files[f"secrets/{name}"] = value.encode("utf-8", "surrogateescape")  # the environment may hold any bytes
    return files


def volume_states(states: Mapping[str, VolumeState]) -> bytes:
    """The file that reports new volumes to the guest: name and state, one volume per line."""
    return "".join(f"{name} {state}\n" for name, state in sorted(states.items())).encode()


def user_data(
    request: LaunchRequest,
    volumes: Mapping[str, str],
    region: str,
    endpoint_url: str = "",
    blank: Sequence[str] = (),
    evidence: Mapping[str, Any] | None = None,
) -> bytes:
    """The document for EC2, compressed. The same launch gives the same bytes, as its client token requires.

    Args:
        volumes: for each data volume of the slot, attached now or later: name in the definition -> id of the EBS
            volume.
        region: where the guest finds the parameters of ``secret_refs``.
        endpoint_url: of AWS services as the guest reaches them; "" for AWS's own.
        blank: names of the volumes that were created blank.
        evidence: where the guest puts its evidence: ``url``, ``region``, ``partition`` and perhaps ``headers``; None if
            it only prints it.

    Raises ProviderError if the document is too large, or if a secret is in clear text: everyone who may describe the
    instance can read user data.
    """
    if request.secrets:
        raise ProviderError(
            f"secrets never go into user data: {', '.join(sorted(request.secrets))} "
            "(allowed on EC2: ssm with the name of a parameter)"
        )
    files = members(request)
    if request.secret_refs:
        references: dict[str, Any] = {"region": region, **({"endpoint_url": endpoint_url} if endpoint_url else {})}
        references["secrets"] = {name: {"ssm": parameter} for name, parameter in request.secret_refs.items()}
        files["secrets.json"] = json.dumps(references, sort_keys=True).encode()
    # Nitro presents an EBS volume's id, without its dash, as the disk's serial number.
    files |= volume_members({name: volume_id.replace("-", "") for name, volume_id in volumes.items()}, blank)
    if evidence:
        files["evidence.json"] = json.dumps(dict(evidence), sort_keys=True).encode()
    return compressed(files, request.fleet, USER_DATA_LIMIT, "EC2")


def volume_members(serials: Mapping[str, str], blank: Sequence[str]) -> dict[str, bytes]:
    """The document's files about data volumes.

    Args:
        serials: for each data volume of the slot, attached now or later: name in the definition -> what the guest sees
            as the disk's serial number.
        blank: names of the volumes that were created blank.
    """
    files = {}
    if serials:
        files["volumes"] = "".join(f"{name} {serial}\n" for name, serial in sorted(serials.items())).encode()
    if blank:
        files["blank"] = volume_states(dict.fromkeys(blank, BLANK))
    return files


def compressed(files: Mapping[str, bytes], fleet: str, limit: int, cloud: str) -> bytes:
    """The document as a cloud's user data. Raises ProviderError if it is larger than the cloud accepts.

    Args:
        limit: bytes.
        cloud: its name, for the message.
    """
    data = gzip.compress(launch_document(files), mtime=0)
    if len(data) > limit:
        raise ProviderError(
            f"settings and keys of {fleet} are too large: {len(data)} bytes of user data, "
            f"and {cloud} accepts {limit} (put large settings into the image or on a data volume)"
        )
    return data


def _env(value: Any) -> str:
    """A value as systemd's EnvironmentFile reads it."""
    text = value if isinstance(value, str) else json.dumps(value)
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$").replace("`", "\\`")
    return f'"{escaped}"'
