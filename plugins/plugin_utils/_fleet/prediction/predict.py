# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a swap would do, how long it would take and how low it would get: the same engine on a simulated provider."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from ..._core.errors import FleetError
from ..._core.progress import silent
from ..._providers.simulated.clock import event_driven_pace
from ..._providers.simulated.provider import Latencies, SimulatedProvider, seeded
from ..._store.base import Store
from ..._store.memory import MemoryStore
from ..gates import OpenGates
from ..ledger import Ledger
from ..model import Request
from ..ports import NoGuard, NoLease
from ..swap.engine import Engine, FleetServices, RunOptions
from ..swap.observe import Observer, Snapshot
from ..swap.result import swap_result
from .measured import RECORDS, measured


def foresee(request: Request, observer: Observer, means: FleetServices, given: Mapping[str, float]) -> dict[str, Any]:
    """Check mode's result: the fleet as it is, and ``plan``, the prediction, whose lines are reported too.

    Args:
        given: latencies in seconds by name, which win over those that earlier swaps took.
    """
    observed = observer.observe()
    latencies = {**measured(Ledger(means.store, request.intent.fleet).records(RECORDS)), **given}
    plan = predict(
        request,
        observer.snapshot,
        means.store,
        means.provider.clock.now(),
        replace(Latencies(), **latencies),
        means.revoked(),
    )
    for step in plan["steps"]:
        slot = "" if step["slot"] is None else f"slot {step['slot']}: "
        means.report(f"{step['at']:7.1f} s  would be  {slot}{step['action']}")
    return {"changed": plan["changed"], **swap_result(request, request.intent, observed, None), "plan": plan}


def predict(
    request: Request,
    snapshot: Snapshot,
    store: Store,
    now: float,
    latencies: Latencies | None = None,
    revoked: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Returns ``steps`` ([{at, action, slot, instance}]), ``duration`` (seconds), ``peak``, ``lowest_in_service``, ``downtime``,
    ``surge`` (most instances beyond the size), ``stops`` (why, or None), ``pauses`` (why, or None)
    and ``latencies`` (seconds by name, those it was made with).

    Gates are taken as passed. ``store`` is only read, for an intent that an earlier run left open.
    """
    latencies = latencies or Latencies()
    world = seeded(snapshot.instances, snapshot.volumes, snapshot.members, set(snapshot.healthy), now, latencies)
    provider = SimulatedProvider(world)
    memory = MemoryStore()
    key = f"fleets/{request.intent.fleet}/intent.json"
    left = store.read(key)
    if left is not None:
        memory.write(key, left[0])
    means = FleetServices(
        provider=provider,
        store=memory,
        prober=provider.probe,
        guard=NoGuard(),
        lease=NoLease(),
        gates=OpenGates(),
        report=silent,
        revoked=lambda: revoked or {},
        pace=event_driven_pace,
    )
    stops = None
    try:
        result = Engine(means).run(request, RunOptions())
    except FleetError as error:
        result, stops = error.details, error.message
    steps = [
        {"at": each["seconds"], "action": each["event"], "slot": each["slot"], "instance": each["instance"]}
        for each in result["timeline"]
    ]
    return {
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
