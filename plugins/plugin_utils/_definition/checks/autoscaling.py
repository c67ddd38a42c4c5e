# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which keys go with a fleet's engine, and what Auto Scaling must be able to do with what it is told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..._core.errors import ImmutableError
from ..._core.units import seconds_of
from ..document import Document, KeyPath, target_names, value_at
from ..fleet import AUTOSCALING, AUTOSCALING_KEYS, SWAP, merged_fleet

MAX_PAUSE = 172800.0  # seconds: what Auto Scaling can wait at a checkpoint, or after the last replacement
MAX_RANGE = 100  # percent between the floor and the ceiling of a refresh
# What instances get by us. Where Auto Scaling launches them, the group and its launch template say it.
LAUNCH_KEYS = ("settings", "secrets", "traffic", "zones")
TEMPLATE = "the group and its launch template say this on a target whose engine is autoscaling"


def check_engine(document: Document, place: KeyPath) -> None:
    """No key stands in the fleet at ``place`` that its engine ignores. What a target takes over without naming it is another matter."""
    engines = _engines(document, place)
    where = f" on target {place[1]}" if len(place) > 1 else ""
    if engines == [AUTOSCALING]:
        for key in value_at(document.data, place):
            if key not in AUTOSCALING_KEYS:
                right = ", ".join(AUTOSCALING_KEYS[1:])
                document.add_problem(
                    (*place, key),
                    f"the engine is autoscaling{where}, which does not go by this (allowed: leave it out; it goes by {right})",
                )
    elif engines == [SWAP] and value_at(document.data, (*place, "autoscaling")) is not None:
        document.add_problem(
            (*place, "autoscaling"),
            f"the engine is swap{where}, which does not go by this (allowed: leave it out, or engine: autoscaling)",
        )


def _engines(document: Document, place: KeyPath) -> list[str]:
    """Those that the fleet at ``place`` is for: its own, else that of each target that takes it over. Unknown ones are left out."""
    own = value_at(document.data, (*place, "engine"))
    names = [str(place[1])] if len(place) > 1 else target_names(document.data)
    found = [own] if own is not None else [merged_fleet(document.data, name).get("engine", SWAP) for name in names]
    return list(dict.fromkeys(each for each in found if each in (SWAP, AUTOSCALING)))


def check_autoscaling(document: Document, target: str, fleet: Mapping[str, Any]) -> None:
    """``fleet``: the target's, as merged."""
    if fleet.get("engine", SWAP) != AUTOSCALING:
        return
    place: KeyPath = ("targets", target)
    own: KeyPath = (*place, "fleet")
    engine: KeyPath = (*own, "engine") if value_at(document.data, (*own, "engine")) is not None else ("fleet", "engine")
    provider = value_at(document.data, (*place, "provider"))
    if isinstance(provider, str) and provider != "aws":
        document.add_problem(
            engine, f"the provider of target {target} is {provider}, and only aws has Auto Scaling (allowed: swap)"
        )
    elif value_at(document.data, ("data",)):
        document.add_problem(
            engine, f"slots own data volumes, which Auto Scaling does not move, on target {target} (allowed: swap)"
        )
    for key in LAUNCH_KEYS:
        if value_at(document.data, (*place, key)) is not None:
            document.add_problem((*place, key), f"{TEMPLATE} (allowed: leave it out)")
    if fleet.get("autoscaling") is None:
        document.add_problem(
            (*engine[:-1], "autoscaling"),
            f"the key is missing on target {target}, engine: autoscaling needs it (allowed: a mapping with group)",
        )
        return
    there = value_at(document.data, (*own, "autoscaling")) is not None
    _check_group(document, (*own, "autoscaling") if there else ("fleet", "autoscaling"), fleet["autoscaling"])


def _check_group(document: Document, place: KeyPath, group: Any) -> None:
    least, most = value_at(group, ("min_healthy",)), value_at(group, ("max_healthy",))
    floor, ceiling = 100 if least is None else least, 110 if most is None else most
    if _is_integer(floor) and _is_integer(ceiling) and ceiling - floor > MAX_RANGE:
        key = "max_healthy" if least is None else "min_healthy"
        allowed = f"{MAX_RANGE} between min_healthy and max_healthy"
        document.add_problem(
            (*place, key), f"from {floor} to {ceiling} percent is too wide for Auto Scaling (allowed: {allowed})"
        )
    if _is_integer(floor) and floor == ceiling == 100:
        document.add_problem(
            (*place, "max_healthy"),
            "at min_healthy 100 nothing could ever be replaced (allowed: an integer from 101 to 200)",
        )
    checkpoints = value_at(group, ("checkpoints",))
    if checkpoints is None and value_at(group, ("checkpoint_delay",)) is not None:
        document.add_problem(
            (*place, "checkpoint_delay"), "there is no checkpoint to wait at (allowed: leave it out, or checkpoints)"
        )
    whole = isinstance(checkpoints, list) and checkpoints and all(map(_is_integer, checkpoints))
    if whole and (sorted(set(checkpoints)) != checkpoints or checkpoints[-1] != 100):
        right = "a list of rising integers, the last of which is 100"
        document.add_problem(
            (*place, "checkpoints"),
            f"{json.dumps(checkpoints)} would not end with all instances replaced (allowed: {right})",
        )
    for key in ("checkpoint_delay", "bake_time"):
        value = value_at(group, (key,))
        if isinstance(value, str) and _seconds(value) > MAX_PAUSE:
            document.add_problem(
                (*place, key), f"{json.dumps(value)} is longer than Auto Scaling can wait (allowed: up to 2d)"
            )


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _seconds(value: str) -> float:
    try:
        return seconds_of(value)
    except ImmutableError:
        return 0.0  # the schema has told
