# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Predict what a swap would do, how long it would take and how few hosts it would leave in service.

The prediction is a run of the same engine on a simulated provider.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..._core.errors import FleetError
from ..._core.progress import silent
from ..._providers.simulated.provider import SimulatedProvider
from ..._providers.simulated.snapshot import world_as_observed
from ..._providers.simulated.world import Latencies
from ..._store.base import Store
from ..._store.memory import MemoryStore
from ..ledger import Ledger
from ..model import Request
from ..run import RunOptions
from ..swap.engine import Engine, FleetServices
from ..swap.observe import Observer, Snapshot
from ..swap.possible import require_possible
from ..swap.result import swap_result
from .measured import RECORDS, measured
from .services import simulated_services

MAX_LINES = 40  # of predicted steps


@dataclass(frozen=True)
class Prediction:
    """What a swap would do. ``timeline``: as in the result of a swap. ``plan``: see ``simulated_swap``."""

    plan: dict[str, Any]
    timeline: list[dict[str, Any]]


def dry_run(
    request: Request, observer: Observer, services: FleetServices, latencies: Mapping[str, float]
) -> dict[str, Any]:
    """Return the result of the task in check mode: the fleet as it is, with the prediction as ``plan``.

    Each predicted step is reported as a line.

    Args:
        latencies: seconds by name. They win over the latencies of earlier swaps.

    Raises ProviderError, StoreError, TrafficError. If something would change, these are also raised for what the run
    itself refuses.
    """
    observed = observer.observe()
    plan = foresee(request, observer.snapshot, services, latencies).plan
    if plan["changed"]:
        intent, _resumed = Ledger(services.store, request.intent.fleet).intent(request.intent, 0.0)
        instances = observer.snapshot.instances
        require_possible(services.provider, observed, instances, intent=intent, request=request)
    for step in plan["steps"][:MAX_LINES]:
        slot = "" if step["slot"] is None else f"slot {step['slot']}: "
        services.report(f"{step['at']:7.1f} s  expected: {slot}{step['action']}")
    more = len(plan["steps"]) - MAX_LINES
    if more > 0:
        services.report(f"           {more} more steps, which are all in the result: plan.steps")
    return {"changed": plan["changed"], **swap_result(request, request.intent, observed, None), "plan": plan}


def foresee(
    request: Request, snapshot: Snapshot, services: FleetServices, latencies: Mapping[str, float]
) -> Prediction:
    """Predict the swap with the latencies of earlier swaps. The plan has ``last_failure`` as well: see the ledger.

    Args:
        latencies: seconds by name. They win over those of earlier swaps.
    """
    ledger = Ledger(services.store, request.intent.fleet)
    known = {**measured(ledger.records(RECORDS)), **latencies}
    found = simulated_swap(
        request,
        snapshot,
        services.store,
        now=services.provider.clock.now(),
        latencies=replace(Latencies(), **known),
        revoked=services.revoked(),
    )
    return replace(found, plan={**found.plan, "last_failure": ledger.last_failure(request.intent.image)})


def simulated_swap(
    request: Request,
    snapshot: Snapshot,
    store: Store,
    *,
    now: float,
    latencies: Latencies | None = None,
    revoked: Mapping[str, str] | None = None,
) -> Prediction:
    """Run the swap in the simulated cloud, beginning with what was observed. Gates pass at once.

    The plan has ``steps`` ([{at, action, slot, instance}]), ``duration`` (seconds), ``peak``, ``lowest_in_service``,
    ``downtime``, ``surge`` (the most instances beyond the size), ``stops`` and ``pauses`` (the reason, or None), and
    ``latencies`` (seconds by name, as they were used).

    Args:
        store: only read, for an intent that an earlier run left open.
        now: seconds since the epoch, by the clock of the provider.
        revoked: why images are revoked, by digest.
    """
    latencies = latencies or Latencies()
    world = world_as_observed(
        snapshot.instances,
        snapshot.volumes,
        snapshot.members,
        healthy=set(snapshot.healthy),
        now=now,
        latencies=latencies,
    )
    world.replaces_in = snapshot.replaces_in or world.replaces_in
    memory = MemoryStore()
    key = f"fleets/{request.intent.fleet}/intent.json"
    stored = store.read(key)
    if stored is not None:
        memory.write(key, stored[0])
    services = simulated_services(SimulatedProvider(world), memory, silent, revoked)
    stops = None
    try:
        result = Engine(services).run(request, RunOptions())
    except FleetError as error:
        result, stops = error.details, error.message
    steps = [
        {"at": entry["seconds"], "action": entry["event"], "slot": entry["slot"], "instance": entry["instance"]}
        for entry in result["timeline"]
    ]
    plan = {
        "changed": result["changed"],
        "steps": steps,
        "duration": round(world.clock.now() - now, 1),
        "peak": result["peak"],
        "surge": max(0, result["peak"] - request.intent.size),
        "lowest_in_service": result["lowest_in_service"],
        "downtime": result["downtime"],
        "stops": stops,
        "pauses": result["paused"],
        "latencies": asdict(latencies),
    }
    return Prediction(plan, result["timeline"])
