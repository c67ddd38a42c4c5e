# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Complete swaps of a fleet on EC2, with the real engine, provider and balancer over HTTP."""

from __future__ import annotations

import base64
import gzip
import io
import tarfile
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import (
    FleetError,
    ImmutableError,
    ProviderError,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._hosts.inventory import list_hosts
from ansible_collections.immutable.infra.tests.support.aws.faults import denied, drop_after, refuse
from ansible_collections.immutable.infra.tests.support.aws.fleet import FLEET, TARGET, Shop, tags_of
from ansible_collections.immutable.infra.tests.support.aws.server import Cloud


@pytest.fixture
def shop(cloud: Cloud, tmp_path: Path) -> Shop:
    return Shop(cloud, tmp_path)


def data(shop: Shop, size: int = 2) -> Shop:
    shop.document["data"] = [{"name": "orders", "size": "10G", "mount": "/srv/orders"}]
    shop.document["fleet"]["size"] = size
    return shop


def attachments(shop: Shop) -> dict[str, str | None]:
    """Slot of the instance that has a volume, by the volume's name, as AWS reports both."""
    volumes = [
        each for each in shop.cloud.boto("ec2").describe_volumes()["Volumes"] if "immutable:volume" in tags_of(each)
    ]
    slots = {each.id: each.slot for each in shop.provider().compute.list(FLEET)}
    return {
        tags_of(each)["Name"]: slots.get(next((one["InstanceId"] for one in each["Attachments"]), ""))
        for each in volumes
    }


def test_a_fleet_is_created_and_swapped_and_a_further_run_changes_nothing(shop: Shop) -> None:
    first = shop.image("1.0.0")
    result = shop.run()
    assert result["changed"] and [each["serving"] for each in result["instances"]] == [True] * 3
    assert [each.action for each in shop.cloud.calls("ec2", changing=True)] == ["RunInstances"] * 2, "one for each zone"
    assert {each["ImageId"] for each in shop.instances()} == {first.artifact["ami"]}
    assert shop.registered() == {each["InstanceId"] for each in shop.instances()}
    second = shop.image("2.0.0")
    swapped = shop.run()
    assert [each["serving"] for each in swapped["instances"]] == [True] * 3
    assert {each["ImageId"] for each in shop.instances()} == {second.artifact["ami"]}
    before = shop.cloud.count()
    quiet = shop.run()
    assert not quiet["changed"]
    calls = [each.action for each in shop.cloud.calls()[before:] if each.service == "ec2"]
    assert sorted(calls) == ["DescribeInstances", "DescribeVolumes"], "no console is read again"


def test_the_inventory_costs_one_describe(shop: Shop) -> None:
    shop.image("1.0.0")
    shop.run()
    before = shop.cloud.count()
    hosts = list_hosts(shop.definition(), TARGET, shop.store, shop.provider().compute.list(FLEET), channel="prod")
    assert [each.name for each in hosts] == ["shop-prod-0", "shop-prod-1", "shop-prod-2"]
    assert all("sealed" in each.groups and "outdated" not in each.groups for each in hosts)
    assert hosts[0].variables["ansible_host"].startswith("10.9.0.")
    assert [each.action for each in shop.cloud.calls()[before:]] == ["DescribeInstances"]


def test_everything_created_is_tagged_with_the_fleet_and_the_store(shop: Shop) -> None:
    shop.image("1.0.0")
    data(shop).run()
    one = shop.instances()[0]
    ec2 = shop.cloud.boto("ec2")
    disks = ec2.describe_volumes()["Volumes"]
    assert one["MetadataOptions"]["HttpTokens"] == "required"
    for each in [*shop.instances(), *disks]:
        assert tags_of(each)["immutable:fleet"] == FLEET and len(tags_of(each)["immutable:store"]) == 16
    assert all(each["Encrypted"] for each in disks if "immutable:volume" in tags_of(each))
    names = handed_over(shop, one["InstanceId"])
    assert "nonce" in names and not [name for name in names if name.startswith("secrets")]


def handed_over(shop: Shop, instance: str) -> dict[str, bytes]:
    said = shop.cloud.boto("ec2").describe_instance_attribute(InstanceId=instance, Attribute="userData")["UserData"][
        "Value"
    ]
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(base64.b64decode(said)))) as archive:
        return {name: file.read() for name in archive.getnames() if (file := archive.extractfile(name))}


def test_another_store_never_sees_the_fleet(shop: Shop, tmp_path: Path) -> None:
    shop.image("1.0.0")
    data(shop).run()
    own, foreign = shop.provider(), Shop.__new__(Shop)
    foreign.__dict__.update(shop.__dict__)
    foreign.store = type(shop.store)(tmp_path / "another")
    assert list(own.compute.fleets()) == [FLEET]
    assert (
        list(foreign.provider().compute.fleets()) == []
        and foreign.provider().compute.list(FLEET) == []
        and foreign.provider().volumes.list(FLEET) == []
    )


