# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The summary of a predicted swap, in the form of Terraform's plans: what is launched, removed and moved. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .text import counted, cut, duration, slots

_LINES = 16  # of one kind of change: images of an old fleet, or steps of a group
_EVENTS = {"launched": "+", "started again": "+", "removed": "-", "volumes attached": "~"}


def plan_lines(result: Mapping[str, Any], now: float, width: int) -> list[str]:  # noqa: ARG001  as all summaries
    """Return the summary of a result of ``fleet`` in check mode."""
    plan, name = result["plan"], result.get("image_name")
    wanted = f"run {name}" if name else "have no instances"
    if not plan["changed"]:
        return [f"{result['fleet']}: no changes. {counted(result['size'], 'slot')} {wanted}."]
    if "duration" not in plan:  # Auto Scaling chooses the times
        steps = [step["action"] for step in plan["steps"]]
        return [f"{result['fleet']}: plan to {wanted}", *_limited(f"  ~ {step}" for step in steps)]
    changes = _changes(result)
    lines = [f"{result['fleet']}: plan to {wanted}"]
    lines += _launched(changes["+"], name) + _moved(changes["~"], result) + _removed(changes["-"], result)
    lines.append(f"Plan: {_counts(changes)}. {_forecast(plan, result['size'])}")
    if plan["pauses"]:
        lines.append(f"! It would pause: {plan['pauses']}")
    if plan["stops"]:
        lines.append(f"! It would stop: {plan['stops']}")
    return [cut(line, width) if line.startswith("  ") else line for line in lines]


def _changes(result: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """Return the steps that are shown, by their sign."""
    found: dict[str, list[Mapping[str, Any]]] = {sign: [] for sign in "+~-"}
    for step in result["plan"]["steps"]:
        sign = _EVENTS.get(step["action"])
        if sign and step["slot"] is not None:
            found[sign].append(step)
    return found


def _launched(steps: Iterable[Mapping[str, Any]], name: str | None) -> list[str]:
    by_action: dict[str, list[int]] = {}
    for step in steps:
        by_action.setdefault(step["action"], []).append(step["slot"])
    verbs = {"launched": f"launch {name}", "started again": "start the stopped instance"}
    return [f"  + {verbs[action]}: {slots(where)}" for action, where in by_action.items()]


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


def _counts(changes: Mapping[str, Iterable[Mapping[str, Any]]]) -> str:
    launched, moved, removed = (len(list(changes[sign])) for sign in "+~-")
    volumes = f", volumes of {counted(moved, 'slot')} to attach" if moved else ""
    return f"{launched} to launch, {removed} to remove{volumes}"


def _forecast(plan: Mapping[str, Any], size: int) -> str:
    lowest, downtime = plan["lowest_in_service"], plan["downtime"]
    down = f"{duration(downtime)} without any" if downtime else "no downtime"
    return f"About {duration(plan['duration'])}, at least {lowest or 0} of {size} in service, {down}."
