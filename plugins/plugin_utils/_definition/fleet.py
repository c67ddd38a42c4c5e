# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A target's fleet: what it takes over from the service's own, which keys go with its strategy, and what they become. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .._core.units import seconds_of
from .document import Path, targets_of, value_at
from .model import AutoScaling, FleetSpec, Metric, Stage, Window

STRATEGIES = ("rolling", "blue_green", "canary", "recreate")
SWAP, AUTOSCALING = "swap", "autoscaling"  # engines
# What a fleet whose instances Auto Scaling replaces can say; everything else is said by its own keys, or by the group.
HANDED = ("engine", "autoscaling", "alarm", "before_swap", "after_swap", "playbook_timeout")
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
# Keys that some strategy would ignore, and the strategies that go by them.
GOES_WITH = {
    "keep_old": ("blue_green",),
    "hot": ("recreate",),
    "canary": ("canary",),
    "unavailable": ("rolling", "blue_green", "canary"),
}


def goes_with(key: str, strategy: str, *, data: bool) -> bool:
    """Whether the strategy goes by this key of a fleet. ``data``: slots own volumes, and so move one by one under every strategy."""
    return strategy in GOES_WITH.get(key, STRATEGIES) or (key == "unavailable" and data)


def merged(document: Mapping[str, Any], target: str) -> dict[str, Any]:
    """The fleet of a target as it is written: the service's own keys, below the target's. Keys of another engine or strategy are left out.

    A wrong form is passed over, key by key.
    """
    found: dict[str, Any] = {}
    for place in (("fleet",), ("targets", target, "fleet")):
        part = value_at(document, place)
        found.update(part if isinstance(part, Mapping) else {})
    if found.get("engine", SWAP) == AUTOSCALING:
        return {key: value for key, value in found.items() if key in HANDED}
    found.pop("autoscaling", None)
    strategy = found.get("strategy", "rolling")
    if strategy not in STRATEGIES:
        return found
    data = bool(value_at(document, ("data",)))
    return {key: value for key, value in found.items() if goes_with(key, strategy, data=data)}


def fleets_of(document: Any) -> Iterator[Path]:
    """The places of all mappings that say something of a fleet: the service's own, then each target's."""
    for place in (("fleet",), *(("targets", name, "fleet") for name in targets_of(document))):
        if isinstance(value_at(document, place), Mapping):
            yield place


def metrics_of(document: Any, place: Path) -> Iterator[Path]:
    """The places of all metrics in the fleet at ``place``."""
    stages = value_at(document, (*place, "canary"))
    ways: list[Path] = [
        ("alarm",),
        *(("canary", number, "metric") for number in range(len(stages) if isinstance(stages, list) else 0)),
    ]
    yield from ((*place, *way) for way in ways if isinstance(value_at(document, (*place, *way)), Mapping))


def files_of(document: Any) -> Iterator[tuple[Path, str]]:
    """Every file in the definition's folder that a fleet names: playbooks, and programs that are called by a relative path."""
    for place in fleets_of(document):
        stages = value_at(document, (*place, "canary"))
        checks: list[Path] = [
            ("canary", number, "check") for number in range(len(stages) if isinstance(stages, list) else 0)
        ]
        for way in (("before_swap",), ("after_swap",), *checks):
            name = value_at(document, (*place, *way))
            if isinstance(name, str) and name:
                yield (*place, *way), name
        for metric in metrics_of(document, place):
            word = value_at(document, (*metric, "command", 0))
            if isinstance(word, str) and "/" in word and not word.startswith("/"):
                yield (*metric, "command", 0), word


def fleet_of(data: Mapping[str, Any]) -> FleetSpec:
    """From the keys of a checked fleet."""
    times = dict.fromkeys(("stop_timeout", "keep_old", "deadline", "max_age", "playbook_timeout"), seconds_of)
    words = dict.fromkeys(("engine", "strategy", "protected", "standby", "before_swap", "after_swap"), str)
    values = given(
        data,
        size=int,
        surge=_as_is,
        unavailable=_as_is,
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


def given(data: Mapping[str, Any], **kinds: Any) -> dict[str, Any]:
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
    return AutoScaling(**given(data, group=str, **times, **lists, **kinds))


def _stage(data: Mapping[str, Any]) -> dict[str, Any]:
    return given(data, instances=_as_is, soak=seconds_of, metric=_metric, check=str, approval=bool)


def _metric(data: Mapping[str, Any]) -> Metric:
    return Metric(
        **given(data, command=tuple, url=str, path=str, least=float, most=float, timeout=seconds_of, every=seconds_of)
    )


def _window(data: Mapping[str, Any]) -> Window:
    values = given(data, timezone=str)
    if "days" in data:
        values["days"] = tuple(sorted(DAYS.index(day) for day in data["days"]))
    return Window(_minutes(data["from"]), _minutes(data["to"]), **values)


def _minutes(time: str) -> int:
    hours, minutes = time.split(":")
    return int(hours) * 60 + int(minutes)


def _as_is(value: Any) -> Any:
    return value