def test_slots_with_data_move_one_by_one_and_their_volumes_with_them(shop: Shop) -> None:
    shop.image("1.0.0")
    data(shop).run()
    assert attachments(shop) == {"shop-prod-0-orders": 0, "shop-prod-1-orders": 1}
    before = {
        each["VolumeId"]
        for each in shop.cloud.boto("ec2").describe_volumes()["Volumes"]
        if "immutable:volume" in tags_of(each)
    }
    second = shop.image("2.0.0")
    shop.cloud.set(stop=0.3, launch=0.2)
    swapped = shop.run()
    assert [each["serving"] for each in swapped["instances"]] == [True] * 2
    assert {each["ImageId"] for each in shop.instances() if each["State"]["Name"] == "running"} == {
        second.artifact["ami"]
    }
    after = {
        each["VolumeId"]
        for each in shop.cloud.boto("ec2").describe_volumes()["Volumes"]
        if "immutable:volume" in tags_of(each)
    }
    assert attachments(shop) == {"shop-prod-0-orders": 0, "shop-prod-1-orders": 1} and before == after
    assert not shop.run()["changed"]


def test_volumes_grow_in_the_next_swap_and_are_removed_only_on_request(shop: Shop) -> None:
    shop.image("1.0.0")
    data(shop, size=1).run()
    shop.document["data"][0]["size"] = "12G"
    shop.run()
    volumes = shop.provider().volumes.list(FLEET)
    assert [each.size for each in volumes] == [12 * 1024**3]
    shop.run(absent=True)
    assert [each.id for each in shop.provider().volumes.list(FLEET)] == [each.id for each in volumes]
    shop.run(absent=True, remove_volumes=("orders",))
    assert shop.provider().volumes.list(FLEET) == []
    shop.run()
    assert [each.id in {one.id for one in volumes} for each in shop.provider().volumes.list(FLEET)] == [False], (
        "a spent token launches nothing"
    )


def test_data_stays_in_its_zone_if_the_order_of_zones_changes(shop: Shop) -> None:
    shop.image("1.0.0")
    data(shop, size=1).run()
    shop.target["zones"] = list(reversed(shop.network.zones))
    shop.document["data"].append({"name": "more", "size": "1G", "mount": "/srv/more"})
    assert [each["serving"] for each in shop.run()["instances"]] == [True]
    assert {each.zone for each in shop.provider().volumes.list(FLEET)} == {shop.network.zones[0]}


def test_a_launch_whose_answer_is_lost_launches_once(shop: Shop) -> None:
    shop.image("1.0.0")
    shop.cloud.set(visible=1.0)
    shop.cloud.fault(drop_after, "RunInstances")
    shop.run()
    assert len(shop.instances()) == 3


def test_another_zone_replaces_a_full_one_permanently(shop: Shop) -> None:
    shop.image("1.0.0")
    full, other = shop.network.zones
    shop.cloud.set(no_capacity=frozenset({full}))
    result = shop.run()
    assert {each["zone"] for each in result["instances"]} == {other}
    assert result["warnings"] == [
        f"zone {full} takes no more instances (InsufficientInstanceCapacity): slots 0, 2 are launched in {other}"
    ]
    shop.cloud.set(no_capacity=frozenset())
    assert not shop.run()["changed"]


def test_an_instance_with_data_does_not_move_to_another_zone(shop: Shop) -> None:
    shop.image("1.0.0")
    shop.cloud.set(no_capacity=frozenset({shop.network.zones[0]}))
    with pytest.raises(ImmutableError, match="InsufficientInstanceCapacity"):
        data(shop, size=1).run()
    assert shop.instances() == []


def test_the_older_console_is_read_if_the_latest_is_not_available(shop: Shop) -> None:
    shop.image("1.0.0")
    shop.document["fleet"]["size"] = 1
    shop.cloud.fault(
        refuse(400, "UnsupportedOperation", "This instance type does not support retrieving the latest console logs."),
        "GetConsoleOutput",
    )
    assert [each["sealed"] for each in shop.run()["instances"]] == [True]
    assert [each.parameters.get("Latest") for each in shop.cloud.calls("ec2", "GetConsoleOutput")] == ["true", None]


def test_an_image_that_never_boots_is_rolled_back(shop: Shop) -> None:
    first = shop.image("1.0.0")
    shop.run()
    shop.document["health"]["boot_deadline"] = "2s"
    second = shop.image("2.0.0")
    shop.cloud.set(dead=frozenset({second.artifact["ami"]}))
    with pytest.raises(FleetError) as error:
        shop.run()
    assert "did not seal itself within 2 s" in error.value.message and "Kernel panic" in error.value.message
    assert {each["ImageId"] for each in shop.instances()} == {first.artifact["ami"]}


