# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Evidence that hosts put into the bucket of the store: listed in bulk, read once, and believed only if it fits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._aws.clients import Clients
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError, StoreError
from ansible_collections.immutable.infra.plugins.plugin_utils._providers import seal_evidence
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import (
    RUNNING,
    Instance,
    LaunchRequest,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2.evidence_bucket import (
    destination,
    open_bucket,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2.identity import MAX_OBJECT, arn_of
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2.reimage import Ec2Reimager
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2.run_instances import Scope, document_of
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2.seal_evidence import SealEvidence
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2.volumes import Ec2Volumes
from ansible_collections.immutable.infra.plugins.plugin_utils._store.memory import MemoryStore
from ansible_collections.immutable.infra.plugins.plugin_utils._store.s3 import S3Store
from ansible_collections.immutable.infra.tests.support.aws import seeds
from ansible_collections.immutable.infra.tests.support.aws.bucket import BUCKET, LOCATION, bucket
from ansible_collections.immutable.infra.tests.support.aws.faults import denied, refuse
from ansible_collections.immutable.infra.tests.support.aws.fleet import Shop
from ansible_collections.immutable.infra.tests.support.aws.identity import signer
from ansible_collections.immutable.infra.tests.support.aws.rules_evidence import identity_document, share_profile
from ansible_collections.immutable.infra.tests.support.aws.server import REGION, Cloud

__all__ = ["bucket"]
FLEET, NONCE, PROFILE = "shop-prod", "n" * 16, "shop-host"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seal_evidence, "SHORTEST_WAIT", 0.0)
    monkeypatch.setattr(seal_evidence, "cloud_pace", lambda _waited: 0.0)


class Hosts:
    """Two instances of one launch, which put evidence."""

    def __init__(self, cloud: Cloud, store: S3Store) -> None:
        self.cloud, self.store = cloud, store
        cloud.set(sign=signer().sign)
        cloud.boto("iam").create_instance_profile(InstanceProfileName=PROFILE)
        self.request = LaunchRequest(
            token="",
            fleet=FLEET,
            slot=0,
            image="",
            artifact={},
            launch="l",
            nonce=NONCE,
            machine={"evidence": "bucket"},
        )
        self.scope = Scope(REGION, "store", evidence=destination(store))
        said = {"fleet": FLEET, "image": "sha256:" + "1" * 64, "nonce": NONCE, "evidence": "bucket"}
        tags = [{"Key": f"immutable:{key}", "Value": value} for key, value in said.items()]
        cloud.boto("ec2").run_instances(
            ImageId=seeds.image(cloud, "shop-1"),
            MinCount=2,
            MaxCount=2,
            SubnetId=seeds.network(cloud).subnets[0],
            TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
            UserData=document_of(self.request, self.scope),
            IamInstanceProfile={"Name": PROFILE},
        )
        instances = cloud.boto("ec2").describe_instances()["Reservations"][0]["Instances"]
        share_profile(cloud.boto("ec2"), [each["InstanceId"] for each in instances], PROFILE)
        self.described = [
            each for page in cloud.boto("ec2").describe_instances()["Reservations"] for each in page["Instances"]
        ]

    def look(self, certificates: str | None = None) -> SealEvidence:
        clients = Clients(self.cloud.account())
        trusted = signer().certificate if certificates is None else certificates
        return SealEvidence(clients, self.store, open_bucket(self.store, clients, trusted))

    def key(self, number: int) -> str:
        return f"infra/hosts/{arn_of(self.described[number], REGION)}"

    def body(self, number: int, **changes: Any) -> bytes:
        """What the host writes."""
        document = identity_document(self.described[number], REGION)
        said = {"digest": "sha256:" + "1" * 64, "nonce": NONCE, "host_key": "", "shell": "off"}
        return json.dumps(
            {"evidence": said, "document": document, "rsa2048": signer().sign(document), **changes}
        ).encode()

    def put(self, number: int, body: bytes) -> None:
        self.cloud.boto("s3").put_object(Bucket=BUCKET, Key=self.key(number), Body=body)

    def calls(self) -> list[str]:
        """The calls to the bucket since the last time, without those for the store's own documents."""
        mine = [each for each in self.cloud.calls("s3") if "hosts/" in json.dumps(each.parameters)]
        self.cloud.proxy.forget()
        return [each.action for each in mine]


@pytest.fixture
def hosts(cloud: Cloud, bucket: S3Store) -> Hosts:
    return Hosts(cloud, bucket)


def test_a_launch_document_with_a_bucket_can_be_reimaged(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    clients = Clients(hosts.cloud.account())
    reimager = Ec2Reimager(clients, hosts.scope, Ec2Volumes(clients, hosts.scope, MemoryStore()), lambda _ids: [])
    ami = str(hosts.described[0]["ImageId"])
    artifact = {"ami": ami, "region": REGION}
    instances = [
        Instance(
            id=each["InstanceId"],
            fleet=FLEET,
            slot=slot,
            image="",
            launch="l",
            state=RUNNING,
            purpose="fleet",
            created=0.0,
            nonce=NONCE,
        )
        for slot, each in enumerate(hosts.described)
    ]
    wanted = [replace(hosts.request, artifact=artifact, image="sha256:" + "2" * 64)]
    reimager.check(instances, wanted)
    with pytest.raises(ProviderError, match="the launch document of i-.* would change: "):
        reimager.check(instances, [replace(wanted[0], machine={"evidence": "console"})])


def test_one_list_covers_all_hosts_and_each_object_is_read_once(hosts: Hosts) -> None:
    looks = hosts.look()
    found = looks.evidence(FLEET, hosts.described)
    assert [each.nonce for each in found.values()] == [NONCE] * 2 and not looks.warnings
    assert hosts.calls() == ["ListObjectsV2", "GetObject", "GetObject"]
    assert looks.evidence(FLEET, hosts.described) == found and hosts.look().evidence(FLEET, hosts.described) == found
    assert hosts.calls() == []
    assert hosts.cloud.count(action="GetConsoleOutput") == 0


def test_an_object_that_was_read_in_vain_is_read_again_only_if_it_changes(hosts: Hosts) -> None:
    hosts.cloud.set(launch=3600.0)
    hosts.cloud.world.began("launch", *(each["InstanceId"] for each in hosts.described))
    looks = hosts.look()
    hosts.put(0, hosts.body(0, document="{}", rsa2048="AAAA"))
    for _look in range(3):
        assert looks.evidence(FLEET, hosts.described) == {}
    assert hosts.calls() == ["ListObjectsV2", "GetObject", "ListObjectsV2", "ListObjectsV2"]
    hosts.put(0, hosts.body(0))
    assert len(looks.evidence(FLEET, hosts.described)) == 1


def test_a_rebooted_host_is_noticed_by_one_list(hosts: Hosts) -> None:
    """EC2 shows no new launch time. The object has other content, so only that one is read."""
    hosts.look().evidence(FLEET, hosts.described)
    hosts.calls()
    said = {"digest": "sha256:" + "1" * 64, "nonce": NONCE, "host_key": "ssh-ed25519 new", "shell": "off"}
    hosts.put(1, hosts.body(1, evidence=said))
    again = hosts.look()
    again.prove_again()
    for _look in range(2):
        assert {each.host_key for each in again.evidence(FLEET, hosts.described).values()} == {"", "ssh-ed25519 new"}
    assert hosts.calls() == ["ListObjectsV2", "GetObject"]
    assert "ssh-ed25519 new" in {each.host_key for each in hosts.look().evidence(FLEET, hosts.described).values()}


def not_believed(hosts: Hosts, body: bytes, certificates: str | None = None) -> Sequence[str]:
    """The warnings about host 0, which no look believes, while the other host proves itself."""
    hosts.look().evidence(FLEET, [])
    hosts.cloud.boto("s3").list_objects_v2(Bucket=BUCKET, Prefix="infra/hosts/")
    looks = hosts.look(certificates)
    clients = Clients(hosts.cloud.account()).client("s3")
    clients.list_objects_v2(Bucket=BUCKET, Prefix="infra/hosts/")  # now both hosts have written
    hosts.put(0, body)
    found = looks.evidence(FLEET, hosts.described)
    assert [boot.partition("@")[0] for boot in found] == [hosts.described[1]["InstanceId"]]
    return looks.warnings


@pytest.mark.parametrize("verified", [True, False])
def test_a_host_that_writes_the_name_of_another_is_not_believed(hosts: Hosts, verified: bool) -> None:
    """Both know the nonce of their launch. A policy that is too wide lets one write the object of the other."""
    one, two = (each["InstanceId"] for each in hosts.described)
    [warning] = not_believed(hosts, hosts.body(1), None if verified else "")
    assert warning == (
        f"{one}: its evidence is not believed: its identity document has instanceId {two}, and EC2 describes {one}"
    )


def test_a_host_that_makes_up_the_document_of_another_is_not_believed(hosts: Hosts) -> None:
    document = identity_document(hosts.described[0], REGION)
    forged = signer("a host").sign(document, certified=True)
    assert not_believed(hosts, hosts.body(0, document=document, rsa2048=forged)) == [
        f"{hosts.described[0]['InstanceId']}: its evidence is not believed: its identity document is not signed by AWS"
    ]


@pytest.mark.parametrize(
    ("body", "message"),
    [(b"{", "is not as a host writes it"), (b" " * (MAX_OBJECT + 1), f"has {MAX_OBJECT + 1} bytes")],
)
def test_an_object_is_bounded_in_size_and_shape(hosts: Hosts, body: bytes, message: str) -> None:
    assert message in not_believed(hosts, body)[0]
    assert hosts.calls().count("GetObject") == (2 if body == b"{" else 1), "what is too large is not read"


def test_an_object_of_an_earlier_start_proves_nothing(hosts: Hosts) -> None:
    later = [{**each, "LaunchTime": each["LaunchTime"] + timedelta(hours=1)} for each in hosts.described]
    assert hosts.look().evidence(FLEET, later) == {}
    assert hosts.calls() == ["ListObjectsV2"]


def test_a_denied_permission_is_an_error(hosts: Hosts) -> None:
    looks = hosts.look()
    hosts.cloud.fault(denied, action="GetObject", times=0)
    hosts.store.read = MemoryStore().read  # type: ignore[method-assign]
    with pytest.raises(ProviderError, match="reading the evidence of arn:aws:ec2"):
        looks.evidence(FLEET, hosts.described)


@pytest.mark.parametrize("code", ["InvalidObjectState", "InvalidRequest", "AccessDenied", "KMS.DisabledException"])
def test_a_host_that_hides_its_own_object_keeps_no_other_host_waiting(hosts: Hosts, code: str) -> None:
    """Root on a host may put its object into an archive, or encrypt it with a key of its own."""
    looks, hidden = hosts.look(), hosts.key(0)

    def hide(call: Any, proceed: Any) -> Any:
        return refuse(403, code, "it is hidden")(call, proceed) if call.parameters["Key"] == hidden else proceed(call)

    hosts.cloud.fault(hide, action="GetObject", times=0)
    found = looks.evidence(FLEET, hosts.described)
    assert [boot.partition("@")[0] for boot in found] == [hosts.described[1]["InstanceId"]]
    assert len(looks.warnings) == 1 and code in looks.warnings[0]
    assert hosts.look().evidence(FLEET, hosts.described) == found, "when only the hidden object is left to read"


def test_a_fleet_swaps_without_a_console_and_leaves_no_objects_behind(
    cloud: Cloud, bucket: S3Store, tmp_path: Path
) -> None:
    cloud.boto("iam").create_instance_profile(InstanceProfileName=PROFILE)
    cloud.set(sign=signer().sign)
    shop = Shop(cloud, tmp_path, evidence="bucket", identity_certificates=signer().certificate)
    shop.target["machine"] = {"instance_profile": PROFILE}
    with pytest.raises(StoreError, match="evidence: bucket, so it needs a store in S3"):
        shop.provider()
    shop.store = bucket  # type: ignore[assignment]
    shop.image("1.0.0")
    assert [each["serving"] for each in shop.run()["instances"]] == [True] * 3
    shop.image("2.0.0")
    cloud.proxy.forget()
    assert [each["serving"] for each in shop.run()["instances"]] == [True] * 3
    assert cloud.count(action="GetConsoleOutput") == 0
    read = [each for each in cloud.calls("s3") if "infra/hosts/" in str(each.parameters["Key"])]
    assert [each.action for each in read] == ["GetObject"] * 3
    kept = cloud.boto("s3").list_objects_v2(Bucket=BUCKET, Prefix="infra/hosts/")["Contents"]
    present = {f"infra/hosts/{arn_of(each, REGION)}" for each in shop.instances()}
    assert {each["Key"] for each in kept} == present
    before = cloud.count()
    assert not shop.run()["changed"]
    assert "hosts/" not in json.dumps([each.parameters for each in cloud.calls()[before:]])


def test_another_store_cannot_read_what_is_in_the_bucket(hosts: Hosts) -> None:
    looks = SealEvidence(Clients(hosts.cloud.account()), MemoryStore())
    assert looks.evidence(FLEET, hosts.described) == {}
    assert looks.warnings == ["hosts put their evidence into a bucket, and this store is not in S3"]


def test_hosts_are_given_the_url_of_the_bucket_and_its_encryption(
    bucket: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = destination(bucket)
    assert given and given["url"].endswith(f"/{BUCKET}/infra/hosts/") and "headers" not in given
    assert (given["region"], given["partition"]) == (REGION, "aws")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    for location, url in {
        f"{LOCATION}?region=cn-north-1": f"https://{BUCKET}.s3.cn-north-1.amazonaws.com.cn/infra/hosts/",
        "s3://shop.store?region=eu-central-1": "https://s3.eu-central-1.amazonaws.com/shop.store/hosts/",
        f"{LOCATION}?kms_key=alias/x&region=eu-west-1": f"https://{BUCKET}.s3.eu-west-1.amazonaws.com/infra/hosts/",
    }.items():
        bucket.location = location
        given = destination(bucket)
        assert given and given["url"] == url
    assert given["headers"]["x-amz-server-side-encryption-aws-kms-key-id"] == "alias/x"
    assert destination(MemoryStore()) is None
