# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Groups and launch templates, against moto. Instance refreshes, which moto lacks, on answers as AWS documents them."""

from __future__ import annotations

import base64
import io
import json
import random
import tarfile
from dataclasses import replace
from datetime import datetime, timezone

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import FleetError, ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._providers import group as h
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import LaunchRequest
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2.autoscaling import Ec2AutoScalingGroup
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2.group_template import version_data
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2.run_instances import Scope
from ansible_collections.immutable.infra.plugins.plugin_utils._store.memory import MemoryStore
from ansible_collections.immutable.infra.tests.support.aws import seeds
from ansible_collections.immutable.infra.tests.support.aws.server import REGION, Cloud
from botocore.stub import ANY, Stubber

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
FLEET, DIGEST = "shop-prod", "sha256:" + "1" * 64
REQUEST = LaunchRequest(
    token="",
    fleet=FLEET,
    slot=0,
    image=DIGEST,
    artifact={},
    launch="1" * 64,
    nonce="n" * 32,
    settings={"color": "red"},
    secret_refs={"password": "/shop/password:1"},
    tags={"image_name": "shop-2.0-1"},
)
REFRESH = "08b91cf7-8fa6-48af-b6a6-d227f40f1b9b"
MIXED = {
    "Overrides": [{"InstanceType": "t3.small"}, {"InstanceType": "t3a.small", "WeightedCapacity": "2"}],
    "InstancesDistribution": {"OnDemandBaseCapacity": 1, "SpotAllocationStrategy": "capacity-optimized"},
}


class World:
    """A launch template and a group of its own, at moto."""

    def __init__(self, cloud: Cloud) -> None:
        self.old, self.new = seeds.image(cloud, "old"), seeds.image(cloud, "new")
        self.store = MemoryStore()
        self.scaling = Ec2AutoScalingGroup(cloud.account(), "shop", store=self.store, fleet=FLEET)
        self.ec2, self.groups = self.scaling._clients.ec2, self.scaling._scaling
        self.seed_ec2, self.seed_groups = (
            cloud.boto("ec2"),
            cloud.boto("autoscaling"),
        )  # what a user created before, without the collection's own clients
        self.template = self.seed_ec2.create_launch_template(
            LaunchTemplateName="shop",
            LaunchTemplateData={
                "ImageId": self.old,
                "InstanceType": "t3.micro",
                "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "team", "Value": "a"}]}],
            },
        )["LaunchTemplate"]["LaunchTemplateId"]

    def group(self, version: str = "1", count: int = 2, **given) -> World:
        launch = given or {"LaunchTemplate": {"LaunchTemplateId": self.template, "Version": version}}
        self.seed_groups.create_auto_scaling_group(
            AutoScalingGroupName="shop",
            MinSize=0,
            MaxSize=10,
            DesiredCapacity=count,
            AvailabilityZones=[f"{REGION}a"],
            HealthCheckGracePeriod=90,
            **launch,
        )
        return self

    def mixed(self, **given) -> World:
        launch = {
            "LaunchTemplateSpecification": {"LaunchTemplateId": self.template, "Version": "1"},
            "Overrides": MIXED["Overrides"],
            **given,
        }
        return self.group(
            MixedInstancesPolicy={"LaunchTemplate": launch, "InstancesDistribution": MIXED["InstancesDistribution"]}
        )

    def described(self) -> dict:
        return self.groups.describe_auto_scaling_groups(AutoScalingGroupNames=["shop"])["AutoScalingGroups"][0]

    def version(self, number: str) -> dict:
        found = self.ec2.describe_launch_template_versions(LaunchTemplateId=self.template, Versions=[number])
        return found["LaunchTemplateVersions"][0]

    def add_version(self, image: str) -> None:
        self.seed_ec2.create_launch_template_version(
            LaunchTemplateId=self.template, LaunchTemplateData={"ImageId": image}
        )


@pytest.fixture
def world(cloud: Cloud) -> World:
    return World(cloud)


def test_a_group_is_read_with_its_instances(world: World) -> None:
    group = world.group().scaling.group()
    assert (group.template, group.configured_version, group.image, group.size, group.warmup) == (
        h.LaunchTemplate(world.template, "1"),
        "1",
        world.old,
        2,
        90,
    )
    assert group.pinned and group.reversible
    assert [(each.state, each.healthy, each.serving, each.template) for each in group.members] == [
        ("InService", True, True, group.template)
    ] * 2
    machines = world.scaling.machines()
    assert {each.id for each in machines} == {each.id for each in group.members}
    assert all(each.address.count(".") == 3 and each.state == "running" and each.launched > 0 for each in machines)


