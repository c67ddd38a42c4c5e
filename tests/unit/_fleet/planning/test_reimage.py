# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The strategy ``reimage``: instances stay, and their roots are replaced, while they run or while they are stopped."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import FleetError
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.actions import Act, BeginRollback, Reimage
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.model import Intent, Version
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.observed import InstanceView, Observed
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.planning.plan import plan
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.prediction.predict import simulated_swap
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.swap.observe import Observer
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import (
    PENDING,
    RUNNING,
    STOPPED,
    InstanceState,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.root_state import RootState
from ansible_collections.immutable.infra.tests.support.fleetlab import BROKEN, DUMB, FLEET, V1, V2, Lab, request

MODES: tuple[InstanceState, ...] = (RUNNING, STOPPED)


def wanted(image: str = V2, **changes: Any):
    asked = request(image, strategy="reimage", **{"unavailable": 1, **changes})
    return replace(asked, origin=asked.payload)


def lab_of(mode: InstanceState, **changes: Any) -> Lab:
    lab = Lab()
    lab.world.replaces_in = mode
    lab.run(wanted(V1, **changes))
    lab.world.calls.clear()
    return lab


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("data", [False, True])
def test_the_same_instances_run_the_new_image_with_their_volumes(mode: InstanceState, data: bool) -> None:
    lab = lab_of(mode, data=data)
    instances = set(lab.world.machines)
    holders = {volume.id: volume.attached_to for volume in lab.world.volumes.values()}
    result = lab.run(wanted(data=data))
    assert set(lab.world.machines) == instances == lab.serving()
    assert lab.images() == {0: [V2], 1: [V2], 2: [V2]}
    assert {volume.id: volume.attached_to for volume in lab.world.volumes.values()} == holders
    assert not {"launch", "remove", "attach", "detach"} & set(lab.world.calls)
    assert (result["lowest_in_service"], result["peak"]) == (2, 3)
    assert not lab.run(wanted(data=data))["changed"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("image", [BROKEN, DUMB])
def test_a_bad_image_is_replaced_by_the_previous_one_on_the_same_instance(mode: InstanceState, image: str) -> None:
    lab = lab_of(mode)
    instances = set(lab.world.machines)
    with pytest.raises(FleetError, match="slot 0: .* failed"):
        lab.run(wanted(image))
    assert set(lab.world.machines) == instances == lab.serving()
    assert lab.images() == {0: [V1], 1: [V1], 2: [V1]}
    assert lab.world.calls.count("reimage") == 2
    assert not any(machine.instance.root.previous for machine in lab.world.machines.values())


@pytest.mark.parametrize("mode", MODES)
def test_the_previous_root_is_kept_until_the_slot_serves(mode: InstanceState) -> None:
    lab, kept = lab_of(mode), []

    def look(call: str) -> None:
        roots = [machine.instance.root.previous for machine in lab.world.machines.values()]
        kept.append((call, roots, len(lab.serving())))

    lab.world.before = look
    lab.run(wanted(size=1))
    (released,) = [entry for entry in kept if entry[0] == "release"]
    assert V1 in released[1] and released[2] >= 1
    assert all(V1 in roots for call, roots, _serving in kept if call == "register")


def test_a_stopped_instance_is_replaced_by_a_new_one_if_only_running_ones_can_be_reimaged() -> None:
    lab = lab_of(RUNNING)
    first = min(lab.world.machines)
    lab.provider.compute.power_off([first])
    lab.world.members.pop(first)
    lab.run(wanted())
    assert first not in lab.world.machines and lab.images() == {0: [V2], 1: [V2], 2: [V2]}
    assert lab.world.calls.count("launch") == 1


@pytest.mark.parametrize("mode", MODES)
def test_check_mode_predicts_what_the_provider_does(mode: InstanceState) -> None:
    lab = lab_of(mode)
    observer = Observer(lab.provider, lab.provider.traffic(FLEET), lab.provider.probe, FLEET)
    observer.observe()
    found = simulated_swap(wanted(), observer.snapshot, lab.store, now=lab.provider.clock.now()).plan
    actions = {step["action"] for step in found["steps"]}
    assert "reimaged" in actions and "launched" not in actions
    assert ("told to stop" in actions) is (mode == STOPPED)
    assert (found["stops"], found["lowest_in_service"]) == (None, 2)


@pytest.mark.parametrize("mode", MODES)
def test_a_volume_that_grows_keeps_its_data_and_comes_back(mode: InstanceState) -> None:
    lab = lab_of(mode, data=True)
    asked = wanted(data=True)
    grown = tuple(replace(spec, size=2048) for spec in asked.intent.volumes)
    lab.run(replace(asked, intent=replace(asked.intent, volumes=grown)))
    assert {volume.size for volume in lab.world.volumes.values()} == {2048}
    assert all(volume.attached_to in lab.world.machines for volume in lab.world.volumes.values())
    assert ("launch" in lab.world.calls) is (mode == RUNNING)  # a volume must be detached, which takes a stop


VIEW = InstanceView(
    id="i-1", slot=0, image=V1, launch="launch1", state=RUNNING, created=0.0, started=0.0, proven=True, healthy=True
)
RECORDED = replace(VIEW, image=V2, launch="launch2", swap=1, state=PENDING, proven=False, healthy=False)
INTENT = Intent(
    "shop-local",
    strategy="reimage",
    image=V2,
    launch="launch2",
    size=1,
    unavailable=1,
    begun=True,
    origin=Version(V1, "one", "launch1", 1),
    serial=1,
    first=1,
)


def test_what_an_interrupted_run_recorded_is_begun_without_another_launch() -> None:
    recorded = replace(RECORDED, root=RootState(V1, "requested"))
    outcome = plan(Observed(1e6, (recorded,), replaces_in=RUNNING), INTENT, 1e6)
    assert isinstance(outcome, Act)
    (action,) = outcome.actions
    assert isinstance(action, Reimage) and [(each.id, each.attempt) for each in action.slots] == [(recorded.id, 0)]


def test_a_root_that_could_not_be_replaced_is_a_reason_to_roll_back() -> None:
    failed = replace(RECORDED, root=RootState(V1, "failed", "no capacity"))
    outcome = plan(Observed(0.0, (failed,), replaces_in=RUNNING), INTENT, 0.0)
    assert isinstance(outcome, BeginRollback) and "its root could not be replaced (no capacity)" in outcome.reason


def test_no_instance_is_reimaged_more_often_than_a_slot_may_be_launched() -> None:
    outcome = plan(Observed(0.0, (VIEW,), replaces_in=RUNNING), replace(INTENT, launches=((0, 5),)), 0.0)
    assert isinstance(outcome, BeginRollback) and "no instance is left of the 5 launches" in outcome.reason
