# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Complete swaps on EC2 with faults: the promises are checked at each call, and the result is the same."""

from __future__ import annotations

import threading
from collections import Counter
from itertools import product
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import FleetError, ProviderError
from ansible_collections.immutable.infra.tests.support.aws import faults
from ansible_collections.immutable.infra.tests.support.aws.answers import Answer
from ansible_collections.immutable.infra.tests.support.aws.calls import Call
from ansible_collections.immutable.infra.tests.support.aws.faults import Effect
from ansible_collections.immutable.infra.tests.support.aws.proxy import Proceed
from ansible_collections.immutable.infra.tests.support.aws.server import Cloud
from ansible_collections.immutable.infra.tests.support.aws.swaplab import NEW, OLD, STRATEGIES, Clock, SwapLab, sampled
from ansible_collections.immutable.infra.tests.support.swap_kills import killed

REFUSED = {"throttled": faults.throttle, "500": faults.broken(500), "503": faults.broken(503)}
BROKEN = {"before": faults.drop, "after": faults.drop_after}
SOME, ALL = 1, 12  # failing attempts of a call: boto3 succeeds in the end, or gives up


def each_call(effect: Effect, times: int) -> Effect:
    """Applies to the first ``times`` attempts of each call with the same parameters."""
    attempts: Counter[str] = Counter()
    lock = threading.Lock()

    def met(call: Call, proceed: Proceed) -> Answer:
        refused = {
            name: value
            for name, value in call.parameters.items()
            if call.action != "RunInstances" or name == "SubnetId"
        }  # its token may differ
        key = f"{call.service}:{call.action}:{sorted(refused.items())}"
        with lock:
            attempts[key] += 1
            due = attempts[key] <= times
        return effect(call, proceed) if due else proceed(call)

    return met


def lab_of(cloud: Cloud, clock: Clock, strategy: str = "rolling", **changes: Any) -> SwapLab:
    return SwapLab(cloud, clock, 2, strategy, **changes).with_old_image()


def runs_of(lab: SwapLab, image: str) -> int:
    """The number of runs it took: each gets further."""
    for number in range(1, 25):
        try:
            lab.run(image)
            return number
        except ProviderError:
            continue
    raise AssertionError(lab.lines[-10:])


def launched(cloud: Cloud) -> list[str]:
    """Ids of all instances that ever existed: moto keeps them."""
    return [
        each["InstanceId"]
        for page in cloud.boto("ec2").describe_instances()["Reservations"]
        for each in page["Instances"]
    ]


@pytest.mark.parametrize("strategy", ["rolling", "recreate"])
def test_volumes_wait_for_instances_that_start_slowly(cloud: Cloud, clock: Clock, strategy: str) -> None:
    """EC2 and Nova attach no volume to an instance that does not run yet. A run has no tries to lose on that."""
    lab = lab_of(cloud, clock, strategy, data=True)
    cloud.set(launch=40.0)
    lab.run()
    assert not [line for line in lab.lines if "retrying" in line]
    lab.assert_settled()


def test_the_watcher_detects_a_broken_promise(cloud: Cloud, clock: Clock) -> None:
    lab = lab_of(cloud, clock, "rolling, data")
    lab.store.write("fleets/shop-prod/intent.json", {**lab.intent(), "first": 99})
    hosts, ec2 = sorted(lab.watcher.observe().hosts), cloud.boto("ec2", proxied=True)
    ec2.terminate_instances(InstanceIds=hosts[:1])
    assert [each.partition(":")[0] for each in lab.watcher.broken_promises] == ["the new one first"]
    ec2.terminate_instances(InstanceIds=hosts[1:])
    (volume, *_others) = lab.watcher.observe().holders
    clock.wait(60.0)
    ec2.run_instances(ImageId=lab.amis[OLD], MinCount=5, MaxCount=5, SubnetId=lab.net.subnets[0])
    ec2.delete_volume(VolumeId=volume)
    assert [each.partition(":")[0] for each in lab.watcher.broken_promises] == [
        "the new one first",
        "floor",
        "the new one first",
        "ceiling",
        "data",
    ]


@pytest.mark.parametrize(("what", "times"), sampled(product(REFUSED, (2, 5)), ("throttled", 5), ("500", 2)))
def test_the_first_calls_of_every_action_are_refused(cloud: Cloud, clock: Clock, what: str, times: int) -> None:
    lab, effect = lab_of(cloud, clock), REFUSED[what]
    lab.run(NEW)
    actions = {(call.service, call.action) for call in cloud.calls()}
    lab.forget()
    refused = [cloud.fault(effect, action, service, times=times) for service, action in actions]
    assert runs_of(lab, OLD) == 1 or times > 2
    assert sum(fault.met >= min(times, 4) for fault in refused) > len(refused) / 2
    cloud.faults.clear()
    lab.assert_settled(OLD)


