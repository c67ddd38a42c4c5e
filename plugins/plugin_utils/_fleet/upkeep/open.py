# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Open what marks hosts and what sweeps, with the provider and the lease of the fleet."""

from __future__ import annotations

from collections.abc import Sequence

from ..._core.task import Task
from ..._definition.model import Definition, Target
from ..._images.leftovers import BakeSweeper
from ..._images.revocation import Revocations
from ..._providers.registry import open_provider
from ..._store.base import Store
from ..autoscaling.result import refuse_group
from ..lease import Lease, SystemClock
from ..ports import ChangePermit
from .marks import Marking, Marks, marking_of
from .sweep import OrphanSweeper, Sweep


def marking_for(
    definition: Definition, target: Target, hosts: Sequence[str], mark: str, *, present: bool, reason: str
) -> Marking:
    """Check what a user wants to mark, and return it as a marking.

    Raises FleetError, also for a target whose instances Auto Scaling replaces.
    """
    refuse_group(target, "host_mark")
    return marking_of(
        definition.fleet_name(target.name),
        hosts,
        mark,
        present=present,
        reason=reason,
        drain_timeout=target.fleet.drain_timeout,
    )


def open_marks(target: Target, store: Store, marking: Marking, task: Task) -> Marks:
    """Open the fleet of a target for a marking."""
    mark = marking.mark
    purpose = f"marking hosts {mark}" if marking.reason is not None else f"removing the mark {mark} from hosts"
    provider = open_provider(target, store)
    lease = Lease(store, marking.fleet, purpose, SystemClock(), longest_call=provider.longest_call)
    return Marks(provider, ChangePermit(task.guard, lease), Revocations(store).reasons())


def open_sweep(target: Target, store: Store, task: Task) -> Sweep:
    """Open the provider of a target to sweep what no fleet and no bake owns."""
    provider = open_provider(target, store)

    def permit(fleet: str) -> ChangePermit:
        lease = Lease(store, fleet, f"sweep of {fleet}", provider.clock, longest_call=provider.longest_call)
        return ChangePermit(task.guard, lease)

    bakes = BakeSweeper(provider.leftovers, store, task.guard, task.report) if provider.leftovers else None
    return Sweep(OrphanSweeper(provider, store, permit, task.report), bakes)
