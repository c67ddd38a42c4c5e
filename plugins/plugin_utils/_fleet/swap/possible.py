# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether a swap can be carried out at all: what a run and its prediction check before the first change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..._core.errors import FleetError
from ..._providers.contract import STOPPED, Instance, Provider, Reimager
from ..actions import LaunchSlot
from ..model import PRESENT, REIMAGE, ROLLBACK, Intent, Request
from ..observed import Observed
from .executor import launch_request
from .reach import unreachable


def require_possible(
    provider: Provider, observed: Observed, instances: Sequence[Instance], *, intent: Intent, request: Request
) -> None:
    """Refuse a swap that cannot succeed from here. Only reads. A swap that began already is not checked again.

    Raises FleetError, ProviderError, TrafficError.

    Args:
        instances: the provider's, as ``observed`` shows them.
        intent: that of the request, with its origin.
    """
    if intent.begun or intent.goal != PRESENT:
        return
    if problem := unreachable(observed):
        raise FleetError(problem)
    provider.compute.check_machine(request.payload.machine)
    provider.traffic(intent.fleet).check_deadline(intent.health_deadline)
    if intent.strategy == REIMAGE:
        _require_reimage(provider.reimager, instances, intent, request)


def _require_reimage(
    reimager: Reimager | None, instances: Sequence[Instance], intent: Intent, request: Request
) -> None:
    """Refuse a swap that would give instances what only a new launch can give them.

    A rollback reimages as well, so the previous version is checked like the new one.
    """
    if reimager is None:
        raise FleetError("fleet.strategy: the instances of this provider cannot be reimaged")
    kept = [
        instance
        for instance in instances
        if instance.slot < intent.size and (instance.state != STOPPED or reimager.replaces_in == STOPPED)
    ]
    wanted = [launch_request(LaunchSlot(0), intent, request.payload)]
    if request.origin and intent.origin:
        wanted.append(launch_request(LaunchSlot(0), replace(intent, stage=ROLLBACK), request.origin))
    if kept:
        reimager.check(kept, wanted)