@pytest.mark.parametrize(("alias", "number", "image"), [("$Latest", "2", "new"), ("$Default", "1", "old")])
def test_an_alias_resolves_to_its_present_version(alias: str, number: str, image: str, world: World) -> None:
    world.add_version(world.new)
    group = world.group(alias).scaling.group()
    assert (group.configured_version, group.template.version, group.image, group.pinned) == (
        alias,
        number,
        getattr(world, image),
        False,
    )


def test_a_group_that_is_missing_or_has_no_template_is_refused(world: World, cloud: Cloud) -> None:
    with pytest.raises(FleetError, match=rf"there is no Auto Scaling group 'none' in {REGION}"):
        Ec2AutoScalingGroup(cloud.account(), "none", store=world.store, fleet=FLEET).group()
    world.seed_groups.create_launch_configuration(
        LaunchConfigurationName="before", ImageId=world.old, InstanceType="t3.micro"
    )
    with pytest.raises(FleetError, match="has no launch template, so it cannot be refreshed"):
        world.group(LaunchConfigurationName="before").scaling.group()


def test_a_version_is_created_once_and_found_again(world: World, cloud: Cloud) -> None:
    scaling = world.group().scaling
    desired = scaling.desired_launch(scaling.group(), world.new, "shop-2.0-1", REQUEST)
    assert desired.template is None and desired.seals and not desired.drops_user_data
    version = scaling.create_version(desired)
    assert version == h.LaunchTemplate(world.template, "2")
    assert world.version("2")["VersionDescription"].startswith("immutable.infra shop-2.0-1 ")
    data = world.version("2")["LaunchTemplateData"]
    assert data["ImageId"] == world.new and data["InstanceType"] == "t3.micro"
    tags = {
        each["ResourceType"]: {tag["Key"]: tag["Value"] for tag in each["Tags"]} for each in data["TagSpecifications"]
    }
    assert tags["volume"] == {"immutable:image": DIGEST, "immutable:image_name": "shop-2.0-1"}
    assert tags["instance"]["team"] == "a" and tags["instance"]["immutable:nonce"] == REQUEST.nonce
    assert tags["instance"]["immutable:launch"] == REQUEST.launch and "immutable:fleet" not in tags["instance"]
    other = Ec2AutoScalingGroup(cloud.account(), "shop", store=world.store, fleet=FLEET)
    assert other.desired_launch(other.group(), world.new, "shop-2.0-1", REQUEST).template == version
    changed = replace(REQUEST, settings={"color": "blue"}, launch="2" * 64)
    assert other.desired_launch(other.group(), world.new, "shop-2.0-1", changed).template is None


def test_instances_of_the_version_seal_with_the_document_of_the_template(world: World, cloud: Cloud) -> None:
    scaling = world.scaling
    world.group(count=0)
    version = scaling.create_version(scaling.desired_launch(scaling.group(), world.new, "shop-2.0-1", REQUEST))
    scaling.pin(version)
    # moto gives instances the tags of the default version.
    world.seed_ec2.modify_launch_template(LaunchTemplateId=world.template, DefaultVersion=version.version)
    world.seed_groups.set_desired_capacity(AutoScalingGroupName="shop", DesiredCapacity=2)
    machines = scaling.machines()
    assert [each.evidence and (each.evidence.nonce, each.evidence.digest) for each in machines] == [
        (REQUEST.nonce, DIGEST)
    ] * 2
    given = world.seed_ec2.describe_instance_attribute(InstanceId=machines[0].id, Attribute="userData")
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(given["UserData"]["Value"])), mode="r:gz") as archive:
        texts = {name: archive.extractfile(name).read().decode() for name in archive.getnames()}
    assert texts["nonce"].strip() == REQUEST.nonce and json.loads(texts["settings.json"]) == {"color": "red"}
    assert json.loads(texts["secrets.json"])["secrets"] == {"password": {"ssm": "/shop/password:1"}}
    scaling.machines()
    assert cloud.count(action="GetConsoleOutput") == 2, "no console is read again"
    current = scaling.desired_launch(scaling.group(), world.new, "shop-2.0-1", REQUEST)
    assert current.template == version and current.seals


