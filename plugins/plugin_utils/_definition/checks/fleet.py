# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Check that each target's fleet, with the keys that it inherits, can be swapped and has no key without effect."""

from __future__ import annotations

import json
import zoneinfo
from typing import Any

from ..._core.errors import ImmutableError
from ..._core.units import count_of
from ..document import Document, KeyPath, suggestion, target_names, value_at
from ..fleet import STRATEGIES_BY_KEY, fleet_paths, merged_fleet, metric_paths, possible_values, strategy_uses
from ..model import STRATEGIES
from .autoscaling import check_autoscaling, check_engine

MAX_ZONE_LENGTH = 64  # characters
REBOOTS = "a slot is out of service while its instance boots from the other image"
MOVES = "a volume cannot be in two places, so its slot is out of service while it moves"


def check_fleets(document: Document) -> None:
    """Add a problem for everything in a fleet that cannot be done or has no effect."""
    for place in fleet_paths(document.data):
        check_engine(document, place)
        _check_keys(document, place)
        for metric in metric_paths(document.data, place):
            _check_bounds(document, metric)
        windows = value_at(document.data, (*place, "windows"))
        for number in range(len(windows) if isinstance(windows, list) else 0):
            _check_window(document, (*place, "windows", number))
    for name in target_names(document.data):
        fleet = merged_fleet(document.data, name)
        check_autoscaling(document, name, fleet)
        strategy = fleet.get("strategy", "rolling")
        _check_strategy(document, name, fleet, strategy)
        if strategy != "recreate" or value_at(document.data, ("data",)):
            _check_unavailable(document, name, fleet)


def _origin(document: Document, target: str, key: str) -> KeyPath:
    """Return the path of a key of a target's fleet: in its own fleet, or else in the service's."""
    own: KeyPath = ("targets", target, "fleet")
    return ("fleet", key) if value_at(document.data, (*own, key)) is None else (*own, key)


def _size(fleet: dict[str, Any]) -> int | None:
    """Return the size of a fleet, or None if it is not an integer."""
    size = 1 if fleet.get("size") is None else fleet["size"]
    return size if isinstance(size, int) and not isinstance(size, bool) else None


def _count(value: Any, size: int, *, up: bool) -> int | None:
    try:
        return count_of(value, size, up=up)
    except ImmutableError:
        return None  # the schema check reports it


def _check_keys(document: Document, place: KeyPath) -> None:
    """Add a problem for every key of the fleet at ``place`` that its strategy ignores.

    Keys that a target inherits are not problems, because ``merged_fleet`` removes them.
    """
    data = bool(value_at(document.data, ("data",)))
    strategies = possible_values(document.data, place, "strategy", allowed=STRATEGIES)
    for key in STRATEGIES_BY_KEY:
        value = value_at(document.data, (*place, key))
        if value is None:
            continue
        if key == "keep_old" and data:
            reason = "slots own data volumes, which move from the old hosts to the new ones"
            document.add_problem((*place, key), f"an old fleet cannot be kept if {reason}; remove this key")
        elif strategies and not any(strategy_uses(key, strategy, data=data) for strategy in strategies):
            document.add_problem(
                (*place, key), _unused_key(key, strategies, f" on target {place[1]}" if len(place) > 1 else "")
            )


def _unused_key(key: str, strategies: list[str], on_target: str) -> str:
    if key == "unavailable":
        return f"recreate takes every instance out of service at once{on_target}; remove this key"
    user = STRATEGIES_BY_KEY[key][0]
    strategy = " or ".join(strategies)
    return f"the strategy is {strategy}{on_target}, but only {user} uses this key; remove it or set strategy: {user}"


