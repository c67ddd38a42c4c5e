# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checks how a history ended. Each function raises AssertionError if a promise was broken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import Instance
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.world import SimulatedMachine
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.tags import STANDBY, SWAP

from .auditor import goal_of, in_fleet
from .cases import NEW, OLD, launch_of, origin_of
from .trial import INTENT, Ending, Trial, play

# Faults after which the fleet may differ from what the last run observed.
DISTURBANCES = {"crashes", "unhealthy", "removed", "dies", "deregistered", "overtaken", "clock jump", "alarm"}


def fleet_machines(trial: Trial) -> dict[str, SimulatedMachine]:
    return {name: machine for name, machine in trial.world.machines.items() if in_fleet(machine)}


def slots_serving(trial: Trial) -> set[int]:
    machines = fleet_machines(trial)
    return {machines[name].instance.slot for name in trial.auditor.serving()}


def slots_in_standby(trial: Trial) -> set[int]:
    return {machine.instance.slot for machine in fleet_machines(trial).values() if STANDBY in machine.instance.tags}


def judge(trial: Trial, ending: Ending) -> None:
    """Promises 6 and 7, for every case."""
    stored = trial.store.read(INTENT)
    assert_others_left_alone(trial)
    for name, machine in fleet_machines(trial).items():
        assert "found" in name or machine.instance.tags.get(SWAP), (
            f"promise 7: the tags of {name} do not distinguish it from what existed before"
        )
    # The last change may come from another controller.
    alone = not any(fault.kind.startswith(("frozen", "overtaken")) for fault in trial.occurred)
    if ending.status == "stopped" and alone:
        assert stored and stored[0]["status"] == "failed" and stored[0]["reason"], (
            "promise 6: the reason is not recorded"
        )
        if not was_disturbed(trial):
            _assert_restored(trial, stored[0], ending)
    elif ending.status == "done" and trial.case.strategy == "absent":
        assert not fleet_machines(trial), "promise 6: instances are left"
        assert stored is None or stored[0]["status"] == "done" or stored[0]["goal"] == "present"
    elif ending.status == "done" and not was_disturbed(trial):
        assert_reached(trial, ending)


def was_disturbed(trial: Trial) -> bool:
    """Whether something happened to the fleet itself, possibly after the last observation."""
    return (
        bool(DISTURBANCES & {fault.kind for fault in trial.occurred})
        or trial.case.image in ("short-lived", "flapping")
        or any(initial.crashes_after for initial in trial.case.instances)
    )


def assert_others_left_alone(trial: Trial) -> None:
    if trial.case.foreign_instances:
        assert {"mail-0", "probation"} <= set(trial.world.machines) and "mail-0" in trial.world.members, (
            "another fleet was changed"
        )


def assert_reached(trial: Trial, ending: Ending) -> None:
    """Every slot runs the new image and serves, except those that the result names as left alone."""
    left_alone = set(ending.result["left_alone"])
    images: dict[int, list[str]] = {}
    for machine in fleet_machines(trial).values():
        if machine.instance.slot not in left_alone:
            images.setdefault(machine.instance.slot, []).append(machine.instance.image)
    wanted = {slot: [NEW] for slot in range(trial.case.size) if slot not in left_alone}
    standby = slots_in_standby(trial)
    for slot in standby & set(wanted):  # no instance serves there, so none is removed
        present = images.get(slot, [])
        wanted[slot] = images[slot] = present if NEW in present else [NEW]
    assert images == wanted, f"promise 6: the run reported success, but the slots run {images}"
    serving = slots_serving(trial)
    assert serving | left_alone | standby >= set(wanted), (
        f"promise 6: the run reported success, but only slots {serving} serve"
    )


def _assert_restored(trial: Trial, intent: Mapping[str, Any], ending: Ending) -> None:
    """After a complete rollback, the previous version runs in every slot, in its previous size."""
    origin = origin_of(trial.case)
    reason = str(ending.error.details["reason"]) if ending.error else ""
    rollback_problem = reason.partition("; ")[2]
    incomplete = "slot" in rollback_problem or "revoked" in rollback_problem or "nothing moved" in reason
    if intent["stage"] != "rollback" or origin is None or incomplete:
        return
    assert goal_of(intent)["image"] == OLD
    slots: dict[int, list[Instance]] = {slot: [] for slot in range(origin.size)}
    for machine in fleet_machines(trial).values():
        assert machine.instance.slot in slots, (
            f"promise 6: slot {machine.instance.slot} is left after a rollback to {origin.size}: {reason}"
        )
        slots[machine.instance.slot].append(machine.instance)
    serving = slots_serving(trial)
    marked = {initial.slot for initial in trial.case.instances if initial.mark}
    for slot, instances in slots.items():
        was_impaired = slot not in trial.healthy_slots_before or slot in marked
        restored = [(each.image, each.launch) == (OLD, launch_of(OLD)) for each in instances]
        assert all(restored) or (was_impaired and any(restored)), f"promise 6: slot {slot} is not as before: {reason}"
        assert instances, f"promise 6: slot {slot} is empty after the rollback: {reason}"
        assert slot in serving or was_impaired, f"promise 6: slot {slot} does not serve after the rollback: {reason}"


def assert_quiet(trial: Trial) -> None:
    """Promise 8: a run after success changes nothing, in the fleet or in the store."""
    trial.end_faults()
    calls, writes = len(trial.world.calls), trial.store.writes
    result = trial.run()
    assert not result["changed"] and len(trial.world.calls) == calls and trial.store.writes == writes, (
        f"promise 8: {trial.world.calls[calls:]}"
    )


def assert_gets_through(trial: Trial, runs: int = 4) -> None:
    """Promise 9: once the faults end, a good image reaches every slot."""
    for _run in range(runs):
        ending = play(trial)
        if ending.status == "done":
            break
        trial.end_faults()
    else:
        raise AssertionError(f"promise 9: {runs} runs were not enough: {_described(ending)}")
    trial.end_faults()
    ending = play(trial)  # repairs what went wrong after the last observation
    standby = slots_in_standby(trial)
    for machine in fleet_machines(trial).values():
        instance = machine.instance
        assert instance.image == NEW or instance.slot in standby or trial.case.strategy == "absent", (
            f"promise 9: {instance.id} is left: {_described(ending)}"
        )


def _described(ending: Ending) -> str:
    return f"{ending.status} {ending.error or ending.result.get('paused')}"
