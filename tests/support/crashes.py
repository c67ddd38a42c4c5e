# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The exhaustive sweep: kill the controller around every single changing call of a swap, run it again, compare the end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

from .cases import Case, Disk, Fault, Found
from .judge import ours
from .trial import Trial, play

KILLS = ("killed", "killed half", "killed done")  # before, between the effects of a bulk call, after
BEGIN, END = "<!-- crash table: begin -->", "<!-- crash table: end -->"
_FLEET = Case(size=3, known=3, found=tuple(Found(slot=slot) for slot in range(3)))
_DATA = replace(_FLEET, data=True, disks=tuple(Disk(slot=slot) for slot in range(3)))
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
}
IMAGES = ("good", "sick")


@dataclass(frozen=True)
class Sweep:
    calls: int  # of the swap that nobody kills
    kills: int  # that came about
    same: int  # reruns that ended in the same state
    others: tuple[str, ...]  # the rest, as cases


def end_of(case: Case) -> tuple[tuple[object, ...], Trial]:
    """How it ended, which image each slot runs, who serves, where the volumes are."""
    trial = Trial(case)
    ending = play(trial)
    machines = ours(trial)
    images = sorted(
        (machine.instance.slot, machine.instance.image, trial.world.state(machine)) for machine in machines.values()
    )
    serving = sorted(machines[each].instance.slot for each in trial.auditor.serving())
    volumes = sorted(
        (volume.id, machines[volume.attached_to].instance.slot if volume.attached_to else None)
        for volume in trial.world.volumes.values()
    )
    return (ending.what, images, serving, volumes), trial


@cache
def sweep(strategy: str, image: str) -> Sweep:
    case = replace(SWAPS[strategy], image=image)
    wanted, whole = end_of(case)
    kills, others = 0, []
    for number in range(whole.seen["call"]):
        for what in KILLS:
            killed = replace(case, faults=(Fault("call", number, what),))
            end, trial = end_of(killed)
            if len(trial.dead):  # a call with one effect has no half
                kills += 1
                if end != wanted:
                    others.append(repr(killed))
    return Sweep(whole.seen["call"], kills, kills - len(others), tuple(others))


def table() -> str:
    rows = ["| strategy | image | calls | kills | same end |", "|---|---|---:|---:|---:|"]
    for strategy in SWAPS:
        for image in IMAGES:
            swept = sweep(strategy, image)
            rows.append(
                f"| {strategy} | {'good' if image == 'good' else 'never healthy'} | {swept.calls} | {swept.kills} | {swept.same} |"
            )
    return "\n".join(rows)


def within(text: str) -> str:
    """Return ``text`` with the table between its marks regenerated."""
    head, tail = text.split(BEGIN)[0], text.split(END)[-1]
    return f"{head}{BEGIN}\n{table()}\n{END}{tail}"
