# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A world that fares as a target's ``simulation`` says, by chance, and by the same chance each time.

What a machine draws hangs on the seed and its token alone, so the order of launches does not matter.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from ..._core.errors import ProviderError
from ..._definition.model import Simulation
from ..contract import LaunchRequest
from .world import Behaviour, Latencies, World

GRAIN = 1.0  # seconds: where latencies differ, events are as many as machines, and no engine looks at each


def world_of(simulation: Simulation) -> World:
    world = World()
    simulate(world, simulation)
    return world


def simulate(world: World, simulation: Simulation) -> None:
    """Let what is launched in this world, and each call from now on, fare as ``simulation`` says."""

    def fate(request: LaunchRequest) -> tuple[Latencies, Behaviour | None]:
        chance = Random(f"{simulation.seed}:{request.token}")  # noqa: S311  no secret
        spread = {
            name: value * chance.uniform(1 - simulation.spread, 1 + simulation.spread)
            for name, value in _means(simulation).items()
        }
        never_boots, never_well = chance.random() < simulation.fail_boot, chance.random() < simulation.fail_health
        image = world.behaviours.get(request.image, Behaviour())
        failed = replace(
            image, boots=image.boots and not never_boots, gets_healthy=image.gets_healthy and not never_well
        )
        return Latencies(**spread), failed if never_boots or never_well else None

    def before(call: str) -> None:
        chance = Random(f"{simulation.seed}:call:{len(world.calls)}")  # noqa: S311  no secret
        if chance.random() < simulation.fail_call:
            raise ProviderError(f"{call}: the simulated cloud is not available just now (call {len(world.calls)})")

    world.latencies = Latencies(**_means(simulation))
    world.clock.grain = GRAIN if simulation.spread else 0.0
    world.fate, world.before = fate, before


def _means(simulation: Simulation) -> dict[str, float]:
    return {
        "boot": simulation.boot,
        "health": simulation.health,
        "check": simulation.check,
        "drain": simulation.drain,
        "stop": simulation.stop,
    }
