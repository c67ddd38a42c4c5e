# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Complete bakes on AWS against moto, with a fake Packer that only registers an AMI."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.module_utils import _listing
from ansible_collections.immutable.infra.plugins.module_utils._packer.errors import PackerError
from ansible_collections.immutable.infra.plugins.plugin_utils._bake import memory, run, targets
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.current import current_image
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.variables import BakeVariables
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import BakeError, ImageError
from ansible_collections.immutable.infra.plugins.plugin_utils._core.progress import Report, silent
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
from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import MANIFEST_FILE
from ansible_collections.immutable.infra.plugins.plugin_utils._images.catalogue import Catalogue
from ansible_collections.immutable.infra.plugins.plugin_utils._inspection.image import inspect_disk
from ansible_collections.immutable.infra.plugins.plugin_utils._inspection.manifest import Manifest
from ansible_collections.immutable.infra.plugins.plugin_utils._store.memory import MemoryStore
from ansible_collections.immutable.infra.tests.support.aws import faults, seeds
from ansible_collections.immutable.infra.tests.support.aws.server import REGION, Cloud
from ansible_collections.immutable.infra.tests.support.small_disk import KEPT, raw_image

__all__ = ["raw_image"]  # a fixture
OTHER = "eu-west-1"
NO_VARIABLES = BakeVariables({}, {}, {})
STATUS = b"Package: dpkg\nStatus: install ok installed\nVersion: 1.21\n"


class FakePacker:
    def __init__(self, cloud: Cloud, fails: bool = False) -> None:
        self.cloud = cloud
        self.fails = fails
        self.keys: list[list[str]] = []
        self.sends: dict[str, bytes] = {}

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
            for name, data in {"var/lib/dpkg/status": STATUS, **self.sends}.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                tree.addfile(entry, io.BytesIO(data))
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
    definition: Definition,
    store: MemoryStore,
    packer: FakePacker,
    *,
    force: bool = False,
    variables: BakeVariables = NO_VARIABLES,
    report: Report = silent,
) -> list[targets.TargetBake]:
    bakes = targets.plan_bakes(definition, list(definition.targets), store, force=force)
    due = [each for each in bakes if each.decision.due]
    tools: Any = {"packer": packer, "guard": NoGuard(), "report": report}
    targets.bake_targets(due, store, variables=lambda: variables, **tools)
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


@pytest.fixture
def disk(raw_image: Path, cloud: Cloud) -> str:
    """A snapshot with the data that every AMI has."""
    pytest.importorskip("cyclonedx")
    snapshot = seeds.snapshot(cloud, raw_image)
    cloud.set(disk=snapshot)
    return snapshot


@pytest.mark.usefixtures("disk")
def test_an_ami_has_the_manifest_of_its_snapshot(
    cloud: Cloud, define: Callable[..., Definition], store: MemoryStore, raw_image: Path
) -> None:
    [done] = bake(define(), store, FakePacker(cloud))
    assert done.image and done.image.provenance["inspected"] == "snapshot"
    data = store.read_blob(f"{done.image.key}/{MANIFEST_FILE}")
    assert data and done.image.checksums[MANIFEST_FILE] == hashlib.sha256(data).hexdigest()
    assert Manifest.from_gzip(data) == inspect_disk(raw_image, done.image.digest, {}).manifest
    listed = cloud.calls("ebs", "ListSnapshotBlocks")
    assert {call.parameters["SnapshotId"] for call in listed} == set(done.image.artifact["snapshots"])


@pytest.mark.usefixtures("disk")
def test_an_ami_with_residue_is_removed(cloud: Cloud, define: Callable[..., Definition], store: MemoryStore) -> None:
    packer = FakePacker(cloud)
    secret = BakeVariables({}, {"password": KEPT.decode()}, {"password": KEPT.decode()})
    with pytest.raises(BakeError, match=r"residue of the bake: password: byte \d+, in /etc/shop.conf"):
        bake(define(), store, packer, variables=secret)
    assert Catalogue(store).list() == []
    ec2 = cloud.boto("ec2")
    assert [each["Name"] for each in ec2.describe_images(Owners=["self"])["Images"]] == ["debian-12"]
    for call in cloud.calls("ebs", "ListSnapshotBlocks"):
        assert not ec2.describe_snapshots(Filters=[{"Name": "snapshot-id", "Values": [call.parameters["SnapshotId"]]}])[
            "Snapshots"
        ]


@pytest.mark.parametrize("why", ["denied", "no file system"])
def test_an_ami_that_cannot_be_read_has_no_manifest_and_says_so(
    cloud: Cloud, define: Callable[..., Definition], store: MemoryStore, why: str
) -> None:
    if why == "denied":
        denied = faults.refuse(
            403, "AccessDeniedException", "User is not authorized to perform: ebs:ListSnapshotBlocks"
        )
        cloud.fault(denied, "ListSnapshotBlocks", times=0)
    said: list[str] = []
    [done] = bake(define(), store, FakePacker(cloud), report=said.append)
    assert done.image and done.image.provenance["inspected"] == "build machine"
    assert "manifest_from" not in done.image.provenance
    names = {key.rpartition("/")[2] for key in store.list(done.image.key)}
    assert names == {"record.json", "packer.log", "sbom.cdx.json"}
    [line] = [each for each in said if "has no manifest and was not searched for residue" in each]
    assert ("ebs:ListSnapshotBlocks" if why == "denied" else "sfdisk") in line


def test_an_ami_that_cannot_be_read_has_the_manifest_of_its_build_machine(
    define: Callable[..., Definition], store: MemoryStore, cloud: Cloud, tmp_path: Path
) -> None:
    root, packer, said = tmp_path / "root", FakePacker(cloud), list[str]()
    (root / "etc").mkdir(parents=True)
    (root / "etc/shop.conf").write_bytes(b"debug = no\n")
    _listing.main(str(root), str(tmp_path / "listing"))
    packer.sends = {
        "listing.json.gz": (tmp_path / "listing").read_bytes(),
        "usr/lib/immutable/seal.json": json.dumps({"service": "shop", "data": ["/srv/shop"]}).encode(),
        "etc/fstab": b"/dev/disk/immutable/shop /srv/shop ext4 nosuid,nodev 0 0\n",
    }
    [done] = bake(define(), store, packer, report=said.append)
    assert done.image and done.image.provenance["inspected"] == "build machine"
    assert done.image.provenance["manifest_from"] == "build_machine"
    manifest = Manifest.from_gzip(store.read_blob(f"{done.image.key}/{MANIFEST_FILE}") or b"")
    assert manifest.files["/etc/shop.conf"][4:] == (11, hashlib.sha256(b"debug = no\n").hexdigest())
    assert (manifest.data, manifest.options, manifest.boot) == (("/srv/shop",), {"/srv/shop": ("nodev", "nosuid")}, {})
    assert [each for each in said if "is what the build machine listed" in each]

    (root / "etc/ssh").mkdir()
    (root / "etc/ssh/ssh_host_ed25519_key").write_text("key")
    _listing.main(str(root), str(tmp_path / "listing"))
    packer.sends["listing.json.gz"] = (tmp_path / "listing").read_bytes()
    with pytest.raises(BakeError, match="residue of the bake: SSH host key: /etc/ssh/ssh_host_ed25519_key"):
        bake(define("2"), store, packer)
    packer.sends["listing.json.gz"] = packer.sends["listing.json.gz"][:-9]
    with pytest.raises(ImageError, match="list of its files is damaged: it is incomplete"):
        bake(define("3"), store, packer)