@pytest.mark.parametrize(
    ("strategy", "when", "times"),
    sampled(
        product(("rolling", "rolling, data", "blue_green"), BROKEN, (SOME, ALL)),
        ("rolling, data", "before", SOME), ("rolling, data", "after", SOME), ("blue_green", "after", ALL),
    ),
)  # fmt: skip
def test_the_connection_breaks_at_every_change(
    cloud: Cloud, clock: Clock, strategy: str, when: str, times: int
) -> None:
    """Before the call reaches AWS and after it has taken effect, for some attempts of boto3 and for all."""
    lab = lab_of(cloud, clock, strategy)
    cloud.fault(each_call(BROKEN[when], times), changing=True, times=0)
    runs_of(lab, NEW)
    cloud.faults.clear()
    lab.assert_settled()
    assert len(launched(cloud)) == 4, "one instance for each token"


def test_a_zone_without_capacity_is_replaced_by_another(cloud: Cloud, clock: Clock) -> None:
    lab = lab_of(cloud, clock)
    cloud.set(no_capacity=frozenset(lab.net.zones[:1]))
    began = clock.skipped
    result = lab.run()
    refused = [call for call in cloud.calls("ec2", "RunInstances") if call.status >= 400]
    assert 1 <= len(refused) <= 3, "the call is not repeated again and again"
    assert clock.skipped - began < 40
    assert (
        f"zone {lab.net.zones[0]} takes no more instances (InsufficientInstanceCapacity): "
        f"slots 0 are launched in {lab.net.zones[1]}" in result["warnings"]
    )
    lab.assert_settled()


def test_data_cannot_follow_to_another_zone(cloud: Cloud, clock: Clock) -> None:
    lab = lab_of(cloud, clock, "rolling, data")
    cloud.set(no_capacity=frozenset(lab.net.zones))
    with pytest.raises(
        ProviderError, match=rf"launching 1 of shop-prod in {lab.net.zones[0]}: .*\(InsufficientInstanceCapacity\)"
    ):
        lab.run()
    assert len(lab.watcher.observe().serving) == 2 and not lab.watcher.broken_promises
    cloud.set(no_capacity=frozenset())
    lab.finish()


@pytest.mark.parametrize("strategy", sampled(product(STRATEGIES), ("rolling, data",), ("blue_green",)))
def test_an_ami_that_never_boots_is_rolled_back(cloud: Cloud, clock: Clock, strategy: str) -> None:
    lab = lab_of(cloud, clock, strategy)
    before = set(lab.watcher.observe().hosts)
    cloud.set(dead=frozenset({lab.amis[NEW]}))
    with pytest.raises(FleetError, match=r"(?s)was stopped: .*Kernel panic"):
        lab.run()
    lab.watcher.assert_settled(clock, lab.amis[OLD], 2, "data" in strategy)
    assert set(lab.watcher.observe().hosts) == before, "the old ones are the same as before"


@pytest.mark.parametrize(
    ("strategy", "whose", "nth"),
    sampled(
        product(("rolling", "blue_green"), ("old", "new"), (1, 3, 5, 7)),
        ("rolling", "old", 3),
        ("rolling", "new", 5),
        ("blue_green", "new", 5),
    ),
)
def test_an_instance_is_lost_in_the_middle(cloud: Cloud, clock: Clock, strategy: str, whose: str, nth: int) -> None:
    lab = lab_of(cloud, clock, strategy)
    lost = []

    def lose() -> None:
        ami = lab.amis[OLD if whose == "old" else NEW]
        there = [
            host.id for host in lab.watcher.observe().hosts.values() if host.ami == ami and host.state == "running"
        ]
        if there:
            lost.append(there[0])
            cloud.lose(there[0])

    cloud.at_change(nth, lose)
    lab.run()
    lab.run()
    lab.assert_settled()
    assert whose == "new" or nth > 3 or lost


def test_an_instance_that_is_lost_after_the_swap_is_replaced(cloud: Cloud, clock: Clock) -> None:
    lab = lab_of(cloud, clock)
    lab.run()
    cloud.lose(sorted(lab.watcher.observe().hosts)[0])
    lab.run()
    lab.assert_settled()


@pytest.mark.parametrize("nth", sampled(product((1, 2, 4)), (2,)))
def test_expired_credentials_are_reported_and_the_next_run_resumes(cloud: Cloud, clock: Clock, nth: int) -> None:
    lab = lab_of(cloud, clock)
    from_then = cloud.fault(faults.expired, nth=10_000, times=0)
    cloud.at_change(nth, lambda: setattr(from_then, "nth", 1))
    began = clock.skipped
    with pytest.raises(ProviderError, match=r"expired .*renew the credentials and run again to resume"):
        lab.run()
    assert clock.skipped - began < 10 and not lab.watcher.broken_promises and len(lab.watcher.observe().serving) >= 2
    lab.finish()


def test_a_registration_in_the_idle_group_is_removed_by_the_next_run(cloud: Cloud, clock: Clock) -> None:
    """The host that replaces a lost one is staged first.

    If a run ends between the two calls that put it in service, the next swap removes it.
    """
    lab = lab_of(cloud, clock, "blue_green")
    cloud.lose(sorted(lab.watcher.observe().serving)[0])
    lab.run(OLD)
    lab.assert_settled(OLD)
    cloud.lose(sorted(lab.watcher.observe().serving)[0])
    assert killed(lab, OLD, 3, late=True)
    lab.finish(NEW)