def test_instances_without_a_document_have_no_evidence_and_no_console_is_read(world: World, cloud: Cloud) -> None:
    assert [each.evidence for each in world.group().scaling.machines()] == [None] * 2
    assert cloud.count(action="GetConsoleOutput") == 0


def test_a_version_without_a_document_is_only_kept_if_an_earlier_release_made_it(world: World) -> None:
    scaling = world.group().scaling
    group, plain = scaling.group(), replace(REQUEST, settings={}, secret_refs={})
    assert scaling.desired_launch(group, world.old, "shop-1.0-1", plain).template is None
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "immutable:image", "Value": DIGEST}]}]
    world.seed_ec2.create_launch_template_version(
        LaunchTemplateId=world.template, LaunchTemplateData={"ImageId": world.old, "TagSpecifications": tags}
    )
    earlier = h.LaunchTemplate(world.template, "2")
    scaling.pin(earlier)
    kept = scaling.desired_launch(scaling.group(), world.old, "shop-1.0-1", plain)
    assert (kept.template, kept.seals) == (earlier, False)
    assert scaling.desired_launch(scaling.group(), world.old, "shop-1.0-1", REQUEST).template is None


def test_user_data_of_the_templates_own_is_told_and_replaced(world: World) -> None:
    world.seed_ec2.create_launch_template_version(
        LaunchTemplateId=world.template,
        LaunchTemplateData={"ImageId": world.old, "UserData": base64.b64encode(b"#cloud-config").decode()},
    )
    scaling = world.group("2").scaling
    desired = scaling.desired_launch(scaling.group(), world.new, "shop-2.0-1", REQUEST)
    assert desired.drops_user_data
    scaling.pin(scaling.create_version(desired))
    current = scaling.desired_launch(scaling.group(), world.new, "shop-2.0-1", REQUEST)
    assert current.template == h.LaunchTemplate(world.template, "3") and not current.drops_user_data


def test_a_document_larger_than_user_data_is_refused_before_the_call(world: World, cloud: Cloud) -> None:
    scaling = world.group().scaling
    large = replace(REQUEST, settings={"noise": base64.b64encode(random.Random(1).randbytes(20_000)).decode()})
    with pytest.raises(ProviderError, match=r"settings and keys of shop-prod are too large: \d+ bytes of user data"):
        scaling.desired_launch(scaling.group(), world.new, "shop-2.0-1", large)
    assert cloud.count(changing=True) == 0


def test_a_version_is_created_from_the_groups_own_with_a_token(world: World) -> None:
    scaling = world.group().scaling
    desired = scaling.desired_launch(scaling.group(), world.new, "shop-2.0-1", REQUEST)
    answer = {
        "LaunchTemplateVersion": {"LaunchTemplateId": world.template, "VersionNumber": 7, "LaunchTemplateData": {}}
    }
    expected = {
        "LaunchTemplateId": world.template,
        "SourceVersion": "1",
        "VersionDescription": f"immutable.infra shop-2.0-1 {desired.content}",
        "LaunchTemplateData": ANY,
        "ClientToken": f"immutable-{desired.content}-1",
    }
    with Stubber(world.ec2) as stub:
        stub.add_response("create_launch_template_version", answer, expected)
        assert scaling.create_version(desired) == h.LaunchTemplate(world.template, "7")
        warned = {**answer, "Warning": {"Errors": [{"Code": "Gone", "Message": "the snapshot is gone"}]}}
        stub.add_response("create_launch_template_version", warned)
        with pytest.raises(ProviderError, match="AWS warns about the new version: the snapshot is gone"):
            scaling.create_version(desired)


def test_a_version_keeps_the_metadata_options_that_its_instances_can_seal_with() -> None:
    described = {"MetadataOptions": {"State": "pending", "HttpPutResponseHopLimit": 2, "HttpTokens": "optional"}}
    options = version_data(described, "ami-1", REQUEST, Scope(REGION, "0123456789abcdef"))["MetadataOptions"]
    assert options == {
        "HttpEndpoint": "enabled",
        "HttpPutResponseHopLimit": 2,
        "HttpTokens": "required",
        "InstanceMetadataTags": "disabled",
    }


