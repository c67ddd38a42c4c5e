# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a fleet says must be possible, and nothing of it be said in vain: checked for each target with what it overrides."""

from __future__ import annotations

import json
import zoneinfo
from typing import Any

from ..._core.errors import ImmutableError
from ..._core.units import count_of
from ..document import Document, KeyPath, suggestion, target_names, value_at
from ..fleet import STRATEGIES_BY_KEY, fleet_paths, merged_fleet, metric_paths, strategy_uses
from ..model import STRATEGIES
from .autoscaling import check_autoscaling, check_engine

MAX_ZONE_LENGTH = 64  # characters
MOVES = "a volume can't be in two places, so its slot is out of service while it moves"


def check_fleets(document: Document) -> None:
    """Add a problem for every fleet that cannot be swapped as it says."""
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


def _origin(document: Document, target: str, *keys: str | int) -> KeyPath:
    """Where a target has this from: its own fleet or the service's."""
    own: KeyPath = ("targets", target, "fleet")
    return ("fleet", *keys) if value_at(document.data, (*own, keys[0])) is None else (*own, *keys)


def _size(fleet: dict[str, Any]) -> int | None:
    """None where it is no number."""
    size = 1 if fleet.get("size") is None else fleet["size"]
    return size if isinstance(size, int) and not isinstance(size, bool) else None


def _count(value: Any, size: int, *, up: bool) -> int | None:
    try:
        return count_of(value, size, up=up)
    except ImmutableError:
        return None  # the schema has told


def _check_keys(document: Document, place: KeyPath) -> None:
    """No key stands beside a strategy that ignores it. What a target takes over without naming it is another matter."""
    data = bool(value_at(document.data, ("data",)))
    strategies = _strategies(document, place)
    for key in STRATEGIES_BY_KEY:
        value = value_at(document.data, (*place, key))
        if value is None:
            continue
        if key == "keep_old" and data:
            why = "cannot be kept where slots own data volumes, which move from the old host to the new one"
            document.add_problem((*place, key), f"an old fleet {why} (allowed: leave it out)")
        elif strategies and not any(strategy_uses(key, each, data=data) for each in strategies):
            document.add_problem(
                (*place, key), _unused_key(key, strategies, f" on target {place[1]}" if len(place) > 1 else "")
            )


def _strategies(document: Document, place: KeyPath) -> list[str]:
    """Those that the fleet at ``place`` is for: its own, else that of each target that takes it over. Unknown ones are left out."""
    own = value_at(document.data, (*place, "strategy"))
    names = [str(place[1])] if len(place) > 1 else target_names(document.data)
    found = (
        [own] if own is not None else [merged_fleet(document.data, name).get("strategy", "rolling") for name in names]
    )
    return list(dict.fromkeys(each for each in found if each in STRATEGIES))


def _unused_key(key: str, strategies: list[str], where: str) -> str:
    if key == "unavailable":
        return f"recreate takes every instance out of service at once{where} (allowed: leave it out)"
    right = STRATEGIES_BY_KEY[key][0]
    return f"the strategy is {' or '.join(strategies)}{where}, and only {right} goes by this (allowed: leave it out, or strategy: {right})"


def _check_strategy(document: Document, target: str, fleet: dict[str, Any], strategy: Any) -> None:
    place = _origin(document, target, "strategy")
    where = f" on target {target}"
    if strategy == "blue_green" and value_at(document.data, ("data",)):
        why = "a whole fleet cannot be flipped where slots own data volumes, which move one by one"
        document.add_problem(place, f"{why}{where} (allowed: rolling, canary, recreate)")
    elif strategy == "canary" and fleet.get("canary") is None:
        document.add_problem(
            (*place[:-1], "canary"),
            f"the key is missing{where}, strategy: canary needs it (allowed: a list of at least one stage)",
        )
    elif strategy == "canary":
        _check_stages(document, target, fleet)


def _check_stages(document: Document, target: str, fleet: dict[str, Any]) -> None:
    size = _size(fleet)
    stages = fleet["canary"] if isinstance(fleet["canary"], list) else []
    before = 0
    for number in range(len(stages) if size else 0):
        place = _origin(document, target, "canary", number, "instances")
        instances = value_at(document.data, place)
        count = _count(instances, size or 0, up=True)
        if count is None:
            return
        what = _describe_count(instances, count, size, f" on target {target}")
        if count > (size or 0):
            document.add_problem(place, f"{what} is more than there are (allowed: at most {size}, or a percentage)")
        elif count <= before:
            document.add_problem(
                place, f"{what} is not more than the {before} of the stage before (allowed: stages that grow)"
            )
        before = max(before, count)


def _describe_count(value: Any, count: int, size: int | None, where: str) -> str:
    return (
        f"{value} of {size}{where}"
        if isinstance(value, int)
        else f"{json.dumps(value)} of {size}{where}, which is {count},"
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
    if value_at(document.data, ("data",)) and size > 0 and count == 0:
        document.add_problem(
            keys,
            f"{what} cannot be kept where slots own data volumes: {MOVES} (allowed: an integer from 1, or leave it out)",
        )
    elif size > 1 and count >= size:
        document.add_problem(
            keys, f"{what} would let a swap take every instance out of service (allowed: at most {size - 1})"
        )


def _check_bounds(document: Document, place: KeyPath) -> None:
    least, most = value_at(document.data, (*place, "least")), value_at(document.data, (*place, "most"))
    numbers = all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in (least, most))
    if numbers and least > most:
        document.add_problem((*place, "least"), f"{least} is greater than most, {most} (allowed: at most {most})")


def _check_window(document: Document, place: KeyPath) -> None:
    start, end = value_at(document.data, (*place, "from")), value_at(document.data, (*place, "to"))
    if isinstance(start, str) and start == end:
        document.add_problem(
            (*place, "to"), f"{json.dumps(end)} is where the window begins (allowed: another time than from)"
        )
    zone = value_at(document.data, (*place, "timezone"))
    if not isinstance(zone, str) or zone == "UTC" or len(zone) > MAX_ZONE_LENGTH:  # the schema has told
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
            f"the time zone {json.dumps(zone)} is unknown here ({suggestion(zone, known)}allowed: {allowed})",
        )
