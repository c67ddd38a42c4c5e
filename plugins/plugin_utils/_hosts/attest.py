# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the action ``host_attest`` calls: read the manifest of a host's image, and compare a container from outside.

A container is compared by a process of its own, because that enters the user namespace of the engine and the root
folder of the container.
"""

from __future__ import annotations

import base64
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from ...module_utils import _outside
from ...module_utils._attest import Comparison, Difference, NotCompared, drift_message, result_of
from .._core.documents import mismatch, parse_json
from .._core.errors import ImmutableError, ProviderError
from .._image_model import digest_hex
from .._images.catalogue import Catalogue
from .._images.open import manifest_of
from .._providers.container_address import ContainerAddress
from .._providers.container_data import data_mounts
from .._providers.container_engine import ContainerEngine, open_engine
from .._providers.container_images import image_id
from .._providers.container_process import run_client
from .._store.base import Store

TIMEOUT = 900.0  # seconds; an idle machine needs a few for a gigabyte
# Without the user's own packages: the standard library is enough, and the process may be root.
_RUN = (
    "import sys; sys.path.append(sys.argv[1]); from importlib import import_module; import_module(sys.argv[2]).main()"
)

# What Ansible returns of a host that gave no result, and what a module does that failed.
_OF_FAILURE = (
    "changed",
    "exception",
    "failed",
    "module_stderr",
    "module_stdout",
    "msg",
    "rc",
    "skipped",
    "unreachable",
)

__all__ = ["ContainerAddress", "attest_container", "drift_message", "manifest_of", "result_of_host"]


def attest_container(
    address: ContainerAddress, manifest: bytes, store: Store, *, image: str, build: str, limit: int
) -> dict[str, Any]:
    """Compare a running container with its image and with what it was launched with. Returns the result of the task.

    Args:
        manifest: compressed, as the store has it.
        image: digest or name.
        build: of the image, "" if it is unknown.
        limit: the maximum number of differences to return.

    Raises ImmutableError.
    """
    began = time.monotonic()
    catalogue = Catalogue(store)
    record = catalogue.record(image, build) if build and digest_hex(image) != image else None
    artifact = (record or catalogue.find(image)).artifact
    engine = open_engine(address.engine, Path(address.folder))
    before = _inspected(engine, address.name)
    comparison = _compared(engine, manifest, _expected(before, artifact))
    comparison.differences[:0] = _configured(before, artifact)
    after = _inspected(engine, address.name)
    if after["State"].get("Pid") != before["State"].get("Pid"):
        raise ImmutableError(f"container {address.name} was started again while it was compared: run this again")
    return result_of(comparison, limit, time.monotonic() - began)


class _Place(TypedDict):
    kind: str
    path: str


class _Difference(_Place, total=False):
    expected: str
    found: str


class _NotCompared(TypedDict):
    subject: str
    path: str
    reason: str


class _Compared(TypedDict):
    """What the module returns of a host that it compared."""

    attested: bool
    differences: list[_Difference]
    count: int
    checked: int
    not_compared: list[_NotCompared]
    refused: list[str]
    seconds: float


def result_of_host(returned: Mapping[str, Any], host: str, limit: int) -> dict[str, Any]:
    """Return what counts of a result of the module. Root on the host can return anything.

    Args:
        returned: by the module, or by Ansible instead of it.
        limit: the maximum number of differences.
    """
    if "attested" not in returned:
        return {name: returned[name] for name in _OF_FAILURE if name in returned}
    problem = mismatch(dict(returned), _Compared)
    if problem:
        return {"failed": True, "msg": f"{host} returned something else than a comparison ({problem})"}
    known: dict[str, Any] = {name: returned[name] for name in _Compared.__annotations__}
    for name in ("differences", "not_compared"):
        known[name] = [dict(each) for each in known[name][: max(0, limit)]]
    if returned.get("failed"):
        known |= {"failed": True, "msg": drift_message(known, host)}
    return {"changed": False, **known}


def _inspected(engine: ContainerEngine, name: str) -> dict[str, Any]:
    """What the engine says of a running container."""
    found = engine.json("container", "inspect", name)
    try:
        facts: dict[str, Any] = found[0]
        running = facts["State"]["Running"] is True and int(facts["State"]["Pid"]) > 0
    except (IndexError, KeyError, TypeError, ValueError):
        raise ProviderError(f"{engine.name} does not describe container {name}") from None
    if not running:
        raise ProviderError(f"container {name} does not run, so there is nothing to compare (list the hosts again)")
    return facts


def _expected(facts: Mapping[str, Any], artifact: Mapping[str, Any]) -> dict[str, Any]:
    """What a container with this artifact was launched with, see ``_container_mounts.Expected``."""
    driver = facts.get("GraphDriver") or {}
    layers = driver.get("Data") or {}
    volumes = data_mounts(artifact)
    return {
        "pid": int(facts["State"]["Pid"]),
        "id": str(facts.get("Id", "")),
        "capabilities": list(artifact.get("capabilities", [])),
        "tmpfs": {
            row["path"]: ["nosuid", "nodev", *(["noexec"] if row.get("noexec") else [])]
            for row in artifact.get("writable", [])
        },
        "data": [volume.mount for volume in volumes],
        "options": {volume.mount: list(volume.options) for volume in volumes},
        "systemd": artifact.get("init") == "systemd",
        "upper": str(layers.get("UpperDir", "")) if str(driver.get("Name", "")).startswith("overlay") else "",
    }


def _configured(facts: Mapping[str, Any], artifact: Mapping[str, Any]) -> list[Difference]:
    """What the engine was asked to run instead of what was launched."""
    found = "sha256:" + str(facts.get("Image", "")).removeprefix("sha256:")
    wanted = image_id(artifact)
    differences = [] if found == wanted else [Difference("image", "/", wanted, found)]
    if (facts.get("HostConfig") or {}).get("Privileged") is not False:
        differences.append(Difference("confinement", "/", found="the container is privileged"))
    return differences


def _compared(engine: ContainerEngine, manifest: bytes, expected: Mapping[str, Any]) -> Comparison:
    request = {"manifest": base64.b64encode(manifest).decode("ascii"), "expected": dict(expected)}
    module = _outside.__name__
    collections = Path(_outside.__file__).absolute().parents[module.count(".")]
    argv = [sys.executable, "-I", "-c", _RUN, str(collections), module]
    done = run_client(
        engine.inside(argv), engine.environment, timeout=TIMEOUT, input=json.dumps(request).encode("ascii")
    )
    try:
        answer = parse_json(done.output)
        problem = answer.get("problem")
        if problem is None:
            return Comparison(
                [Difference(**each) for each in answer["differences"]],
                answer["checked"],
                answer["refused"],
                [NotCompared(**each) for each in answer["not_compared"]],
            )
    except (ValueError, KeyError, TypeError, AttributeError):
        problem = done.last_words
    raise ImmutableError(f"the container cannot be compared with its image: {problem}{_advice(engine)}")


def _advice(engine: ContainerEngine) -> str:
    return " (only root can compare a container of docker: run ansible as root)" if engine.name == "docker" else ""