def test_pinning_changes_the_version_and_nothing_else(world: World) -> None:
    scaling = world.group("$Latest").scaling
    scaling.pin(scaling.group().template)
    assert world.described()["LaunchTemplate"]["Version"] == "1"


def test_a_mixed_group_keeps_its_overrides_and_its_distribution(world: World) -> None:
    world.add_version(world.new)
    scaling = world.mixed().scaling
    assert scaling.group().template.version == "1"
    before = world.described()["MixedInstancesPolicy"]
    scaling.pin(h.LaunchTemplate(world.template, "2"))
    after = world.described()["MixedInstancesPolicy"]
    assert after["LaunchTemplate"]["LaunchTemplateSpecification"]["Version"] == "2"
    assert after["LaunchTemplate"]["Overrides"] == before["LaunchTemplate"]["Overrides"]
    assert after["InstancesDistribution"] == before["InstancesDistribution"]


def test_an_override_with_a_template_of_its_own_is_refused(world: World) -> None:
    own = [
        {
            "InstanceType": "t4g.small",
            "LaunchTemplateSpecification": {"LaunchTemplateId": world.template, "Version": "1"},
        }
    ]
    with pytest.raises(FleetError, match=r"the override of t4g.small has a launch template of its own"):
        world.mixed(Overrides=own).scaling.group()


def test_an_override_with_an_image_of_its_own_is_refused(world: World) -> None:
    group = {**world.group().described(), "MixedInstancesPolicy": {"LaunchTemplate": {
        "LaunchTemplateSpecification": {"LaunchTemplateId": world.template, "Version": "1"},
        "Overrides": [{"InstanceType": "t4g.small", "ImageId": world.old}, *MIXED["Overrides"]],
    }}}  # fmt: skip
    with (
        Stubber(world.groups) as stub,
        pytest.raises(FleetError, match=r"the override of t4g.small names an image of its own"),
    ):
        stub.add_response("describe_auto_scaling_groups", {"AutoScalingGroups": [group]})
        world.scaling.group()


def test_a_refresh_starts_with_a_version_number_and_preferences(world: World) -> None:
    scaling = world.group().scaling
    scaling.group()
    wants = {"MinHealthyPercentage": 100, "MaxHealthyPercentage": 110, "AutoRollback": True}
    expected = {
        "AutoScalingGroupName": "shop",
        "Strategy": "Rolling",
        "DesiredConfiguration": {"LaunchTemplate": {"LaunchTemplateId": world.template, "Version": "2"}},
        "Preferences": wants,
    }
    with Stubber(world.groups) as stub:
        stub.add_response("start_instance_refresh", {"InstanceRefreshId": REFRESH}, expected)
        assert scaling.start(h.LaunchTemplate(world.template, "2"), wants) == REFRESH
        stub.assert_no_pending_responses()
    with pytest.raises(FleetError, match="is not a version that can be rolled back to"):
        scaling.start(h.LaunchTemplate(world.template, "$Latest"), wants)


def test_a_mixed_group_is_refreshed_with_its_whole_policy(world: World) -> None:
    scaling = world.mixed().scaling
    scaling.group()
    policy = {
        "LaunchTemplate": {
            "LaunchTemplateSpecification": {"LaunchTemplateId": world.template, "Version": "2"},
            "Overrides": world.described()["MixedInstancesPolicy"]["LaunchTemplate"]["Overrides"],
        },
        "InstancesDistribution": world.described()["MixedInstancesPolicy"]["InstancesDistribution"],
    }
    expected = {
        "AutoScalingGroupName": "shop",
        "Strategy": "Rolling",
        "DesiredConfiguration": {"MixedInstancesPolicy": policy},
        "Preferences": {},
    }
    with Stubber(world.groups) as stub:
        stub.add_response("start_instance_refresh", {"InstanceRefreshId": REFRESH}, expected)
        scaling.start(h.LaunchTemplate(world.template, "2"), {})


def listed(world: World, *refreshes: dict) -> list[h.Refresh]:
    name = "shop"
    answer = {
        "InstanceRefreshes": [
            {"InstanceRefreshId": REFRESH, "AutoScalingGroupName": name, **each} for each in refreshes
        ]
    }
    world.scaling.group()
    with Stubber(world.groups) as stub:
        stub.add_response("describe_instance_refreshes", answer, {"AutoScalingGroupName": name, "MaxRecords": 10})
        return world.scaling.refreshes()


