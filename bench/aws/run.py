# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The account that the compared tools work in."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.immutable.infra.tests.support.aws import seeds
from ansible_collections.immutable.infra.tests.support.aws.server import Cloud

from ..measuring import PASSED_ON


@dataclass
class Lab:
    """The account that the compared tools work in. Each tool gets a new network and two new images."""

    folder: Path
    peers: Path  # virtual environment with the other collection
    network: Any = None
    images: list[str] = field(default_factory=list)

    def reset(self, cloud: Cloud) -> None:
        cloud.reset()
        cloud.set(**QUICK)
        self.network = seeds.network(cloud)
        self.images = [seeds.image(cloud, "shop-1"), seeds.image(cloud, "shop-2")]

    def peer_environment(self, cloud: Cloud) -> dict[str, str]:
        """An environment without this collection."""
        return {**{name: os.environ[name] for name in PASSED_ON if name in os.environ}, **cloud.environment()}


QUICK: dict[str, Any] = {}  # moto as it is: everything is instant
