# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What tests of containers' data volumes share: instances without a container, and an engine that lists containers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container.volumes import ContainerVolumes
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import VolumeRequest

MIB = 1 << 20
FLEET = "shop-local"


def request(slot: int = 0, name: str = "uploads", size: int = 16 * MIB, kind: str = "") -> VolumeRequest:
    return VolumeRequest(fleet=FLEET, slot=slot, name=name, size=size, mount="/var/lib/shop", kind=kind)


def artifact(owner: str = "0:0", reown: bool = False, *names: str) -> dict[str, Any]:
    """The artifact of an image whose service has this user."""
    return {
        "data": [
            {
                "name": name,
                "mount": f"/srv/{name}",
                "owner": owner,
                "mode": "0750",
                "noexec": False,
                "reown": reown,
            }
            for name in names or ("uploads",)
        ]
    }


class PlainEngine:
    """An engine without containers but those in ``containers``, as ``inspect`` prints them. There is no namespace."""

    name: Literal["podman", "docker"] = "podman"
    rootless = False
    argv: Sequence[str] = ["podman"]

    def __init__(self) -> None:
        self.containers: list[dict[str, Any]] = []

    @property
    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def run(self, *arguments: str, **_options: Any) -> str:
        assert arguments[0] == "ps", arguments
        return "\n".join(each["Id"] for each in self.containers)

    def json(self, *arguments: str, **_options: Any) -> Any:
        assert arguments[:2] == ("container", "inspect"), arguments
        return self.containers

    def inside(self, argv: Sequence[str]) -> list[str]:
        return list(argv)


@dataclass
class Instance:
    """An instance that is a few facts."""

    image: Mapping[str, Any] = field(default_factory=artifact)
    gone: bool = False
    ending: bool = False
    created: bool = False  # and never started
    live: bool = False
    reason: str = ""
    remounted: int = 0

    def removed(self) -> bool:
        return self.gone

    def leaving(self) -> bool:
        return self.gone or self.ending

    def waiting(self) -> bool:
        return self.created

    def running(self) -> bool:
        return self.live

    def artifact(self) -> Mapping[str, Any]:
        return self.image

    def remount(self) -> None:
        self.remounted += 1
        if self.created:
            self.created, self.live = False, True

    def give_up(self, reason: str) -> None:
        self.created, self.reason = False, reason


class Bench:
    """Volumes with their instances, which are created by their names."""

    def __init__(self, root: Path) -> None:
        self.engine = PlainEngine()
        self.instances: dict[str, Instance] = {}
        self.root = root
        self.volumes = ContainerVolumes(root, self.engine, self._find)  # type: ignore[arg-type]

    def add(self, name: str, **facts: Any) -> str:
        self.instances[name] = Instance(**facts)
        return name

    def folder(self, name: str = "0-uploads") -> Path:
        return self.root / "volumes" / FLEET / name

    def _find(self, _fleet: str, name: str) -> Instance:
        return self.instances.get(name, Instance(gone=True))