@pytest.mark.parametrize("status", [*h.FORWARD, *h.BACK, *h.ENDED])
def test_every_status_is_read(status: str, world: World) -> None:
    found = listed(world.group(), {"Status": status})[0]
    assert (found.status, found.active, found.template) == (status, status not in h.ENDED, None)


def test_the_statuses_are_those_that_botocore_knows(world: World) -> None:
    known = world.groups.meta.service_model.shape_for("InstanceRefreshStatus").enum
    assert set(known) == {*h.FORWARD, *h.BACK, *h.ENDED}


def test_a_refresh_is_read_with_its_progress_and_its_reason(world: World) -> None:
    progress = {
        "Status": "InProgress",
        "StatusReason": "Waiting for instances to warm up before continuing. "
        "For example: i-0645704820a8e83ff is warming up.",
        "StartTime": AT,
        "PercentageComplete": 50,
        "InstancesToUpdate": 5,
        "DesiredConfiguration": {"LaunchTemplate": {"LaunchTemplateId": "lt-068f72b729example", "Version": "3"}},
    }
    described = listed(world.group(), progress)[0]
    assert (described.percent, described.remaining, described.started, described.template) == (
        50,
        5,
        AT.timestamp(),
        h.LaunchTemplate("lt-068f72b729example", "3"),
    )
    assert described.reason.startswith("Waiting for instances to warm up")


def test_a_rollback_has_a_reason(world: World) -> None:
    back = {
        "Status": "RollbackInProgress",
        "RollbackDetails": {"RollbackReason": "a manual rollback", "RollbackStartTime": AT},
    }
    assert listed(world.group(), back)[0].reason == "a manual rollback"


def test_a_refresh_may_name_its_template_by_name_or_in_a_policy(world: World) -> None:
    by_name = {
        "Status": "Pending",
        "DesiredConfiguration": {"LaunchTemplate": {"LaunchTemplateName": "shop", "Version": "$Latest"}},
    }
    named = {"LaunchTemplateId": world.template, "Version": "2"}
    mixed = {
        "Status": "Failed",
        "DesiredConfiguration": {"MixedInstancesPolicy": {"LaunchTemplate": {"LaunchTemplateSpecification": named}}},
    }
    assert [each.template for each in listed(world.group(), by_name, mixed)] == [
        h.LaunchTemplate(world.template, "$Latest"),
        h.LaunchTemplate(world.template, "2"),
    ]


def test_a_refresh_can_be_canceled_and_rolled_back(world: World) -> None:
    name = {"AutoScalingGroupName": "shop"}
    with Stubber(world.groups) as stub:
        stub.add_response("cancel_instance_refresh", {"InstanceRefreshId": REFRESH}, name)
        stub.add_response("rollback_instance_refresh", {"InstanceRefreshId": REFRESH}, name)
        world.scaling.cancel()
        world.scaling.roll_back()
        stub.assert_no_pending_responses()


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("start_instance_refresh", h.RUNS_ALREADY),
        ("cancel_instance_refresh", h.RUNS_NO_MORE),
        ("rollback_instance_refresh", h.NO_WAY_BACK),
        ("rollback_instance_refresh", "ResourceContention"),
    ],
)
def test_refusals_carry_the_code_of_aws(call: str, code: str, world: World) -> None:
    calls = {
        "start_instance_refresh": lambda: world.scaling.start(h.LaunchTemplate(world.template, "1"), {}),
        "cancel_instance_refresh": world.scaling.cancel,
        "rollback_instance_refresh": world.scaling.roll_back,
    }
    with Stubber(world.groups) as stub:
        stub.add_client_error(call, code, "no", http_status_code=400)
        with pytest.raises(ProviderError, match=rf"no \({code}\)") as error:
            calls[call]()
    assert error.value.details["code"] == code


def test_a_missing_permission_is_named(world: World) -> None:
    with Stubber(world.groups) as stub:
        stub.add_client_error("start_instance_refresh", "AccessDenied", "not authorized", http_status_code=403)
        with pytest.raises(ProviderError, match="allow the action autoscaling:StartInstanceRefresh"):
            world.scaling.start(h.LaunchTemplate(world.template, "1"), {})
