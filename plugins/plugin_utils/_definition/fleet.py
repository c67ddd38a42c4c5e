# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The fleet of a target: what it inherits from the service, which keys its strategy uses, and its model. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from .._core.units import seconds_of
from .document import KeyPath, target_names, value_at
from .model import STRATEGIES, AutoScaling, FleetSpec, Metric, Stage, Window

SWAP: Final = "swap"  # engines
AUTOSCALING: Final = "autoscaling"
# Keys that the engine autoscaling uses. The group, or a key in ``autoscaling``, defines everything else.
AUTOSCALING_KEYS = ("engine", "autoscaling", "alarm", "before_swap", "after_swap", "playbook_timeout")
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
# Keys that not every strategy uses, with the strategies that use them.
STRATEGIES_BY_KEY = {
    "keep_old": ("blue_green",),
    "hot": ("recreate",),
    "canary": ("canary",),
    "unavailable": ("rolling", "blue_green", "canary", "reimage"),
}


def strategy_uses(key: str, strategy: str, *, data: bool) -> bool:
    """Whether the strategy uses this key of a fleet.

    Args:
        data: whether slots own data volumes. Such slots are replaced one at a time with every strategy.
    """
    return strategy in STRATEGIES_BY_KEY.get(key, STRATEGIES) or (key == "unavailable" and data)


def merged_fleet(document: Mapping[str, Any], target: str) -> dict[str, Any]:
    """Return the fleet of a target as written: the service's keys, overridden by the target's.

    Keys that the target's engine or strategy does not use are removed. A fleet that is not a mapping is ignored.
    """
    found: dict[str, Any] = {}
    for path in (("fleet",), ("targets", target, "fleet")):
        part = value_at(document, path)
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
    """Yield the paths of all fleets that are mappings: the service's, then each target's."""
    for path in (("fleet",), *(("targets", name, "fleet") for name in target_names(document))):
        if isinstance(value_at(document, path), Mapping):
            yield path


def metric_paths(document: Any, fleet: KeyPath) -> Iterator[KeyPath]:
    """Yield the paths of all metrics in the fleet at the path ``fleet``."""
    metrics = [(*fleet, "alarm"), *((*stage, "metric") for stage in _stage_paths(document, fleet))]
    yield from (path for path in metrics if isinstance(value_at(document, path), Mapping))


def fleet_files(document: Any) -> Iterator[tuple[KeyPath, str]]:
    """Yield the path and name of every file in the definition's folder that a fleet names.

    These are playbooks, and programs that are called by a relative path.
    """
    for fleet in fleet_paths(document):
        checks = [(*stage, "check") for stage in _stage_paths(document, fleet)]
        for path in ((*fleet, "before_swap"), (*fleet, "after_swap"), *checks):
            name = value_at(document, path)
            if isinstance(name, str) and name:
                yield path, name
        for metric in metric_paths(document, fleet):
            program = value_at(document, (*metric, "command", 0))
            if isinstance(program, str) and "/" in program and not program.startswith("/"):
                yield (*metric, "command", 0), program


def _stage_paths(document: Any, fleet: KeyPath) -> list[KeyPath]:
    stages = value_at(document, (*fleet, "canary"))
    return [(*fleet, "canary", number) for number in range(len(stages) if isinstance(stages, list) else 0)]


def possible_values(document: Any, fleet: KeyPath, key: str, *, allowed: Sequence[str]) -> list[str]:
    """Return the values that ``key`` has with the fleet at the path ``fleet``, without duplicates.

    This is the fleet's own value, or else that of each target that inherits the fleet. The first of ``allowed`` is the
    default. Values that are not allowed are left out.
    """
    own = value_at(document, (*fleet, key))
    names = [str(fleet[1])] if len(fleet) > 1 else target_names(document)
    values = [own] if own is not None else [merged_fleet(document, name).get(key, allowed[0]) for name in names]
    return list(dict.fromkeys(value for value in values if value in allowed))


def fleet_spec(data: Mapping[str, Any], read_ca: Callable[[str], str]) -> FleetSpec:
    """Return the model of a checked fleet. ``read_ca`` returns the PEM text that a key ``ca`` names."""

    def metric(data: Mapping[str, Any]) -> Metric:
        return _metric(data, read_ca)

    times = dict.fromkeys(("stop_timeout", "keep_old", "deadline", "max_age", "playbook_timeout"), seconds_of)
    strings = dict.fromkeys(("engine", "strategy", "protected", "standby", "before_swap", "after_swap"), str)
    values = converted(
        data,
        size=int,
        surge=_unchanged,
        unavailable=_unchanged,
        count_draining=bool,
        hot=bool,
        alarm=metric,
        autoscaling=_autoscaling,
        **strings,
        **times,
    )
    if "timeout" in data.get("drain", {}):
        values.update(drain_timeout=seconds_of(data["drain"]["timeout"]), drain_set=True)
    values["canary"] = tuple(Stage(**_stage(stage, metric)) for stage in data.get("canary", ()))
    values["windows"] = tuple(_window(window) for window in data.get("windows", ()))
    return FleetSpec(**values)


def converted(data: Mapping[str, Any], **converters: Callable[[Any], Any]) -> dict[str, Any]:
    """Return the values of the keys that ``data`` has, each converted by its converter.

    Keys that are missing keep the defaults of the model.
    """
    return {key: converter(data[key]) for key, converter in converters.items() if key in data}


def _autoscaling(data: Mapping[str, Any]) -> AutoScaling:
    times = dict.fromkeys(("warmup", "checkpoint_delay", "bake_time", "deadline"), seconds_of)
    lists = dict.fromkeys(("checkpoints", "alarms"), tuple)
    integers = dict.fromkeys(("min_healthy", "max_healthy"), int)
    booleans = dict.fromkeys(("auto_rollback", "skip_matching", "drop_user_data"), bool)
    strings = dict.fromkeys(("group", "protected", "standby"), str)
    return AutoScaling(**converted(data, **strings, **times, **lists, **integers, **booleans))


def _stage(data: Mapping[str, Any], metric: Callable[[Any], Metric]) -> dict[str, Any]:
    return converted(data, instances=_unchanged, soak=seconds_of, metric=metric, check=str, approval=bool)


def _metric(data: Mapping[str, Any], read_ca: Callable[[str], str]) -> Metric:
    texts, bounds, times = ("url", "path"), ("least", "most"), ("timeout", "every")
    return Metric(
        **converted(
            data,
            command=tuple,
            headers=pairs_of,
            ca=read_ca,
            **dict.fromkeys(texts, str),
            **dict.fromkeys(bounds, float),
            **dict.fromkeys(times, seconds_of),
        )
    )


def _window(data: Mapping[str, Any]) -> Window:
    values = converted(data, timezone=str)
    if "days" in data:
        values["days"] = tuple(sorted(DAYS.index(day) for day in data["days"]))
    return Window(start=_minutes(data["from"]), end=_minutes(data["to"]), **values)


def _minutes(time: str) -> int:
    """Return the minutes since midnight of a time such as ``22:30``."""
    hours, minutes = time.split(":")
    return int(hours) * 60 + int(minutes)


def pairs_of(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(headers.items())


def _unchanged(value: Any) -> Any:
    return value
