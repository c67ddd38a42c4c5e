# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The summary of a fleet: what runs in each slot, what is outdated and why, and what a swap did. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from .failure import STAY
from .plan import unreleased_lines
from .text import ROWS, age, counted, duration, slots, table

Outdated = Literal["", "another image", "launched with other settings"]
OTHER_IMAGE: Final = "another image"
OTHER_SETTINGS: Final = "launched with other settings"
_HEADINGS = ("slot", "image", "zone", "age", "sealed", "serving", "note")
_STATES = {"running": "", "pending": "not sealed yet"}  # what the note says of a state; others are named


def status_lines(result: Mapping[str, Any], now: float, width: int) -> list[str]:
    """Return the summary of a result of ``fleet_info``. ``now``: seconds since the epoch."""
    instances, size, fleet = result["instances"], result["size"], result["fleet"]
    lines = [f"{fleet}: {_in_service(instances, size)}; {_wanted(result)}"]
    lines += instance_table(instances, result.get("image"), now, width)
    lines += _answers(result)
    lines += [f"! {problem}" for problem in _problems(result)]
    return lines + unreleased_lines(result)


def instance_table(instances: Sequence[Mapping[str, Any]], wanted: str | None, now: float, width: int) -> list[str]:
    """Return a table of the instances that fits on a screen. Those with a note come before those without.

    Args:
        wanted: digest of the image that they should run, or None.
        now: seconds since the epoch, or 0 if the instances are simulated.
    """
    notes = [instance_note(each, wanted) for each in instances]
    ordered = sorted(range(len(instances)), key=lambda number: not notes[number])
    shown = sorted(ordered[:ROWS])
    rows: list[tuple[str, ...]] = [_HEADINGS]
    for number in shown:
        each = instances[number]
        rows.append(
            (
                str(each["slot"]),
                each["image_name"] or "unknown",
                each.get("zone") or "",
                age(each.get("created"), now) if now else "",
                {True: "yes", False: "no"}.get(each["sealed"], "unknown"),
                "yes" if each["serving"] else "no",
                notes[number],
            )
        )
    lines = table(rows, width) if instances else []
    rest = [notes[number] for number in ordered[ROWS:]]
    if rest:
        noted = sum(bool(note) for note in rest)
        lines.append(f"  and {len(rest)} more, {f'{noted} of them with notes' if noted else 'without notes'}")
    return lines


def _answers(result: Mapping[str, Any]) -> list[str]:
    serves = any(each["serving"] for each in result["instances"])
    return [f"The service answers at {result['endpoint']}"] if result.get("endpoint") and serves else []


def outdated_why(instance: Mapping[str, Any], wanted: str | None) -> Outdated:
    """Say why an instance is outdated, "" if it is not. ``wanted``: digest of the image that it should run, or None."""
    if not instance["outdated"]:
        return ""
    return OTHER_SETTINGS if wanted and instance["image"] == wanted else OTHER_IMAGE


def instance_note(instance: Mapping[str, Any], wanted: str | None) -> str:
    """Say what is unusual about an instance, "" if nothing is. ``wanted``: see ``outdated_why``."""
    state, why = instance["state"], outdated_why(instance, wanted)
    outdated = f"outdated: {why}" if why else ""
    marks = (f"{mark}: {instance[mark]}" for mark in ("tainted", "protected", "standby") if instance.get(mark))
    return "; ".join(filter(None, (_STATES.get(state, state), outdated, *marks, instance["problem"])))


def _in_service(instances: Sequence[Mapping[str, Any]], size: int) -> str:
    if not instances:
        return f"no instances, {size} wanted" if size else "no instances"
    return f"{sum(bool(each['serving']) for each in instances)} of {size} in service"


def _wanted(result: Mapping[str, Any]) -> str:
    """Say how the instances compare with the image that they should run."""
    if not result.get("image"):
        return "the channel has no image"
    outdated = [each["slot"] for each in result["instances"] if each["outdated"]]
    name = result["image_name"]
    if not result["instances"]:
        return f"the channel has {name}"
    return f"{slots(outdated)} outdated, the channel has {name}" if outdated else f"all run {name}"


