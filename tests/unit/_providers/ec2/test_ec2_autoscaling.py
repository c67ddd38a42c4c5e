# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Groups and launch templates, against moto. Instance refreshes, which moto lacks, on answers as AWS documents them."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import FleetError, ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._providers import group as h
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2.autoscaling import Ec2AutoScalingGroup
from ansible_collections.immutable.infra.tests.support.aws.group_world import FLEET, MIXED, GroupWorld
from ansible_collections.immutable.infra.tests.support.aws.server import REGION, Cloud
from botocore.stub import Stubber

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
REFRESH = "08b91cf7-8fa6-48af-b6a6-d227f40f1b9b"


@pytest.fixture
def world(cloud: Cloud) -> GroupWorld:
    return GroupWorld(cloud)


def test_a_group_is_read_with_its_instances(world: GroupWorld) -> None:
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
def test_an_alias_resolves_to_its_present_version(alias: str, number: str, image: str, world: GroupWorld) -> None:
    world.add_version(world.new)
    group = world.group(alias).scaling.group()
    assert (group.configured_version, group.template.version, group.image, group.pinned) == (
        alias,
        number,
        getattr(world, image),
        False,
    )


def test_a_group_that_is_missing_or_has_no_template_is_refused(world: GroupWorld, cloud: Cloud) -> None:
    with pytest.raises(FleetError, match=rf"there is no Auto Scaling group 'none' in {REGION}"):
        Ec2AutoScalingGroup(cloud.account(), "none", store=world.store, fleet=FLEET).group()
    world.seed_groups.create_launch_configuration(
        LaunchConfigurationName="before", ImageId=world.old, InstanceType="t3.micro"
    )
    with pytest.raises(FleetError, match="has no launch template, so it cannot be refreshed"):
        world.group(LaunchConfigurationName="before").scaling.group()


def test_pinning_changes_the_version_and_nothing_else(world: GroupWorld) -> None:
    scaling = world.group("$Latest").scaling
    scaling.pin(scaling.group().template)
    assert world.described()["LaunchTemplate"]["Version"] == "1"


def test_a_mixed_group_keeps_its_overrides_and_its_distribution(world: GroupWorld) -> None:
    world.add_version(world.new)
    scaling = world.mixed().scaling
    assert scaling.group().template.version == "1"
    before = world.described()["MixedInstancesPolicy"]
    scaling.pin(h.LaunchTemplate(world.template, "2"))
    after = world.described()["MixedInstancesPolicy"]
    assert after["LaunchTemplate"]["LaunchTemplateSpecification"]["Version"] == "2"
    assert after["LaunchTemplate"]["Overrides"] == before["LaunchTemplate"]["Overrides"]
    assert after["InstancesDistribution"] == before["InstancesDistribution"]


def test_an_override_with_a_template_of_its_own_is_refused(world: GroupWorld) -> None:
    own = [
        {
            "InstanceType": "t4g.small",
            "LaunchTemplateSpecification": {"LaunchTemplateId": world.template, "Version": "1"},
        }
    ]
    with pytest.raises(FleetError, match=r"the override of t4g.small has a launch template of its own"):
        world.mixed(Overrides=own).scaling.group()


def test_an_override_with_an_image_of_its_own_is_refused(world: GroupWorld) -> None:
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


def test_a_refresh_starts_with_a_version_number_and_preferences(world: GroupWorld) -> None:
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


def test_a_mixed_group_is_refreshed_with_its_whole_policy(world: GroupWorld) -> None:
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


def listed(world: GroupWorld, *refreshes: dict) -> list[h.Refresh]:
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
def test_every_status_is_read(status: str, world: GroupWorld) -> None:
    found = listed(world.group(), {"Status": status})[0]
    assert (found.status, found.active, found.template) == (status, status not in h.ENDED, None)


def test_the_statuses_are_those_that_botocore_knows(world: GroupWorld) -> None:
    known = world.groups.meta.service_model.shape_for("InstanceRefreshStatus").enum
    assert set(known) == {*h.FORWARD, *h.BACK, *h.ENDED}


def test_a_refresh_is_read_with_its_progress_and_its_reason(world: GroupWorld) -> None:
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


def test_a_rollback_has_a_reason(world: GroupWorld) -> None:
    back = {
        "Status": "RollbackInProgress",
        "RollbackDetails": {"RollbackReason": "a manual rollback", "RollbackStartTime": AT},
    }
    assert listed(world.group(), back)[0].reason == "a manual rollback"


def test_a_refresh_may_name_its_template_by_name_or_in_a_policy(world: GroupWorld) -> None:
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


def test_a_refresh_can_be_canceled_and_rolled_back(world: GroupWorld) -> None:
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
def test_refusals_carry_the_code_of_aws(call: str, code: str, world: GroupWorld) -> None:
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


def test_a_missing_permission_is_named(world: GroupWorld) -> None:
    with Stubber(world.groups) as stub:
        stub.add_client_error("start_instance_refresh", "AccessDenied", "not authorized", http_status_code=403)
        with pytest.raises(ProviderError, match="allow the action autoscaling:StartInstanceRefresh"):
            world.scaling.start(h.LaunchTemplate(world.template, "1"), {})
