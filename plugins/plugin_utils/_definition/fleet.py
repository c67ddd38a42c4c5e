# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A target's fleet: what it takes over from the service's own, which keys go with its strategy, and what they become. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from .._core.units import seconds_of
from .document import KeyPath, target_names, value_at
from .model import STRATEGIES, AutoScaling, FleetSpec, Metric, Stage, Window

SWAP: Final = "swap"  # engines
AUTOSCALING: Final = "autoscaling"
# What a fleet whose instances Auto Scaling replaces can say; everything else is said by its own keys, or by the group.
AUTOSCALING_KEYS = ("engine", "autoscaling", "alarm", "before_swap", "after_swap", "playbook_timeout")
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
# Keys that some strategy would ignore, and the strategies that go by them.
STRATEGIES_BY_KEY = {
    "keep_old": ("blue_green",),
    "hot": ("recreate",),
    "canary": ("canary",),
    "unavailable": ("rolling", "blue_green", "canary"),
}


def strategy_uses(key: str, strategy: str, *, data: bool) -> bool:
    """Whether the strategy goes by this key of a fleet. ``data``: slots own volumes, and so move one by one under every strategy."""
    return strategy in STRATEGIES_BY_KEY.get(key, STRATEGIES) or (key == "unavailable" and data)


def merged_fleet(document: Mapping[str, Any], target: str) -> dict[str, Any]:
    """The fleet of a target as it is written: the service's own keys, below the target's. Keys of another engine or strategy are left out.

    A wrong form is passed over, key by key.
    """
    found: dict[str, Any] = {}
    for place in (("fleet",), ("targets", target, "fleet")):
        part = value_at(document, place)
        found.update(part if isinstance(part, Mapping) else {})
    if found.get("engine", SWAP) == AUTOSCALING:
        return {key: value for key, value in found.items() if key in AUTOSCALING_KEYS}
    found.pop("autoscaling", None)
    strategy = found.get("strategy", "rolling")
    if strategy not in STRATEGIES:
        return found
    data = bool(value_at(document, ("data",)))
    return {key: value for key, value in found.items() if strategy_uses(key, strategy, data=data)}


def fleet_paths(document: Any) -> Iterator[KeyPath]:
    """The places of all mappings that say something of a fleet: the service's own, then each target's."""
    for place in (("fleet",), *(("targets", name, "fleet") for name in target_names(document))):
        if isinstance(value_at(document, place), Mapping):
            yield place


def metric_paths(document: Any, place: KeyPath) -> Iterator[KeyPath]:
    """The places of all metrics in the fleet at ``place``."""
    stages = value_at(document, (*place, "canary"))
    ways: list[KeyPath] = [
        ("alarm",),
        *(("canary", number, "metric") for number in range(len(stages) if isinstance(stages, list) else 0)),
    ]
    yield from ((*place, *way) for way in ways if isinstance(value_at(document, (*place, *way)), Mapping))


def fleet_files(document: Any) -> Iterator[tuple[KeyPath, str]]:
    """Every file in the definition's folder that a fleet names: playbooks, and programs that are called by a relative path."""
    for place in fleet_paths(document):
        stages = value_at(document, (*place, "canary"))
        checks: list[KeyPath] = [
            ("canary", number, "check") for number in range(len(stages) if isinstance(stages, list) else 0)
        ]
        for way in (("before_swap",), ("after_swap",), *checks):
            name = value_at(document, (*place, *way))
            if isinstance(name, str) and name:
                yield (*place, *way), name
        for metric in metric_paths(document, place):
            word = value_at(document, (*metric, "command", 0))
            if isinstance(word, str) and "/" in word and not word.startswith("/"):
                yield (*metric, "command", 0), word


def fleet_spec(data: Mapping[str, Any]) -> FleetSpec:
    """From the keys of a checked fleet."""
    times = dict.fromkeys(("stop_timeout", "keep_old", "deadline", "max_age", "playbook_timeout"), seconds_of)
    words = dict.fromkeys(("engine", "strategy", "protected", "standby", "before_swap", "after_swap"), str)
    values = converted(
        data,
        size=int,
        surge=_unchanged,
        unavailable=_unchanged,
        count_draining=bool,
        hot=bool,
        alarm=_metric,
        autoscaling=_autoscaling,
        **words,
        **times,
    )
    if "timeout" in data.get("drain", {}):
        values["drain_timeout"] = seconds_of(data["drain"]["timeout"])
    values["canary"] = tuple(Stage(**_stage(each)) for each in data.get("canary", ()))
    values["windows"] = tuple(_window(each) for each in data.get("windows", ()))
    return FleetSpec(**values)


def converted(data: Mapping[str, Any], **kinds: Any) -> dict[str, Any]:
    """What the definition gives, converted; the rest is left to the model's defaults."""
    return {key: kind(data[key]) for key, kind in kinds.items() if key in data}


def _autoscaling(data: Mapping[str, Any]) -> AutoScaling:
    times = dict.fromkeys(("warmup", "checkpoint_delay", "bake_time", "deadline"), seconds_of)
    lists = dict.fromkeys(("checkpoints", "alarms"), tuple)
    kinds = {
        "min_healthy": int,
        "max_healthy": int,
        "auto_rollback": bool,
        "skip_matching": bool,
        "protected": str,
        "standby": str,
    }
    return AutoScaling(**converted(data, group=str, **times, **lists, **kinds))


def _stage(data: Mapping[str, Any]) -> dict[str, Any]:
    return converted(data, instances=_unchanged, soak=seconds_of, metric=_metric, check=str, approval=bool)


def _metric(data: Mapping[str, Any]) -> Metric:
    return Metric(
        **converted(
            data, command=tuple, url=str, path=str, least=float, most=float, timeout=seconds_of, every=seconds_of
        )
    )


def _window(data: Mapping[str, Any]) -> Window:
    values = converted(data, timezone=str)
    if "days" in data:
        values["days"] = tuple(sorted(DAYS.index(day) for day in data["days"]))
    return Window(_minutes(data["from"]), _minutes(data["to"]), **values)


def _minutes(time: str) -> int:
    hours, minutes = time.split(":")
    return int(hours) * 60 + int(minutes)


def _unchanged(value: Any) -> Any:
    return value
