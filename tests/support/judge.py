# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What must be so at the end of a history."""

from __future__ import annotations

from typing import Any

from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import Instance
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.world import SimulatedMachine

from .auditor import aim
from .cases import FLEET, NEW, OLD, launch_of, origin_of
from .trial import INTENT, Ending, Trial, play

HARM = {"dies", "ails", "vanishes", "forgotten", "usurped", "jump", "alarm"}


def ours(trial: Trial) -> dict[str, SimulatedMachine]:
    return {
        each: machine
        for each, machine in trial.world.machines.items()
        if machine.instance.fleet == FLEET and machine.instance.purpose == "fleet"
    }


def judge(trial: Trial, ending: Ending) -> None:
    """Promises 6 and 7, whatever the case was."""
    stored = trial.store.read(INTENT)
    assert_others_left_alone(trial)
    for each, machine in ours(trial).items():
        assert "found" in each or machine.instance.tags.get("swap"), (
            f"promise 7: {each} cannot be told from what was there before"
        )
    alone = not any(
        fault.what.startswith(("frozen", "usurped")) for fault in trial.spent
    )  # or the last word may be another one's
    if ending.what == "stopped" and alone:
        assert stored and stored[0]["status"] == "failed" and stored[0]["reason"], (
            "promise 6: the reason is not recorded"
        )
        if not harmed(trial):
            _restored(trial, stored[0], ending)
    elif ending.what == "done" and trial.case.strategy == "absent":
        assert not ours(trial), "promise 6: instances are left"
        assert stored is None or stored[0]["status"] == "done" or stored[0]["goal"] == "present"
    elif ending.what == "done" and not harmed(trial):
        assert_reached(trial, ending)


def harmed(trial: Trial) -> bool:
    """Whether something went wrong with the fleet itself, at a moment that may be later than the last look."""
    return (
        bool(HARM & {fault.what for fault in trial.spent})
        or trial.case.image in ("brief", "flaps")
        or any(found.dies for found in trial.case.found)
    )


def assert_others_left_alone(trial: Trial) -> None:
    if trial.case.foreign:
        assert {"mail-0", "probation"} <= set(trial.world.machines) and "mail-0" in trial.world.members, (
            "another fleet was touched"
        )


def assert_reached(trial: Trial, ending: Ending) -> None:
    left = set(ending.result["left_alone"])
    found: dict[int, list[str]] = {}
    for machine in ours(trial).values():
        if machine.instance.slot not in left:
            found.setdefault(machine.instance.slot, []).append(machine.instance.image)
    wanted = {slot: [NEW] for slot in range(trial.case.size) if slot not in left}
    resting = {machine.instance.slot for machine in ours(trial).values() if "standby" in machine.instance.tags}
    for slot in resting & set(wanted):  # nobody serves there, so nobody goes
        wanted[slot] = found[slot] = found[slot] if NEW in found.get(slot, ()) else [NEW]
    assert found == wanted, f"promise 6: it says that all is done, but there is {found}"
    serving = {ours(trial)[each].instance.slot for each in trial.auditor.serving()}
    assert serving | left | resting >= set(wanted), (
        f"promise 6: it says that all is done, but only slots {serving} serve"
    )


def _restored(trial: Trial, intent: dict[str, Any], ending: Ending) -> None:
    """After a rollback that tells of no slot that was lost, what ran before runs everywhere, in its number."""
    origin = origin_of(trial.case)
    told = str(ending.error.details["reason"]) if ending.error else ""
    if (
        intent["stage"] != "rollback"
        or origin is None
        or "slot" in told.partition("; ")[2]
        or "nothing moved" in told
        or "revoked" in told.partition("; ")[2]
    ):
        return
    assert aim(intent)["image"] == OLD
    slots: dict[int, list[Instance]] = {slot: [] for slot in range(origin.size)}
    for machine in ours(trial).values():
        assert machine.instance.slot in slots, (
            f"promise 6: slot {machine.instance.slot} is left after a rollback to {origin.size}: {told}"
        )
        slots[machine.instance.slot].append(machine.instance)
    serving = {ours(trial)[each].instance.slot for each in trial.auditor.serving()}
    for slot, there in slots.items():
        lame = slot not in trial.well_before or any(found.slot == slot and found.mark for found in trial.case.found)
        right = [(each.image, each.launch) == (OLD, launch_of(OLD)) for each in there]
        assert all(right) or (lame and any(right)), f"promise 6: slot {slot} is not as it was: {told}"
        assert there, f"promise 6: slot {slot} is empty after the rollback: {told}"
        assert slot in serving or lame, f"promise 6: slot {slot} does not serve after the rollback: {told}"


def assert_quiet(trial: Trial) -> None:
    """Promise 8: a run after success changes nothing, in the fleet or in the store."""
    trial.calm()
    calls, writes = len(trial.world.calls), trial.store.writes
    result = trial.run()
    assert not result["changed"] and len(trial.world.calls) == calls and trial.store.writes == writes, (
        f"promise 8: {trial.world.calls[calls:]}"
    )


def gets_through(trial: Trial, runs: int = 4) -> None:
    """Promise 9: once nothing goes wrong any more, a good image reaches every slot."""
    for _run in range(runs):
        ending = play(trial)
        if ending.what == "done":
            break
        trial.calm()
    else:
        raise AssertionError(
            f"promise 9: {runs} runs did not reach it: {ending.what} {ending.error or ending.result.get('paused')}"
        )
    trial.calm()
    ending = play(trial)  # what went wrong after its last look
    resting = {machine.instance.slot for machine in ours(trial).values() if "standby" in machine.instance.tags}
    for machine in ours(trial).values():
        fine = machine.instance.image == NEW or machine.instance.slot in resting or trial.case.strategy == "absent"
        assert fine, (
            f"promise 9: {machine.instance.id} is left: {ending.what} {ending.error or ending.result.get('paused')}"
        )
