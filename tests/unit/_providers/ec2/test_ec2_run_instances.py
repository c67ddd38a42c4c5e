# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Requests to EC2 and the reading of its answers, without a cloud."""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._aws.tags import MAX_TEXT, MAX_VALUE
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._core.gibibytes import gib
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import (
    PENDING,
    RUNNING,
    STOPPED,
    STOPPING,
    Evidence,
    LaunchRequest,
    Volume,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2.describe import (
    boot_of,
    instance_of,
    volume_of,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2.launch_tags import instance_texts
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2.run_instances import (
    LaunchBatch,
    Scope,
    launch_batches,
    run_instances_parameters,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2.tags import (
    from_aws,
    keys_of_text,
    to_aws,
)

SCOPE = Scope("eu-central-1", "0123456789abcdef")
MACHINE = {
    "subnets": {"a": "subnet-a", "b": "subnet-b"},
    "security_groups": ["sg-1"],
    "type": "",
    "evidence": "console",
    "address": "private",
}
REQUEST = LaunchRequest(
    token="shop-prod-0-abc-1",
    fleet="shop-prod",
    slot=0,
    image="sha256:11",
    artifact={"ami": "ami-1", "region": "eu-central-1"},
    launch="f" * 64,
    nonce="of this request",
    ports=(8080, 22),
    machine=MACHINE,
    tags={"port": "8080", "attempt": "0", "swap": "1"},
    zone="a",
)
AT = datetime(2026, 1, 31, 12, 0, tzinfo=timezone.utc)


def slots(*numbers: int, **changes: Any) -> list[LaunchRequest]:
    return [replace(REQUEST, slot=number, token=f"shop-prod-{number}-abc-1", **changes) for number in numbers]


def tags_in(parameters: dict[str, Any], kind: str = "instance") -> dict[str, str]:
    return next(
        {tag["Key"]: tag["Value"] for tag in each["Tags"]}
        for each in parameters["TagSpecifications"]
        if each["ResourceType"] == kind
    )


def described(parameters: dict[str, Any], index: int = 0, **changes: Any) -> dict[str, Any]:
    tags = next(each["Tags"] for each in parameters["TagSpecifications"] if each["ResourceType"] == "instance")
    plain = {
        "InstanceId": f"i-{index}",
        "AmiLaunchIndex": index,
        "ImageId": parameters["ImageId"],
        "State": {"Name": "running"},
        "LaunchTime": AT,
        "PrivateIpAddress": "10.9.0.5",
        "Placement": {"AvailabilityZone": "a"},
        "Tags": tags,
    }
    return {**plain, **changes}


def parameters_for(*requests: LaunchRequest, **more: Any) -> dict[str, Any]:
    (group,) = launch_batches(requests, more.pop("volumes", {}))
    return run_instances_parameters(group, group.zones()[0], SCOPE, **more)


def never(_instance: str) -> float:
    return 7.0


def test_requests_that_differ_only_in_their_slot_are_one_call() -> None:
    mixed = [*slots(4, 2), *slots(1, zone="b"), *slots(3, settings={"colour": "red"})]
    assert [[each.slot for each in group.requests] for group in launch_batches(mixed, {})] == [[1], [2, 4], [3]]
    parameters = parameters_for(*slots(4, 2))
    assert (parameters["MinCount"], parameters["MaxCount"], parameters["SubnetId"]) == (2, 2, "subnet-a")
    assert tags_in(parameters)["immutable:slots"] == "2,4"


def test_a_repeated_call_is_identical() -> None:
    once, again = parameters_for(*slots(0, 1, nonce="one")), parameters_for(*slots(1, 0, nonce="another"))
    assert once == again
    assert len(once["ClientToken"]) <= 64 and once["ClientToken"].isascii()
    others = [parameters_for(*slots(0)), parameters_for(*slots(0, 2)), parameters_for(*slots(0, 1, zone="b"))]
    assert len({each["ClientToken"] for each in [once, *others]}) == 4
    assert len({tags_in(each)["immutable:nonce"] for each in [once, *others[:2]]}) == 3


def test_each_instance_finds_its_own_slot_and_attempt_by_its_index() -> None:
    requests = [*slots(3), *slots(5, tags={**REQUEST.tags, "attempt": "1"})]
    parameters = parameters_for(*requests)
    found = [instance_of(described(parameters, index), {}, never) for index in (0, 1)]
    assert [(each.slot, each.tags["attempt"], each.tags["swap"]) for each in found if each] == [
        (3, "0", "1"),
        (5, "1", "1"),
    ]
    assert instance_of(described(parameters, 2), {}, never) is None


def test_an_instance_is_read_as_it_was_requested() -> None:
    parameters = parameters_for(REQUEST)
    nonce = tags_in(parameters)["immutable:nonce"]
    evidence = Evidence("sha256:11", nonce, "ssh-ed25519 AAAA", "restricted")
    one = described(parameters)
    found = instance_of(one, {boot_of(one): evidence}, never)
    assert found is not None
    assert (found.fleet, found.slot, found.image, found.launch, found.purpose, found.nonce) == (
        "shop-prod",
        0,
        "sha256:11",
        "f" * 64,
        "fleet",
        nonce,
    )
    assert found.endpoints == {8080: ("10.9.0.5", 8080), 22: ("10.9.0.5", 22)}
    assert (found.state, found.evidence, found.zone, found.started) == (RUNNING, evidence, "a", AT.timestamp())
    assert dict(found.tags) == dict(REQUEST.tags)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("pending", PENDING),
        ("running", PENDING),
        ("shutting-down", STOPPING),
        ("stopping", STOPPING),
        ("stopped", STOPPED),
    ],
)
def test_states(state: str, expected: str) -> None:
    found = instance_of(described(parameters_for(REQUEST), State={"Name": state}), {}, never)
    assert found and found.state == expected
    assert found.stopping_since == (7.0 if expected == STOPPING else 0.0)


def test_a_stop_at_an_impossible_time_is_no_error() -> None:
    reason = "User initiated (2026-02-31 12:30:00 GMT)"
    found = instance_of(
        described(parameters_for(REQUEST), State={"Name": "stopping"}, StateTransitionReason=reason), {}, never
    )
    assert found and found.stopping_since == 7.0


def test_times_of_the_stop_and_of_the_first_launch() -> None:
    disk = {
        "DeviceName": "/dev/xvda",
        "Ebs": {"VolumeId": "vol-1", "AttachTime": datetime(2026, 1, 1, tzinfo=timezone.utc)},
    }
    one = described(
        parameters_for(REQUEST), State={"Name": "stopping"}, RootDeviceName="/dev/xvda", BlockDeviceMappings=[disk],
        StateTransitionReason="User initiated (2026-01-31 12:30:00 GMT)",
    )  # fmt: skip
    found = instance_of(one, {}, never)
    assert found and found.stopping_since == AT.timestamp() + 1800
    assert (found.created, found.started) == (datetime(2026, 1, 1, tzinfo=timezone.utc).timestamp(), AT.timestamp())


def test_evidence_of_an_earlier_boot_proves_nothing() -> None:
    one = described(parameters_for(REQUEST))
    evidence = {boot_of(one): Evidence("sha256:11", "n", "", "off")}
    later = instance_of({**one, "LaunchTime": AT.replace(hour=13)}, evidence, never)
    assert later and later.evidence is None


def test_without_a_console_ec2_vouches_for_the_image_only() -> None:
    parameters = parameters_for(replace(REQUEST, machine={**MACHINE, "evidence": "none"}))
    found = instance_of(described(parameters), {}, never)
    assert (
        found
        and found.state == RUNNING
        and found.evidence
        and found.evidence.digest == "sha256:11"
        and found.evidence.nonce == found.nonce
    )
    other = instance_of(described(parameters, ImageId="ami-2"), {}, never)
    assert other and other.state == PENDING


def test_resources_of_others_are_ignored() -> None:
    assert instance_of(described(parameters_for(REQUEST), Tags=[{"Key": "Name", "Value": "shop"}]), {}, never) is None
    assert volume_of({"VolumeId": "vol-1", "Size": 8, "Tags": to_aws({"fleet": "shop-prod", "store": "x"})}) is None, (
        "a root volume"
    )


def test_launch_settings() -> None:
    plain = parameters_for(REQUEST)
    assert (
        plain["InstanceType"] == "t3.micro"
        and plain["MetadataOptions"]["HttpTokens"] == "required"
        and plain["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
        and plain["SecurityGroupIds"] == ["sg-1"]
    )
    assert not {"LaunchTemplate", "BlockDeviceMappings", "IamInstanceProfile"} & set(plain)
    machine = {
        **MACHINE,
        "launch_template": ["lt-1", 7],
        "security_groups": [],
        "instance_profile": "shop",
        "root_size": 12 * 1024**3,
        "metadata_hop_limit": 2,
    }
    full = parameters_for(replace(REQUEST, machine=machine), root={"DeviceName": "/dev/sda1"})
    assert full["LaunchTemplate"] == {"LaunchTemplateId": "lt-1", "Version": "7"}
    assert full["BlockDeviceMappings"] == [
        {"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 12, "DeleteOnTermination": True}}
    ]
    assert full["IamInstanceProfile"] == {"Name": "shop"}
    assert full["MetadataOptions"]["HttpPutResponseHopLimit"] == 2
    assert not {"InstanceType", "SecurityGroupIds"} & set(full), "the template says them"


def test_the_document_names_only_blank_volumes() -> None:
    old = Volume(id="vol-0", fleet="shop-prod", slot=0, name="data", size=1024**3, zone="a")
    new = replace(old, id="vol-1", name="index", created_blank=True)
    told, plain = (members(parameters_for(REQUEST, volumes={0: volumes})) for volumes in ([old, new], [old]))
    assert told["blank"] == b"index blank\n"
    assert "blank" not in plain and plain["volumes"] == b"data vol0\n"


def members(parameters: dict[str, Any]) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(parameters["UserData"]), mode="r:gz") as archive:
        return {entry.name: archive.extractfile(entry).read() for entry in archive}  # type: ignore[union-attr]


def test_data_keeps_a_slot_in_its_zone() -> None:
    def volume(slot: int, zone: str) -> Volume:
        return Volume(id=f"vol-{slot}", fleet="shop-prod", slot=slot, name="data", size=1024**3, zone=zone)

    assert LaunchBatch((REQUEST,)).zones() == ["a", "b"]
    assert LaunchBatch((REQUEST,), (volume(0, "a"),)).zones() == ["a"]
    assert LaunchBatch((REQUEST,), (volume(0, "b"),)).zones() == ["b"], "although the slot's zone has changed"
    both = launch_batches(slots(0, 2), {0: [volume(0, "a")], 2: [volume(2, "a")]})
    assert [len(each.requests) for each in both] == [1, 1], "each gets the ids of its own volumes"


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (
            replace(REQUEST, artifact={"ami": "ami-1", "region": "us-east-1"}),
            "the image has no AMI in eu-central-1 (it has one in: us-east-1)",
        ),
        (replace(REQUEST, zone="c"), "zone c has none (it has: a, b)"),
        (
            replace(REQUEST, settings={"long": "".join(str(number * 7919 % 104729) for number in range(20000))}),
            "too large",
        ),
        (replace(REQUEST, secrets={"password": "in clear, wrongly"}), "secrets never go into user data: password"),
    ],
)
def test_a_request_that_ec2_would_refuse_is_refused_before_the_call(request_: LaunchRequest, words: str) -> None:
    with pytest.raises(ProviderError) as error:
        parameters_for(request_)
    assert words in error.value.message
    assert "in clear, wrongly" not in error.value.message


