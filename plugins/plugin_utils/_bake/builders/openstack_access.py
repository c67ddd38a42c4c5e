# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How Packer logs in to OpenStack: with the same credentials as everything else, in a private file in memory.

Packer's own search for credentials differs from openstacksdk's, and mixes the environment with the file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..._core.errors import BakeError

CLOUD = "immutable-bake"  # name of the only cloud in the file
CONFIG_FILE = "OS_CLIENT_CONFIG_FILE"
VARIABLES = ("OS_", "SDK_")  # what the names of Packer's own variables for OpenStack begin with
# Ways to log in that gophercloud knows, see its package clientconfig. "password" and "token" choose the newest version.
AUTH_TYPES = ("password", "v3password", "token", "v3token", "v3applicationcredential")
_SECRET = ("password", "token", "secret")  # what the names of secrets end with


@dataclass(frozen=True)
class PackerAccess:
    """What lets Packer log in.

    Attributes:
        document: content of the file, in the form of ``clouds.yaml``.
        options: of Packer's openstack builder.
        secrets: texts that must not be in a log.
    """

    document: bytes = field(repr=False)
    options: Mapping[str, Any]
    secrets: tuple[str, ...] = field(repr=False)


def packer_access(config: Any) -> PackerAccess:
    """Return how Packer logs in to the cloud that ``config`` describes: the configuration of a connection.

    Raises BakeError for a way to log in that Packer does not know.
    """
    settings = dict(config.config)
    kind = str(settings.get("auth_type") or "password")
    if kind not in AUTH_TYPES:
        raise BakeError(
            f"Packer cannot log in to OpenStack with auth_type {kind} (allowed: {', '.join(AUTH_TYPES)}); create an "
            "application credential for bakes"
        )
    auth = {name: str(value) for name, value in settings.get("auth", {}).items() if value is not None}
    region, interface = str(settings.get("region_name") or ""), str(settings.get("interface") or "")
    cloud = {"auth_type": kind, "auth": auth, **({"region_name": region} if region else {})}
    verify, certificate = config.get_requests_verify_args()
    own = certificate if isinstance(certificate, tuple) else (certificate, None)
    options = {
        "cloud": CLOUD,
        **({"region": region} if region else {}),
        **({"endpoint_type": interface} if interface in ("public", "internal", "admin") else {}),
        **({"insecure": True} if verify is False else {}),
        **({"cacert": verify} if isinstance(verify, str) else {}),
        **({"cert": own[0], "key": own[1]} if all(own) else {}),
    }
    return PackerAccess(
        document=json.dumps({"clouds": {CLOUD: cloud}}).encode(),
        options=options,
        secrets=tuple(text for name, text in auth.items() if name.endswith(_SECRET) and text),
    )


def packer_variables(environment: Mapping[str, str], file: str) -> dict[str, str]:
    """Return what to add to Packer's environment, so that it reads ``file`` and nothing else."""
    return {**{name: "" for name in environment if name.startswith(VARIABLES)}, CONFIG_FILE: file}