def test_the_missing_permission_is_named(cloud: Cloud, clock: Clock) -> None:
    """A fleet with data is created and swapped while each permission is granted only once it is missing."""
    lab, allowed = SwapLab(cloud, clock, 1, "rolling, data"), set()

    def unless_allowed(call: Call, proceed: Proceed) -> Answer:
        return proceed(call) if call.action in allowed else faults.denied(call, proceed)

    cloud.fault(unless_allowed, times=0)
    for image in (OLD, NEW):
        while True:
            try:
                lab.run(image)
                break
            except ProviderError as error:
                action = str(error.details["operation"])
                assert f":{action} for the identity that runs this" in error.message and action not in allowed
                allowed.add(action)
    assert {
        "RunInstances",
        "CreateVolume",
        "DetachVolume",
        "TerminateInstances",
        "DescribeTargetHealth",
    } <= allowed
    lab.assert_settled()


@pytest.mark.parametrize("strategy", sampled(product(("rolling", "rolling, data", "blue_green")), ("rolling, data",)))
def test_new_resources_are_not_listed_for_a_while(cloud: Cloud, clock: Clock, strategy: str) -> None:
    lab = SwapLab(cloud, clock, 2, strategy)
    cloud.set(visible=8.0)
    lab.run(OLD)
    lab.run(NEW)
    lab.assert_settled()
    assert len(launched(cloud)) == 4


def test_a_controller_dies_before_its_launch_is_listed(cloud: Cloud, clock: Clock) -> None:
    lab = lab_of(cloud, clock)
    cloud.set(visible=8.0)
    assert killed(lab, NEW, 1, late=True)
    lab.finish()
    assert len(launched(cloud)) == 4


@pytest.mark.parametrize("strategy", sampled(product(STRATEGIES), ("rolling",), ("blue_green",)))
def test_instances_that_die_at_launch_turn_the_swap_back(cloud: Cloud, clock: Clock, strategy: str) -> None:
    lab = lab_of(cloud, clock, strategy)
    before, existed = set(lab.watcher.observe().hosts), launched(cloud)
    cloud.set(launch=3.0, doomed=frozenset({lab.amis[NEW]}))
    with pytest.raises(FleetError, match=r"i-\w+ and i-\w+ died at launch: Client\.InternalError: Client error on lau"):
        lab.run()
    died = launched(cloud)[len(existed) :]
    assert 2 <= len(died) <= 4, "the second death in one of the two slots is the last"
    assert all(call.status < 400 for call in cloud.calls("ec2", "RunInstances")), "no spent token is tried"
    lab.watcher.assert_settled(clock, lab.amis[OLD], 2, "data" in strategy)
    assert set(lab.watcher.observe().hosts) == before, "the old ones are the same as before"


def test_the_first_release_of_images_that_die_at_launch_is_stopped(cloud: Cloud, clock: Clock) -> None:
    lab = SwapLab(cloud, clock, 2)
    cloud.set(doomed=frozenset({"*"}))
    with pytest.raises(FleetError, match=r"died at launch: Client\.InternalError.*kms:CreateGrant.*what ran before"):
        lab.run()
    assert len(launched(cloud)) <= 4 and not lab.watcher.observe().hosts


def test_a_lost_host_whose_successors_die_at_launch_is_not_replaced_for_ever(cloud: Cloud, clock: Clock) -> None:
    """Also when each controller is killed after its launch: what was launched is remembered."""
    lab = lab_of(cloud, clock)
    cloud.lose(sorted(lab.watcher.observe().hosts)[0])
    cloud.set(doomed=frozenset({"*"}), tags_kept=0.0)
    existed = len(launched(cloud))
    with pytest.raises(FleetError, match="no instance is left of the 5 launches that a swap may make in one slot"):
        for _run in range(12):
            killed(lab, OLD, 1, late=True)
    assert len(lab.watcher.observe().serving) == 1 and len(launched(cloud)) - existed <= 5
    cloud.set(doomed=frozenset(), tags_kept=3600.0)
    lab.finish(OLD)


def test_an_instance_that_a_person_protected_is_named_and_the_next_run_resumes(cloud: Cloud, clock: Clock) -> None:
    lab = lab_of(cloud, clock)
    protected = sorted(lab.watcher.observe().hosts)[0]
    cloud.world.protected[protected] = "disableApiTermination"
    began = clock.skipped
    with pytest.raises(ProviderError, match=rf"'{protected}' may not be terminated.*switch off this protection"):
        lab.run()
    assert clock.skipped - began < 60 and cloud.count(action="TerminateInstances") <= 2, "it is not tried again"
    assert not lab.watcher.broken_promises and len(lab.watcher.observe().serving) >= 2
    cloud.world.protected.clear()
    lab.finish()