def test_a_text_longer_than_a_tag_takes_several_tags() -> None:
    long = "".join(chr(97 + number % 26) for number in range(MAX_VALUE * 2 + 9))
    tags = to_aws({"health": long, "short": "s"})
    assert max(len(tag["Value"]) for tag in tags) == MAX_VALUE and len(tags) == 4
    assert from_aws([*reversed(tags), {"Key": "theirs", "Value": "x"}]) == {"health": long, "short": "s"}
    assert len("".join(tag["Value"] for tag in to_aws({"reason": "x" * 9999}))) == MAX_TEXT
    assert {tag["Key"] for tag in to_aws({"reason": "x" * 9999})} == {tag["Key"] for tag in keys_of_text("reason")}


def test_tags_that_this_project_cannot_have_written_are_ignored() -> None:
    hostile = "{{ lookup('pipe', 'id') }}"
    names = (
        "image",
        "version",
        "build",
        "image_name",
        "launch",
        "purpose",
        "slots",
        "ports",
        "slot",
        "attempt",
        "shell",
    )
    ours = {"image": "sha256:" + "a" * 64, "version": "1.0+b_2", "slots": "0,12", "tainted": hostile}
    assert from_aws(to_aws(dict.fromkeys(names, hostile))) == {}
    assert from_aws(to_aws({"slot": "\u00b2", "slots": "9" * 5000, "ports": "22,x"})) == {}
    assert from_aws(to_aws(ours)) == ours


def test_sizes_are_rounded_up() -> None:
    assert [gib(size) for size in (1, 1024**3, 1024**3 + 1)] == [1, 1, 2]


def test_many_slots_are_several_calls_and_each_instance_finds_its_own_slot() -> None:
    groups = launch_batches(slots(*range(9000, 9700)), {})
    assert [len(each.requests) for each in groups] == [100] * 7
    for group in groups:
        parameters = run_instances_parameters(group, "a", SCOPE)
        found = [instance_of(described(parameters, index), {}, never) for index in range(100)]
        assert [each.slot for each in found if each] == [each.slot for each in group.requests]
    assert len({run_instances_parameters(each, "a", SCOPE)["ClientToken"] for each in groups}) == 7


def test_tags_keep_their_order_because_a_client_token_goes_with_one_set_of_parameters() -> None:
    request = replace(REQUEST, tags={"swap": "3", "version": "2"})
    of_request, others = ["swap", "version"], ["fleet", "store", "image", "ami", "launch", "purpose", "nonce"]
    names = [*of_request, *others, "slots", "ports", "evidence", "address"]
    assert list(instance_texts(request, SCOPE.store, "ami-1")) == names
