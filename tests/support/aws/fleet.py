# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A service on AWS: a definition and a store in a folder, and images that seem baked, verified and promoted."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.immutable.infra.plugins.plugin_utils._core.progress import silent
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.load import load_definition
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import Definition
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.secrets import SecretFinder
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.gates import OpenGates
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.lease import Lease
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.ports import NoGuard
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.requests import RequestBuilder
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.run import RunOptions
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.swap.engine import Engine, FleetServices
from ansible_collections.immutable.infra.plugins.plugin_utils._health.prober import prober_for
from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import Image
from ansible_collections.immutable.infra.plugins.plugin_utils._images.catalogue import Catalogue
from ansible_collections.immutable.infra.plugins.plugin_utils._images.channels import Channels
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2.provider import Ec2Provider
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.registry import open_provider
from ansible_collections.immutable.infra.plugins.plugin_utils._store.file import FileStore

from . import seeds
from .server import REGION, Cloud

TARGET, SERVICE = "prod", "shop"
FLEET = f"{SERVICE}-{TARGET}"
BUILD = "aws-123456789012-x86_64"


class Shop:
    """``run`` does in this process what a task of the module ``fleet`` does in a new run of Ansible."""

    def __init__(self, cloud: Cloud, folder: Path, zones: int = 2, **target: Any) -> None:
        self.cloud, self.folder = cloud, folder
        self.network = seeds.network(cloud, zones)
        self.balancer = seeds.balancer(cloud, self.network)
        self.store = FileStore(folder / "store")
        self.target: dict[str, Any] = {
            "provider": "aws",
            "region": REGION,
            "probe": "balancer",
            "network": {
                "subnets": dict(zip(self.network.zones, self.network.subnets, strict=True)),
                "security_groups": [self.network.group],
            },
            "traffic": {"target_groups": list(self.balancer.groups)},
            **target,
        }
        self.document: dict[str, Any] = {
            "schema": 1,
            "service": SERVICE,
            "version": "1.0.0",
            "image": {
                "base": {"ami": {"ssm": "/debian/12"}, "python": "3.11"},
                "provision": {"playbook": "provision.yml"},
            },
            "health": {"http": {"port": 8080, "path": "/healthz"}},
            "fleet": {"size": 3, "drain": {"timeout": "0s"}},
            "targets": {TARGET: self.target},
        }
        (folder / "provision.yml").write_text("- hosts: all\n  tasks: []\n", encoding="utf-8")

    def image(self, version: str, promote: bool = True) -> Image:
        """A new AMI with its record, promoted to prod."""
        ami = seeds.image(self.cloud, f"{SERVICE}-{version}")
        digest = "sha256:" + hashlib.sha256(version.encode()).hexdigest()
        artifact = {
            "ami": ami,
            "region": REGION,
            "account": "123456789012",
            "name": f"{SERVICE}-{version}",
            "snapshots": [],
            "root_device": "/dev/xvda",
        }
        image = Image(
            digest=digest,
            build=BUILD,
            service=SERVICE,
            version=version,
            created="2026-01-01T00:00:00+00:00",
            artifact=artifact,
            base={},
            inputs={},
            verified={"at": "2026-01-01T00:00:00+00:00"},
        )
        Catalogue(self.store).add(image)
        if promote:
            Channels(self.store).promote(SERVICE, "prod", image, by="tests")
        return image

    def definition(self) -> Definition:
        path = self.folder / "immutable.yml"
        path.write_text(yaml.safe_dump(self.document, sort_keys=False), encoding="utf-8")
        return load_definition(path)

    def provider(self) -> Ec2Provider:
        found = open_provider(self.definition().target(TARGET), self.store)
        assert isinstance(found, Ec2Provider)
        return found

    def run(self, rollback: bool = False, absent: bool = False, remove_volumes: tuple[str, ...] = ()) -> dict[str, Any]:
        definition = self.definition()
        target, provider = definition.target(TARGET), self.provider()
        builder = RequestBuilder(definition, target, self.store, SecretFinder(pin=provider.pin_secrets))
        request = (
            builder.absent(remove_volumes, provider)
            if absent
            else builder.rollback("prod")
            if rollback
            else builder.present("prod", None)
        )
        services = FleetServices(
            provider=provider,
            store=self.store,
            prober=prober_for(provider, target.health),
            guard=NoGuard(),
            lease=Lease(self.store, FLEET, "tests", provider.clock),
            gates=OpenGates(),
            report=silent,
            pace=lambda _age, _due: 0.05,
        )
        return Engine(services).run(request, RunOptions())

    def instances(self) -> list[dict[str, Any]]:
        """The instances that are not terminated, as AWS describes them."""
        found = [
            each for page in self.cloud.boto("ec2").describe_instances()["Reservations"] for each in page["Instances"]
        ]
        return [each for each in found if each["State"]["Name"] != "terminated"]

    def registered(self) -> set[str]:
        described = self.cloud.boto("elbv2").describe_target_health(TargetGroupArn=self.balancer.groups[0])[
            "TargetHealthDescriptions"
        ]
        return {each["Target"]["Id"] for each in described}


def tags_of(described: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in described.get("Tags", [])}