def test_an_image_whose_target_group_checks_fail_is_rolled_back(shop: Shop) -> None:
    group = shop.balancer.groups[0]
    shop.cloud.boto("elbv2").modify_target_group(TargetGroupArn=group, HealthCheckIntervalSeconds=5)
    first = shop.image("1.0.0")
    shop.run()
    shop.document["health"]["deadline"] = "5s"
    old = {each["InstanceId"] for each in shop.instances()}
    shop.image("2.0.0")
    shop.cloud.set(healthy=lambda instance, _group: instance in old)
    with pytest.raises(FleetError, match="the target group's checks do not pass"):
        shop.run()
    assert {each["ImageId"] for each in shop.instances()} == {first.artifact["ami"]}


def test_a_lost_instance_is_replaced(shop: Shop) -> None:
    shop.image("1.0.0")
    shop.run()
    shop.cloud.lose(shop.instances()[0]["InstanceId"])
    again = shop.run()
    assert again["changed"] and [each["serving"] for each in again["instances"]] == [True] * 3


def test_an_instance_that_does_not_shut_down_is_powered_off(shop: Shop) -> None:
    shop.image("1.0.0")
    shop.document["fleet"]["stop_timeout"] = "1s"
    data(shop, size=1).run()
    shop.cloud.set(hung=frozenset({"*"}))
    shop.image("2.0.0")
    assert [each["serving"] for each in shop.run()["instances"]] == [True]
    forced = [each for each in shop.cloud.calls("ec2", "StopInstances") if each.parameters.get("Force") == "true"]
    assert len(forced) == 1


@pytest.mark.parametrize("change", [{"type": "t3.small"}, {"root_size": "9G"}])
def test_changed_machine_settings_cause_a_swap(shop: Shop, change: dict[str, str]) -> None:
    shop.image("1.0.0")
    shop.document["fleet"]["size"] = 1
    shop.run()
    before = shop.instances()[0]["InstanceId"]
    shop.target["machine"] = change
    assert shop.run()["changed"] and shop.instances()[0]["InstanceId"] != before
    assert not shop.run()["changed"]


def test_a_changed_secret_causes_a_swap_and_its_value_stays_in_ssm(shop: Shop) -> None:
    ssm = shop.cloud.boto("ssm")
    ssm.put_parameter(Name="/shop/key", Value="long-and-secret-1", Type="SecureString")
    shop.document["fleet"]["size"] = 1
    shop.target["secrets"] = {"key": {"ssm": "/shop/key"}}
    shop.image("1.0.0")
    shop.run()
    assert not shop.run()["changed"]
    ssm.put_parameter(Name="/shop/key", Value="long-and-secret-2", Type="SecureString", Overwrite=True)
    assert shop.run()["changed"]
    assert b'{"ssm": "/shop/key:2"}' in handed_over(shop, shop.instances()[0]["InstanceId"])["secrets.json"]
    assert not any(each.parameters.get("WithDecryption") for each in shop.cloud.calls("ssm"))
    ssm.delete_parameter(Name="/shop/key")
    with pytest.raises(ProviderError, match="there is no parameter /shop/key in SSM"):
        shop.run()


def test_a_missing_instance_does_not_affect_calls_for_the_others(shop: Shop) -> None:
    shop.image("1.0.0")
    shop.run()
    compute = shop.provider().compute
    ids = [each["InstanceId"] for each in shop.instances()]
    compute.tag(["i-0123456789abcdef0", ids[0]], {"tainted": "x" * 300, "protected": None})
    assert [each.tags.get("tainted") for each in compute.list(FLEET) if each.id == ids[0]] == ["x" * 300]
    compute.tag(ids, {"tainted": None})
    assert not [each for each in compute.list(FLEET) if "tainted" in each.tags]
    compute.stop([ids[0], "i-0123456789abcdef0"])
    compute.remove(["i-0123456789abcdef0", *ids])
    compute.remove(ids)
    assert compute.list(FLEET) == []


def test_a_stopped_instance_is_started_again(shop: Shop) -> None:
    """As in a rollback of a swap that stopped the old instances for their data."""
    shop.image("1.0.0")
    shop.run()
    compute, ids = shop.provider().compute, [each["InstanceId"] for each in shop.instances()]
    compute.stop(ids)
    assert {each["State"]["Name"] for each in shop.instances()} == {"stopped"}
    compute.start(ids)
    assert {each["State"]["Name"] for each in shop.instances()} == {"running"}


def test_a_missing_permission_is_named(shop: Shop) -> None:
    shop.image("1.0.0")
    shop.cloud.fault(denied, "RunInstances", times=0)
    with pytest.raises(ProviderError, match="allow the action ec2:RunInstances"):
        shop.run()
