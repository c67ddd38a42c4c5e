# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Check that a fleet has only the keys of its engine, and values that Auto Scaling accepts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..._core.errors import ImmutableError
from ..._core.units import seconds_of
from ..document import Document, KeyPath, value_at
from ..fleet import AUTOSCALING, AUTOSCALING_KEYS, SWAP, possible_values

# Source of both limits: RefreshPreferences in the reference of the EC2 Auto Scaling API.
MAX_PAUSE = 172800.0  # seconds at a checkpoint, and after the last replacement
MAX_RANGE = 100  # percent between min_healthy and max_healthy
# Keys of a target that the group defines.
GROUP_KEYS = ("traffic", "zones")


def check_engine(document: Document, place: KeyPath) -> None:
    """Add a problem for every key of the fleet at ``place`` that its engine ignores.

    Keys that a target inherits are not problems, because ``merged_fleet`` removes them.
    """
    engines = possible_values(document.data, place, "engine", allowed=(SWAP, AUTOSCALING))
    on_target = f" on target {place[1]}" if len(place) > 1 else ""
    if engines == [AUTOSCALING]:
        for key, value in value_at(document.data, place).items():
            if key == "strategy" and value == "reimage":
                document.add_problem(
                    (*place, key),
                    f"the engine is autoscaling{on_target}, and Auto Scaling deletes a replaced root volume, so "
                    "a bad image could not go back; remove this key (allowed: reimage with engine: swap)",
                )
            elif key not in AUTOSCALING_KEYS:
                allowed = ", ".join(AUTOSCALING_KEYS[1:])
                problem = (
                    f"the engine is autoscaling{on_target}, which ignores this key; remove it (allowed: {allowed})"
                )
                document.add_problem((*place, key), problem)
    elif engines == [SWAP] and value_at(document.data, (*place, "autoscaling")) is not None:
        document.add_problem(
            (*place, "autoscaling"),
            f"the engine is swap{on_target}, which ignores this key; remove it or set engine: autoscaling",
        )


def check_autoscaling(document: Document, target: str, fleet: Mapping[str, Any]) -> None:
    """Add a problem for everything that keeps Auto Scaling from replacing the instances of ``target``.

    Args:
        fleet: the target's fleet, as returned by ``merged_fleet``.
    """
    if fleet.get("engine", SWAP) != AUTOSCALING:
        return
    place: KeyPath = ("targets", target)
    own: KeyPath = (*place, "fleet")
    engine: KeyPath = (*own, "engine") if value_at(document.data, (*own, "engine")) is not None else ("fleet", "engine")
    provider = value_at(document.data, (*place, "provider"))
    if isinstance(provider, str) and provider != "aws":
        document.add_problem(
            engine, f"target {target} uses the provider {provider}, but only aws has Auto Scaling (allowed: swap)"
        )
    elif value_at(document.data, ("data",)):
        document.add_problem(
            engine, f"the slots of target {target} own data volumes, which Auto Scaling does not move (allowed: swap)"
        )
    for key in GROUP_KEYS:
        if value_at(document.data, (*place, key)) is not None:
            problem = "with engine: autoscaling the group and its launch template define this; remove this key"
            document.add_problem((*place, key), problem)
    if fleet.get("autoscaling") is None:
        document.add_problem(
            (*engine[:-1], "autoscaling"),
            f"the key is missing on target {target}; engine: autoscaling requires it (allowed: a mapping with group)",
        )
        return
    overridden = value_at(document.data, (*own, "autoscaling")) is not None
    _check_group(document, (*own, "autoscaling") if overridden else ("fleet", "autoscaling"), fleet["autoscaling"])


def _check_group(document: Document, place: KeyPath, group: Any) -> None:
    least, most = value_at(group, ("min_healthy",)), value_at(group, ("max_healthy",))
    floor, ceiling = 100 if least is None else least, 110 if most is None else most
    if _is_integer(floor) and _is_integer(ceiling) and ceiling - floor > MAX_RANGE:
        key = "max_healthy" if least is None else "min_healthy"
        allowed = f"at most {MAX_RANGE} between min_healthy and max_healthy"
        document.add_problem(
            (*place, key), f"from {floor} to {ceiling} percent is too wide for Auto Scaling (allowed: {allowed})"
        )
    if _is_integer(floor) and floor == ceiling == 100:
        document.add_problem(
            (*place, "max_healthy"),
            "with min_healthy 100 no instance could ever be replaced (allowed: an integer from 101 to 200)",
        )
    checkpoints = value_at(group, ("checkpoints",))
    if checkpoints is None and value_at(group, ("checkpoint_delay",)) is not None:
        document.add_problem(
            (*place, "checkpoint_delay"), "there are no checkpoints to wait at; remove this key or set checkpoints"
        )
    valid = isinstance(checkpoints, list) and checkpoints and all(map(_is_integer, checkpoints))
    if valid and (sorted(set(checkpoints)) != checkpoints or checkpoints[-1] != 100):
        allowed = "a list of increasing integers, the last of which is 100"
        document.add_problem(
            (*place, "checkpoints"),
            f"{json.dumps(checkpoints)} would not replace all instances in increasing steps (allowed: {allowed})",
        )
    for key in ("checkpoint_delay", "bake_time"):
        value = value_at(group, (key,))
        if isinstance(value, str) and _seconds(value) > MAX_PAUSE:
            document.add_problem(
                (*place, key), f"{json.dumps(value)} is longer than Auto Scaling can wait (allowed: at most 2d)"
            )


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _seconds(value: str) -> float:
    try:
        return seconds_of(value)
    except ImmutableError:
        return 0.0  # the schema check reports it