def _problems(result: Mapping[str, Any]) -> list[str]:
    """Say what needs attention, with what to do about it."""
    found = []
    swap = result.get("swap") or {}
    if not result.get("image") and not result["instances"]:
        found.append("Nothing was released yet. The playbook release bakes, tests and launches the service.")
    if swap.get("status") == "open":
        asks = f" It asks for approval of {swap['asks']}." if swap.get("asks") else ""
        found.append(f"A swap to {swap['image_name']} is not finished.{asks} Swap again to continue it.")
    elif swap.get("status") == "failed":
        found.append(f"The last swap, to {swap['image_name']}, was stopped: {swap['reason']}")
    outdated = sorted({each["image_name"] or "" for each in result["instances"] if each["outdated"]})
    if outdated and swap.get("status") == "failed" and swap["image_name"] == result.get("image_name"):
        stay = f" To stay, promote {outdated[0]} again: {STAY}." if len(outdated) == 1 and outdated[0] else ""
        found.append(f"The next swap tries it again. To go forward, release a new version.{stay}")
    elif outdated:
        found.append("Outdated instances: the next swap replaces them.")
    tainted = [each["slot"] for each in result["instances"] if each.get("tainted")]
    if tainted:
        found.append(f"Tainted, {slots(tainted)}: the next swap replaces the instances.")
    orphans = len(result.get("orphans") or ())
    if orphans:
        found.append(f"{counted(orphans, 'orphan')}: the playbook sweep lists them.")
    return found


def swap_lines(result: Mapping[str, Any], now: float, width: int) -> list[str]:
    """Return the summary of a result of ``fleet``, but not of check mode. ``now``: seconds since the epoch."""
    simulated = result.get("simulated")
    lines = [f"{result['fleet']}: {_outcome(result)}"]
    lines += instance_table(result["instances"], result.get("image"), 0 if simulated else now, width)
    lines += [] if simulated else _answers(result)
    if result.get("left_alone"):
        lines.append(f"! {slots(result['left_alone'])}: left unchanged, because protected or in standby")
    if simulated and simulated["stops"]:
        first, *rest = simulated["stops"].splitlines()
        lines += [f"! {first}", *rest]
    if result.get("paused"):
        lines.append(f"! Paused: {result['paused']}")
        lines.append(f"! {_continue(result)}")
    return lines + unreleased_lines(result)


def _continue(result: Mapping[str, Any]) -> str:
    if result.get("approval"):
        return "To approve and continue, swap with approve (of the playbook: -e immutable_approve=true)."
    return "Swap again to continue."


def _outcome(result: Mapping[str, Any]) -> str:
    instances, name = result["instances"], result.get("image_name")
    if not result.get("image"):
        return "removed" if result["changed"] else "not there, nothing to remove"
    service = _in_service(instances, result["size"])
    if result.get("simulated"):
        took, calls = duration(result["simulated"]["duration"]), result["simulated"]["calls"]
        ends = "would stop after" if result["simulated"]["stops"] else "takes"
        return f"the rehearsed swap to {name} {ends} {took}, {calls} calls; {service}{_availability(result)}"
    if result.get("paused"):
        return f"the swap to {name} is not finished; {service}"
    if not result["changed"]:
        return f"nothing to do; {service}, all run {name}"
    if result.get("origin_image_name") is None and not result.get("lowest_in_service"):
        return f"launched with {name}{_took(result)}; {service}"
    return f"swapped to {name}{_took(result)}; {service}{_availability(result)}"


def _took(result: Mapping[str, Any]) -> str:
    timeline = result.get("timeline") or ()
    return f" in {duration(timeline[-1]['seconds'])}" if timeline else ""


def _availability(result: Mapping[str, Any]) -> str:
    lowest, downtime = result.get("lowest_in_service"), result.get("downtime")
    texts = [] if lowest is None else [f"never fewer than {lowest}"]
    if downtime is not None:
        texts.append(f"down for {duration(downtime)}" if downtime else "no downtime")
    return "".join(f", {text}" for text in texts)
