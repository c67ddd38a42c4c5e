# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The services of an engine that runs in the simulated cloud."""

from __future__ import annotations

from collections.abc import Mapping

from ..._core.progress import Report
from ..._providers.simulated.clock import event_driven_pace
from ..._providers.simulated.provider import SimulatedProvider
from ..._store.base import Store
from ..gates import OpenGates
from ..ports import NoGuard, NoLease
from ..swap.engine import FleetServices


def simulated_services(
    provider: SimulatedProvider, store: Store, report: Report, revoked: Mapping[str, str] | None = None
) -> FleetServices:
    """Return services that pass every gate and need no permit. ``revoked``: why images are revoked, by digest."""
    return FleetServices(
        provider=provider,
        store=store,
        prober=provider.probe,
        guard=NoGuard(),
        lease=NoLease(),
        gates=OpenGates(),
        report=report,
        revoked=lambda: revoked or {},
        pace=event_driven_pace,
    )
