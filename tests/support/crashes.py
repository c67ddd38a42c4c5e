# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The exhaustive sweep: kill the controller around every changing call of a swap, run it again and compare the end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

from .cases import Case, Fault, InitialInstance, InitialVolume
from .judge import fleet_machines
from .trial import Trial, play

KILLS = ("killed", "killed midway", "killed after")  # before, between the effects of a bulk call, after
BEGIN, END = "<!-- crash table: begin -->", "<!-- crash table: end -->"
_FLEET = Case(size=3, previous_size=3, instances=tuple(InitialInstance(slot=slot) for slot in range(3)))
_DATA = replace(_FLEET, data=True, volumes=tuple(InitialVolume(slot=slot) for slot in range(3)))
SWAPS = {
    "rolling": replace(_FLEET, surge=2),
    "rolling, data": replace(_DATA, surge=2),
    "canary": replace(_FLEET, strategy="canary", stages=((1, 10.0, False), (2, 10.0, False))),
    "blue_green": replace(_FLEET, strategy="blue_green", surge=3),
    "blue_green, keep_old": replace(_FLEET, strategy="blue_green", surge=3, keep_old=60.0),
    "recreate": replace(_FLEET, strategy="recreate"),
    "recreate, data": replace(_DATA, strategy="recreate"),
    "recreate, hot": replace(_FLEET, strategy="recreate", hot=True, surge=3),
    "recreate, hot, data": replace(_DATA, strategy="recreate", hot=True),
    "reimage": replace(_FLEET, strategy="reimage"),
    "reimage while stopped, data": replace(_DATA, strategy="reimage", while_stopped=True),
}
IMAGES = ("good", "unhealthy")


@dataclass(frozen=True)
class Sweep:
    """The result of all kills of one swap."""

    calls: int  # of the swap without a kill
    kills: int
    same: int  # reruns that ended in the same state
    others: tuple[str, ...]  # the cases of the other reruns


def end_of(case: Case) -> tuple[tuple[object, ...], Trial]:
    """How the history ended, which image each slot runs, which slots serve, and where the volumes are."""
    trial = Trial(case)
    ending = play(trial)
    machines = fleet_machines(trial)
    images = sorted(
        (machine.instance.slot, machine.instance.image, trial.world.state(machine)) for machine in machines.values()
    )
    serving = sorted(machines[name].instance.slot for name in trial.auditor.serving())
    volumes = sorted(
        (volume.id, machines[volume.attached_to].instance.slot if volume.attached_to else None)
        for volume in trial.world.volumes.values()
    )
    return (ending.status, images, serving, volumes), trial


@cache
def sweep(strategy: str, image: str, completes_removals: bool = True) -> Sweep:
    case = replace(SWAPS[strategy], image=image, completes_removals=completes_removals)
    wanted, undisturbed = end_of(case)
    calls, kills, others = undisturbed.counts["call"], 0, []
    for number in range(calls):
        for kind in KILLS:
            killed = replace(case, faults=(Fault("call", number, kind),))
            end, trial = end_of(killed)
            if trial.dead_holders:  # a call with one effect cannot be killed midway
                kills += 1
                if end != wanted:
                    others.append(repr(killed))
    return Sweep(calls, kills, kills - len(others), tuple(others))


def table() -> str:
    rows = ["| strategy | image | calls | kills | same end |", "|---|---|---:|---:|---:|"]
    for strategy in SWAPS:
        for image in IMAGES:
            swept = sweep(strategy, image)
            name = "good" if image == "good" else "never healthy"
            rows.append(f"| {strategy} | {name} | {swept.calls} | {swept.kills} | {swept.same} |")
    return "\n".join(rows)


def within(text: str) -> str:
    """Return ``text`` with the table between its marks regenerated."""
    head, tail = text.split(BEGIN)[0], text.split(END)[-1]
    return f"{head}{BEGIN}\n{table()}\n{END}{tail}"
