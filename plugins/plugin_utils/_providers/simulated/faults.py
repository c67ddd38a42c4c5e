# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A world whose latencies and failures follow a target's ``simulation``: random, but the same for the same seed.

What a machine draws depends only on the seed and its token, so the order of launches does not matter.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from ..._core.errors import ProviderError
from ..._definition.model import Simulation
from ..contract import LaunchRequest
from .world import Behavior, Latencies, World

MIN_WAIT = 1.0  # seconds: with spread latencies each machine has its own events, too many to observe each one


def simulate(world: World, simulation: Simulation) -> None:
    """Apply ``simulation`` to each machine that is launched in this world and to each call from now on."""

    def traits_of(request: LaunchRequest) -> tuple[Latencies, Behavior | None]:
        random = Random(f"{simulation.seed}:{request.token}")  # noqa: S311  no secret
        latencies = {
            name: value * random.uniform(1 - simulation.spread, 1 + simulation.spread)
            for name, value in _mean_latencies(simulation).items()
        }
        fails_boot, fails_health = random.random() < simulation.fail_boot, random.random() < simulation.fail_health
        of_image = world.behaviors.get(request.image, Behavior())
        failed = replace(
            of_image,
            boots=of_image.boots and not fails_boot,
            gets_healthy=of_image.gets_healthy and not fails_health,
        )
        return Latencies(**latencies), failed if fails_boot or fails_health else None

    def before(call: str) -> None:
        random = Random(f"{simulation.seed}:call:{len(world.calls)}")  # noqa: S311  no secret
        if random.random() < simulation.fail_call:
            raise ProviderError(f"{call}: the simulated cloud is unavailable (call {len(world.calls)})")

    world.latencies = Latencies(**_mean_latencies(simulation))
    world.clock.min_wait = MIN_WAIT if simulation.spread else 0.0
    world.traits_of, world.before = traits_of, before


def _mean_latencies(simulation: Simulation) -> dict[str, float]:
    return {
        "boot": simulation.boot,
        "health": simulation.health,
        "check": simulation.check,
        "drain": simulation.drain,
        "stop": simulation.stop,
    }
