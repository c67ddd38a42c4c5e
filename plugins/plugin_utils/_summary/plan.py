# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The summary of a predicted swap, in the form of Terraform's plans: what is launched, removed and moved. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .text import age, counted, duration, slots, wrapped

_LINES = 16  # of one kind of change: images of an old fleet, or steps of a group
# The kinds of changes, by the event that shows one. Other events are steps on the way.
_EVENTS = {
    "launched": "launch",
    "started again": "start",
    "reimaged": "reimage",
    "volumes attached": "attach",
    "removed": "remove",
}


def plan_lines(result: Mapping[str, Any], now: float, width: int) -> list[str]:
    """Return the summary of a result of ``fleet`` in check mode. ``now``: seconds since the epoch."""
    return [*_plan(result, now, width), *unreleased_lines(result)]


def _plan(result: Mapping[str, Any], now: float, width: int) -> list[str]:
    plan, name = result["plan"], result.get("image_name")
    wanted = f"run {name}" if name else "have no instances"
    if not plan["changed"]:
        runs = f"runs {name}" if name and result["size"] == 1 else wanted
        return [f"{result['fleet']}: no changes. {counted(result['size'], 'slot')} {runs}."]
    if "duration" not in plan:  # Auto Scaling chooses the times
        steps = [step["action"] for step in plan["steps"]]
        return [
            f"{result['fleet']}: plan to {wanted}",
            *_limited(f"  ~ {step}" for step in steps),
            *_failed_before(plan, now),
        ]
    changes = _changes(result)
    lines = [f"{result['fleet']}: plan to {wanted}"]
    lines += [f"  + launch {name}: {_where(changes['launch'])}"] if changes["launch"] else []
    lines += [f"  + start the stopped instance: {_where(changes['start'])}"] if changes["start"] else []
    lines += [f"  ~ reimage with {name}: {_where(changes['reimage'])}"] if changes["reimage"] else []
    lines += _moved(changes["attach"], result) + _removed(changes["remove"], result)
    lines.append(f"Plan: {_counts(changes)}. {_forecast(plan, result['size'])}")
    if plan["pauses"]:
        lines.append(f"! It would pause: {plan['pauses']}")
    if plan["stops"]:
        lines.append(f"! It would stop: {plan['stops']}")
    lines += _failed_before(plan, now)
    return [part for line in lines for part in (wrapped(line, width) if line.startswith("  ") else [line])]


def _failed_before(plan: Mapping[str, Any], now: float) -> list[str]:
    """Say that the last swap to the same image failed. A prediction does not foresee why."""
    failure = plan.get("last_failure")
    if not failure:
        return []
    when = f"{age(failure['at'], now)} ago" if age(failure["at"], now) else f"on {failure['at']}"
    return [
        f"! The last swap to {failure['image_name']} failed {when}: {failure['reason']}",
        "! The prediction does not know the cause. It assumes that the new instances become healthy.",
    ]


def unreleased_lines(result: Mapping[str, Any]) -> list[str]:
    """Say that the definition differs from what the channel has. ``result``: of ``fleet`` or ``fleet_info``."""
    text = str(result.get("unreleased") or "")
    return [f"! {text[0].upper()}{text[1:]}"] if text else []


def _changes(result: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """Return the steps that are shown, by their kind."""
    found: dict[str, list[Mapping[str, Any]]] = {kind: [] for kind in _EVENTS.values()}
    for step in result["plan"]["steps"]:
        kind = _EVENTS.get(step["action"])
        if kind and step["slot"] is not None:
            found[kind].append(step)
    return found


def _where(steps: Iterable[Mapping[str, Any]]) -> str:
    return slots(step["slot"] for step in steps)


def _removed(steps: Iterable[Mapping[str, Any]], result: Mapping[str, Any]) -> list[str]:
    images = {each["id"]: each["image_name"] or "an unknown image" for each in result["instances"]}
    by_image: dict[str, list[int]] = {}
    for step in steps:
        by_image.setdefault(images.get(step["instance"], result.get("image_name") or ""), []).append(step["slot"])
    return _limited(f"  - remove {image}: {slots(where)}" for image, where in sorted(by_image.items()))


def _moved(steps: Iterable[Mapping[str, Any]], result: Mapping[str, Any]) -> list[str]:
    """Say whose volumes move, and which are new."""
    existing = {volume["slot"] for volume in result.get("volumes") or ()}
    where = [step["slot"] for step in steps]
    moved, created = [slot for slot in where if slot in existing], [slot for slot in where if slot not in existing]
    lines = [f"  ~ move the data volumes to the new instance: {slots(moved)}"] if moved else []
    return [f"  + create the data volumes: {slots(created)}", *lines] if created else lines


def _limited(lines: Iterable[str]) -> list[str]:
    found = list(lines)
    more = [f"    and {len(found) - _LINES} more"] if len(found) > _LINES else []
    return [*found[:_LINES], *more]


def _counts(changes: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    attached, verbs = len(changes["attach"]), ("launch", "start", "reimage", "remove")
    counts = [f"{len(changes[verb])} to {verb}" for verb in verbs if changes[verb] or verb in ("launch", "remove")]
    return ", ".join([*counts, *([f"volumes of {counted(attached, 'slot')} to attach"] if attached else [])])


def _forecast(plan: Mapping[str, Any], size: int) -> str:
    lowest, downtime = plan["lowest_in_service"], plan["downtime"]
    down = f"{duration(downtime)} without any" if downtime else "no downtime"
    return f"About {duration(plan['duration'])}, at least {lowest or 0} of {size} in service, {down}."
