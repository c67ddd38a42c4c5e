# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A service on AWS in a folder: its definition, a playbook that swaps its fleet, and its store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import Image
from ansible_collections.immutable.infra.plugins.plugin_utils._images.catalogue import Catalogue
from ansible_collections.immutable.infra.plugins.plugin_utils._images.channels import Channels
from ansible_collections.immutable.infra.plugins.plugin_utils._store.base import Store

from .seeds import Balancer, Network
from .server import REGION

SERVICE, TARGET, CHANNEL = "shop", "prod", "prod"
SWAP = ["ansible-playbook", "-i", "localhost,", "swap.yml"]  # run in the folder of the service


def write_service(
    folder: Path, network: Network, balancer: Balancer, ami: str, *, fleet: Mapping[str, Any], **target: Any
) -> None:
    """Write the definition and ``swap.yml``.

    Args:
        balancer: with two target groups for blue_green, else one.
        ami: the base of the image.
        fleet: keys of the definition's ``fleet``.
        target: further keys of the target.
    """
    rule = {"rule": balancer.listener} if len(balancer.groups) == 2 else {}
    definition = {
        "schema": 1,
        "service": SERVICE,
        "version": "1",
        "image": {"base": {"ami": ami, "python": "3.11"}, "provision": {"playbook": "provision.yml"}},
        "health": {"http": {"port": 8080}},
        "fleet": {"drain": {"timeout": "1s"}, **fleet},
        "targets": {
            TARGET: {
                "provider": "aws",
                "region": REGION,
                "network": {
                    "subnets": dict(zip(network.zones, network.subnets, strict=True)),
                    "security_groups": [network.group],
                },
                "traffic": {"target_groups": list(balancer.groups), **rule},
                "probe": "balancer",
                **target,
            }
        },
    }
    task = {"immutable.infra.fleet": {"definition": ".", "target": TARGET, "store": "store", "channel": CHANNEL}}
    play = {"hosts": "localhost", "gather_facts": False, "tasks": [task]}
    (folder / "provision.yml").write_text("[]\n", encoding="utf-8")
    (folder / "immutable.yml").write_text(yaml.safe_dump(definition), encoding="utf-8")
    (folder / "swap.yml").write_text(json.dumps([play]), encoding="utf-8")


def promote(store: Store, ami: str, version: str) -> None:
    """Leave the store as a bake, a verification and a promotion leave it. ``version``: a number."""
    now = datetime.now(timezone.utc).isoformat()
    image = Image(
        digest=f"sha256:{version.zfill(64)}",
        build="aws-123456789012-x86_64",
        service=SERVICE,
        version=version,
        created=now,
        artifact={"ami": ami, "region": REGION, "copies": {}},
        base={},
        inputs={},
        verified={"at": now},
    )
    Catalogue(store).add(image)
    Channels(store).promote(SERVICE, CHANNEL, image, by="tests")
