# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A world that begins as another one was observed, for predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..contract import DRAIN, PENDING, RUNNING, UP, Instance, Member, Volume
from ..root_state import BUSY, RootState
from .clock import VirtualClock
from .world import BalancerEntry, Latencies, SimulatedMachine, World, count_needed_volumes


def world_as_observed(
    instances: Sequence[Instance],
    volumes: Sequence[Volume],
    members: Sequence[Member],
    *,
    healthy: set[str],
    now: float,
    latencies: Latencies,
    forgets_drained: bool = False,
) -> World:
    """A world in which these instances, volumes and members are in their observed states.

    Args:
        healthy: ids of the instances whose probe passes.
        now: seconds since the epoch.
        forgets_drained: whether the balancer removes drained members by itself.
    """
    world = World(latencies=latencies, clock=VirtualClock(now), balancing=True, forgets_drained=forgets_drained)
    world.volumes = {volume.id: volume for volume in volumes}
    settled = now - latencies.boot - latencies.health - latencies.check  # a boot that began then is over now
    for instance in instances:
        started = instance.started if instance.state == PENDING else settled
        needed = count_needed_volumes(instance)
        has_volumes = len(world.volumes_of(instance.id)) >= needed
        world.machines[instance.id] = SimulatedMachine(
            replace(instance, started=started, root=_root_of(instance)),
            needed,
            volumes_ready_since=started,
            never_healthy=instance.state == RUNNING and instance.id not in healthy and has_volumes,
        )
    for member in members:
        checked_since = now - latencies.check if member.passing or member.state == UP else now
        busy_until = 0.0 if member.in_flight == 0 else now + latencies.drain
        world.members[member.id] = BalancerEntry(
            min(member.since, now), member.state == DRAIN, checked_since=checked_since, busy_until=busy_until
        )
    return world


def _root_of(instance: Instance) -> RootState:
    """Its root. A replacement in progress is over at the end of the boot."""
    return replace(instance.root, change="") if instance.root.change == BUSY else instance.root
