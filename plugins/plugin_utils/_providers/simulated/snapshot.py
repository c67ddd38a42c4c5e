# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A world that begins as another one was observed, for predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..contract import PENDING, RUNNING, Instance, Member, Volume
from .clock import VirtualClock
from .world import BalancerEntry, Latencies, Machine, World, needed_volumes


def seeded(
    instances: Sequence[Instance],
    volumes: Sequence[Volume],
    members: Sequence[Member],
    healthy: set[str],
    now: float,
    latencies: Latencies,
    forgets: bool = False,
) -> World:
    """A world that begins as another one was observed, for predictions."""
    world = World(latencies=latencies, clock=VirtualClock(now), balancing=True, forgets=forgets)
    world.volumes = {volume.id: volume for volume in volumes}
    for instance in instances:
        long_up = (
            instance.started if instance.state == PENDING else now - latencies.boot - latencies.health - latencies.check
        )
        needs = needed_volumes(instance)
        ailing = instance.state == RUNNING and instance.id not in healthy and len(world.held(instance.id)) >= needs
        world.machines[instance.id] = Machine(
            replace(instance, started=long_up), needs, volumes_ready_since=long_up, ailing=ailing
        )
    for member in members:
        joined = now - latencies.check if member.passing or member.state == "up" else now
        busy_until = 0.0 if member.in_flight == 0 else now + latencies.drain
        world.members[member.id] = BalancerEntry(
            min(member.since, now), member.state == "drain", joined=joined, busy_until=busy_until
        )
    return world
