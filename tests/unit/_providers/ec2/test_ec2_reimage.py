# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Swaps that keep the instances and replace their root volumes. Moto lacks the task, so ``RootTasks`` stands in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._aws.tags import key_of
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import FleetError, ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.model import Request
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.tags import IMAGE, KEPT_ROOT, MARKS, TAINTED
from ansible_collections.immutable.infra.tests.support.aws.root_tasks import RootTasks
from ansible_collections.immutable.infra.tests.support.aws.server import Cloud
from ansible_collections.immutable.infra.tests.support.aws.swaplab import NEW, OLD, Clock, Killer, SwapLab, sampled
from ansible_collections.immutable.infra.tests.support.killed import ControllerKilled

CHANGES = 20  # changing calls of a swap of two, at most


class ReimageLab(SwapLab):
    """A fleet of two on the old image, whose roots can be replaced."""

    tasks: RootTasks

    def begun(self, **options: Any) -> ReimageLab:
        self.tasks = RootTasks(self.cloud, {ami: digest for digest, ami in self.amis.items()}, **options)
        self.cloud.proxy.layers.insert(2, self.tasks)
        self.cloud.set(console=self.tasks.console, healthy=self.healthy)
        self.bad: set[str] = set()
        self.with_old_image()
        self.ids = set(self.described())
        return self

    def healthy(self, instance: str, _group: str) -> bool:
        return self.tasks.running(instance) not in self.bad

    def described(self) -> dict[str, dict[str, Any]]:
        pages = self.cloud.boto("ec2").describe_instances()["Reservations"]
        found = {one["InstanceId"]: one for page in pages for one in page["Instances"]}
        return {key: one for key, one in found.items() if one["State"]["Name"] != "terminated"}

    def tags(self) -> list[dict[str, str]]:
        return [{tag["Key"]: tag["Value"] for tag in one["Tags"]} for one in self.described().values()]

    def assert_runs(self, image: str) -> None:
        """The same instances run the image and serve, nothing is left over, and another run changes nothing."""
        self.clock.wait(60.0)
        assert set(self.described()) == self.ids
        assert {self.tasks.running(one) for one in self.ids} == {image}
        assert {tags[key_of(IMAGE)] for tags in self.tags()} == {image}
        assert not any(key_of(KEPT_ROOT) in tags for tags in self.tags())
        state, ec2 = self.watcher.observe(), self.cloud.boto("ec2")
        assert state.serving == self.ids
        disks = {disk for host in state.hosts.values() for disk in host.disks}
        assert {volume["VolumeId"] for volume in ec2.describe_volumes()["Volumes"]} == disks, "a volume is left over"
        assert not self.watcher.broken_promises
        self.cloud.proxy.forget()
        assert not self.run(image)["changed"] and not self.cloud.calls(changing=True)


def reimage_lab(cloud: Cloud, clock: Clock, data: bool = False, **options: Any) -> ReimageLab:
    return ReimageLab(cloud, clock, strategy="reimage, data" if data else "reimage").begun(**options)


@pytest.mark.parametrize("shell", ["restricted", "off"])
def test_the_same_instances_run_the_new_image_with_their_volumes(cloud: Cloud, clock: Clock, shell: str) -> None:
    lab = reimage_lab(cloud, clock, data=True, shell=shell)
    holders = lab.watcher.observe().holders
    lab.run(NEW)
    assert lab.watcher.observe().holders == holders
    assert cloud.count(action="CreateReplaceRootVolumeTask") == 2 and cloud.count(action="RunInstances") == 0
    assert cloud.count(action="DescribeInstanceAttribute") <= 2
    lab.assert_runs(NEW)


def test_an_unhealthy_image_is_replaced_by_the_volume_that_was_kept(cloud: Cloud, clock: Clock) -> None:
    lab = reimage_lab(cloud, clock)
    lab.bad.add(NEW)
    with pytest.raises(FleetError, match="failed: it was not healthy"):
        lab.run(NEW)
    forward, back = lab.tasks.tasks
    assert forward.source == lab.amis[NEW] and back.source.startswith("vol-") and forward.keeps and back.keeps
    lab.bad.clear()
    lab.assert_runs(OLD)


def test_a_task_that_fails_ends_with_the_root_that_is_still_there(cloud: Cloud, clock: Clock) -> None:
    lab = reimage_lab(cloud, clock, script=("in-progress", "failing", "failed"))
    with pytest.raises(FleetError, match="its root could not be replaced .AWS's task failed, and the instance still"):
        lab.run(NEW)
    assert len(lab.tasks.tasks) == 1
    lab.assert_runs(OLD)


KILLS = [(nth, late) for nth in range(1, CHANGES) for late in (False, True)]


@pytest.mark.parametrize(("nth", "late"), sampled(KILLS, (3, True), (4, True), (5, False)))
def test_a_killed_run_is_resumed(cloud: Cloud, clock: Clock, nth: int, late: bool) -> None:
    lab = reimage_lab(cloud, clock)
    with Killer(cloud, nth, late).armed() as killer:
        try:
            lab.run(NEW)
        except ControllerKilled:
            pass
        else:
            assert killer.left > 0
    lab.run(NEW)
    lab.assert_runs(NEW)


def test_a_tainted_host_gets_a_new_root_of_the_same_image(cloud: Cloud, clock: Clock) -> None:
    lab = reimage_lab(cloud, clock)
    lab.provider().compute.tag(sorted(lab.ids)[:1], {TAINTED: "unsealed by hand"})
    lab.run(OLD)
    assert len(lab.tasks.tasks) == 1 and not any(key_of(mark) in tags for tags in lab.tags() for mark in MARKS)
    lab.assert_runs(OLD)


class WithSettings(ReimageLab):
    def request(self, image: str = NEW, **more: Any) -> Request:
        asked = super().request(image, **more)
        return replace(asked, payload=replace(asked.payload, settings={"workers": 2} if image == NEW else {}))


def test_settings_that_would_change_are_refused_before_anything_changes(cloud: Cloud, clock: Clock) -> None:
    lab = WithSettings(cloud, clock, strategy="reimage").begun()
    with pytest.raises(ProviderError, match=r"launch document of i-\w+ would change: settings.env, settings.json"):
        lab.run(NEW)
    assert not cloud.calls(changing=True)


class WithMachine(ReimageLab):
    def request(self, image: str = NEW, **more: Any) -> Request:
        asked = super().request(image, **more)
        machine = {**asked.payload.machine, **({"type": "m7i.large"} if image == NEW else {})}
        return replace(asked, payload=replace(asked.payload, machine=machine))


def test_another_machine_is_refused_before_anything_changes(cloud: Cloud, clock: Clock) -> None:
    lab = WithMachine(cloud, clock, strategy="reimage").begun()
    with pytest.raises(ProviderError, match="the settings of its machine differ: type"):
        lab.run(NEW)
    assert not cloud.calls(changing=True)
