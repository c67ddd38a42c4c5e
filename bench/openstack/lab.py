# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The real control plane of the tests, with a project for each case: its hosts only pretend to run servers."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.immutable.infra.tests.support.openstack.projects import DOMAINS, Project, connect

from ..measuring import PASSED_ON
from .proxy import Call, CallProxy

CLOUD = "bench"  # in the clouds.yaml of the compared tools
FLAVOR = "m1.micro"
IMAGES = ("shop-1", "shop-2")
ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Lab:
    """A cloud that counts calls. See ``measuring.CountingCloud``."""

    folder: Path
    peers: Path  # virtual environment with the other collection
    proxy: CallProxy
    admin: Any = field(default_factory=connect)
    project: Any = None  # of the case that runs
    images: dict[str, str] = field(default_factory=dict)  # IDs by name

    def calls(self) -> list[Call]:
        return self.proxy.calls()

    def reset(self) -> None:
        """Begin with a new project. The old one keeps its servers, which cost next to nothing."""
        self.project = Project(self.admin)
        self.images = {name: self._image(name) for name in IMAGES}
        who = {"username": self.project.name, "password": self.project.name, "project_name": self.project.name}
        auth = {"auth_url": self.admin.config.get_auth_args()["auth_url"], **who, **DOMAINS}
        cloud = {"auth": auth, "region_name": "RegionOne"}
        (self.folder / "clouds.yaml").write_text(yaml.safe_dump({"clouds": {CLOUD: cloud}}), encoding="utf-8")

    def _image(self, name: str) -> str:
        formats = {"disk_format": "raw", "container_format": "bare"}
        return str(self.project.cloud.image.create_image(name=name, data=name.encode(), **formats).id)

    def environment(self) -> dict[str, str]:
        """An environment without this collection, in which OpenStack is reached through the proxy."""
        passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        clouds = {"OS_CLIENT_CONFIG_FILE": str(self.folder / "clouds.yaml")}
        return {**passed, **clouds, "http_proxy": self.proxy.url, "ANSIBLE_LOCALHOST_WARNING": "false"}

    def own_environment(self) -> dict[str, str]:
        """The same with this collection."""
        paths = [str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        kept = {name: value for name, value in os.environ.items() if name.startswith("ANSIBLE_")}
        return {**kept, **self.environment(), "PYTHONPATH": os.pathsep.join(filter(None, paths))}

    def running(self, image: str, size: int) -> bool:
        """Whether ``size`` servers of the image run, and no others exist."""
        found = [each for each in self.project.cloud.compute.servers() if each.status != "DELETED"]
        seen = sorted((each.image.id, each.status) for each in found)
        if seen != [(self.images[image], "ACTIVE")] * size:
            print(f"found {seen}", file=sys.stderr)
            return False
        return True