def _check_strategy(document: Document, target: str, fleet: dict[str, Any], strategy: Any) -> None:
    place = _origin(document, target, "strategy")
    on_target = f" on target {target}"
    if strategy == "blue_green" and value_at(document.data, ("data",)):
        problem = "a whole fleet cannot switch at once if slots own data volumes, which move one at a time"
        document.add_problem(place, f"{problem}{on_target} (allowed: rolling, canary, recreate)")
    elif strategy == "reimage" and value_at(document.data, ("targets", target, "provider")) == "container":
        problem = "a container has no disk to replace, so reimage could only recreate it"
        document.add_problem(place, f"{problem}{on_target} (allowed: rolling, blue_green, canary, recreate)")
    elif strategy == "canary" and fleet.get("canary") is None:
        document.add_problem(
            (*place[:-1], "canary"),
            f"the key is missing{on_target}; strategy: canary requires it (allowed: a list of at least one stage)",
        )
    elif strategy == "canary":
        _check_stages(document, target, fleet)


def _check_stages(document: Document, target: str, fleet: dict[str, Any]) -> None:
    size = _size(fleet)
    stages = fleet["canary"] if isinstance(fleet["canary"], list) else []
    canary = _origin(document, target, "canary")
    before = 0
    for number in range(len(stages) if size else 0):
        place = (*canary, number, "instances")
        instances = value_at(document.data, place)
        count = _count(instances, size or 0, up=True)
        if count is None:
            return
        what = _describe_count(instances, count, size, f" on target {target}")
        if count > (size or 0):
            document.add_problem(
                place, f"{what} is more than the fleet's size (allowed: at most {size}, or a percentage)"
            )
        elif count <= before:
            document.add_problem(
                place,
                f"{what} is not more than the {before} of the previous stage (allowed: more instances in each stage)",
            )
        before = max(before, count)


def _describe_count(value: Any, count: int, size: int | None, on_target: str) -> str:
    return (
        f"{value} of {size}{on_target}"
        if isinstance(value, int)
        else f"{json.dumps(value)} of {size}{on_target}, which is {count},"
    )


def _check_unavailable(document: Document, target: str, fleet: dict[str, Any]) -> None:
    size, unavailable = _size(fleet), fleet.get("unavailable")
    count = None if size is None or unavailable is None else _count(unavailable, size, up=False)
    if size is None or count is None:
        return
    keys = _origin(document, target, "unavailable")
    what = _describe_count(
        unavailable,
        count,
        size,
        f" on target {target}" if value_at(document.data, ("targets", target, "fleet")) else "",
    )
    if fleet.get("strategy") == "reimage" and size > 0 and count == 0:
        document.add_problem(
            keys, f"{what} is not possible with reimage: {REBOOTS} (allowed: an integer from 1, or no value)"
        )
    elif value_at(document.data, ("data",)) and size > 0 and count == 0:
        document.add_problem(
            keys,
            f"{what} is not possible if slots own data volumes: {MOVES} (allowed: an integer from 1, or no value)",
        )
    elif size > 1 and count >= size:
        document.add_problem(
            keys, f"{what} would let a swap take every instance out of service (allowed: at most {size - 1})"
        )


def _check_bounds(document: Document, place: KeyPath) -> None:
    least, most = value_at(document.data, (*place, "least")), value_at(document.data, (*place, "most"))
    numbers = all(isinstance(bound, (int, float)) and not isinstance(bound, bool) for bound in (least, most))
    if numbers and least > most:
        document.add_problem((*place, "least"), f"{least} is greater than most, {most} (allowed: at most {most})")


def _check_window(document: Document, place: KeyPath) -> None:
    start, end = value_at(document.data, (*place, "from")), value_at(document.data, (*place, "to"))
    if isinstance(start, str) and start == end:
        document.add_problem(
            (*place, "to"), f"{json.dumps(end)} is also the start of the window (allowed: a time other than from)"
        )
    zone = value_at(document.data, (*place, "timezone"))
    if not isinstance(zone, str) or zone == "UTC" or len(zone) > MAX_ZONE_LENGTH:  # the schema check reports it
        return
    try:
        zoneinfo.ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        known = zoneinfo.available_timezones()
        allowed = (
            "a name such as Europe/Berlin, or UTC" if known else "UTC; for others install tzdata on the controller"
        )
        document.add_problem(
            (*place, "timezone"),
            f"the time zone {json.dumps(zone)} is unknown on the controller ({suggestion(zone, known)}allowed: "
            f"{allowed})",
        )
