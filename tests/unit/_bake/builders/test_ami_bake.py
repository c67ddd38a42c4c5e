# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Complete bakes on AWS against moto, with a fake Packer that only registers an AMI."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.module_utils._packer.errors import PackerError
from ansible_collections.immutable.infra.plugins.plugin_utils._bake import memory, run, targets
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.current import current_image
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.variables import BakeVariables
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import BakeError, ImageError
from ansible_collections.immutable.infra.plugins.plugin_utils._core.progress import silent
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import (
    Base,
    Build,
    Definition,
    FleetSpec,
    Provision,
    Target,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.probes import Health, TcpProbe
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.ports import NoGuard
from ansible_collections.immutable.infra.plugins.plugin_utils._images.catalogue import Catalogue
from ansible_collections.immutable.infra.plugins.plugin_utils._store.memory import MemoryStore
from ansible_collections.immutable.infra.tests.support.aws import seeds
from ansible_collections.immutable.infra.tests.support.aws.server import REGION, Cloud

OTHER = "eu-west-1"
STATUS = b"Package: dpkg\nStatus: install ok installed\nVersion: 1.21\n"


class FakePacker:
    def __init__(self, cloud: Cloud, fails: bool = False) -> None:
        self.cloud = cloud
        self.fails = fails
        self.keys: list[list[str]] = []

    def version(self) -> str:
        return "1.6.6"

    def build(self, template: Path, *, log_path: Path, **_options: Any) -> Any:
        document = json.loads(template.read_text())
        [builder] = document["builders"]
        ec2 = self.cloud.boto("ec2", builder["region"])
        self.keys.append([key["KeyName"] for key in ec2.describe_key_pairs()["KeyPairs"]])
        assert self.keys[-1] == [builder["ssh_keypair_name"]]
        log_path.write_text("the complete log\n")
        if self.fails:
            raise PackerError("amazon-ebs: no capacity")
        [archive] = [step["destination"] for step in document["provisioners"] if step.get("direction") == "download"]
        with tarfile.open(archive, "w:gz") as tree:
            entry = tarfile.TarInfo("var/lib/dpkg/status")
            entry.size = len(STATUS)
            tree.addfile(entry, io.BytesIO(STATUS))
        ami = seeds.image(self.cloud, builder["ami_name"], builder["tags"], builder["region"])
        return SimpleNamespace(packer_version="1.6.6", artifacts=[SimpleNamespace(id=f"{builder['region']}:{ami}")])


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryStore:
    for folder in ("shm", "lib"):
        (tmp_path / folder).mkdir()
    monkeypatch.setattr(memory, "SHARED_MEMORY", tmp_path / "shm")
    monkeypatch.setattr(run, "guest_ansible", lambda *arguments, **options: tmp_path / "lib")
    return MemoryStore()


@pytest.fixture
def define(cloud: Cloud, tmp_path: Path) -> Callable[..., Definition]:
    (tmp_path / "site.yml").write_text("[]\n")
    base = Base("ami", seeds.image(cloud, "debian-12"), python="3.11")

    def make(version: str = "1", **regions: str) -> Definition:
        targets_by_name = {
            name: Target(
                name=name,
                provider="aws",
                fleet=FleetSpec(),
                health=Health(tcp=TcpProbe(80)),
                base=base,
                build=Build(region=REGION),
                aws=cloud.account(region),
            )
            for name, region in (regions or {"staging": REGION, "prod": OTHER}).items()
        }
        return Definition(
            path=tmp_path / "immutable.yml",
            service="shop",
            version=version,
            provision=Provision("site.yml"),
            verify=None,
            data=(),
            writable=(),
            shell="restricted",
            targets=targets_by_name,
            base=base,
        )

    return make


def bake(
    definition: Definition, store: MemoryStore, packer: FakePacker, force: bool = False
) -> list[targets.TargetBake]:
    bakes = targets.plan_bakes(definition, list(definition.targets), store, force=force)
    due = [each for each in bakes if each.decision.due]
    tools: Any = {"packer": packer, "guard": NoGuard(), "report": silent}
    targets.bake_targets(due, store, variables=lambda: BakeVariables({}, {}, {}), **tools)
    return bakes


def test_targets_that_bake_in_one_region_share_an_ami(
    cloud: Cloud, define: Callable[..., Definition], store: MemoryStore
) -> None:
    packer = FakePacker(cloud)
    [both] = bake(define(), store, packer)
    image = both.image
    assert image and both.targets == ["staging", "prod"]
    assert (image.build, image.artifact["region"], image.artifact["account"]) == (
        "aws-123456789012-x86_64",
        REGION,
        "123456789012",
    )
    assert image.artifact["snapshots"] and image.artifact["copies"] == {}
    assert {key.rpartition("/")[2] for key in store.list(image.key)} == {"record.json", "packer.log", "sbom.cdx.json"}
    [call] = cloud.calls("ec2", "ModifyImageAttribute")
    assert (call.parameters["ImageId"], call.parameters["ImdsSupport.Value"]) == (image.artifact["ami"], "v2.0")
    assert cloud.boto("ec2").describe_key_pairs()["KeyPairs"] == []


def test_an_existing_ami_is_not_baked_again_but_a_missing_one_is(
    cloud: Cloud, define: Callable[..., Definition], store: MemoryStore
) -> None:
    packer = FakePacker(cloud)
    [first] = bake(define(), store, packer)
    assert first.image
    [again] = bake(define(), store, packer)
    assert (again.decision.due, len(packer.keys)) == (False, 1)
    cloud.boto("ec2").deregister_image(ImageId=first.image.artifact["ami"])
    [missing] = bake(define(), store, packer)
    assert missing.decision.why.startswith("the artifact of shop-1-") and len(packer.keys) == 2


def test_a_failure_leaves_no_record_and_no_key(
    cloud: Cloud, define: Callable[..., Definition], store: MemoryStore
) -> None:
    with pytest.raises(BakeError, match="no capacity"):
        bake(define(), store, FakePacker(cloud, fails=True))
    assert Catalogue(store).list() == []
    assert cloud.boto("ec2").describe_key_pairs()["KeyPairs"] == []


def test_the_key_of_a_killed_bake_is_replaced(
    cloud: Cloud, define: Callable[..., Definition], store: MemoryStore
) -> None:
    packer = FakePacker(cloud)
    bake(define(), store, packer)
    [[name]] = packer.keys
    cloud.boto("ec2").create_key_pair(KeyName=name)
    bake(define(), store, packer, force=True)
    assert packer.keys == [[name], [name]]


def test_the_current_image_of_a_target_belongs_to_its_account(
    cloud: Cloud, define: Callable[..., Definition], store: MemoryStore
) -> None:
    definition = define(staging=REGION)
    [done] = bake(definition, store, FakePacker(cloud))
    assert done.image
    staging = definition.targets["staging"]
    assert current_image(definition, staging, store).digest == done.image.digest
    catalogue = Catalogue(store)
    catalogue.add(replace(done.image, build="aws-210987654321-x86_64"))
    assert current_image(definition, staging, store).build == done.image.build
    with pytest.raises(ImageError, match="is not baked yet"):
        current_image(define("2", staging=REGION), staging, store)
