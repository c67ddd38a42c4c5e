# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The rollout of a definition in the simulated cloud, from a fleet that runs the version before to one that runs the next.

Nothing outside is read or changed: no image, no store, no time that passes. It shows how a strategy fares with given latencies and failures.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..._core.errors import ImmutableError
from ..._core.progress import Report, silent
from ..._definition.model import Definition, Target
from ..._image_model import Image
from ..._providers.simulated.clock import event_driven_pace
from ..._providers.simulated.faults import simulate
from ..._providers.simulated.provider import SimulatedProvider
from ..._store.memory import MemoryStore
from ..gates import OpenGates
from ..model import Request
from ..ports import NoGuard, NoLease
from ..recipes import swap_request
from ..swap.engine import Engine, FleetServices, RunOptions

BEFORE, AFTER = "0" * 64, "1" * 64  # digits of images that nobody baked


def rehearse(definition: Definition, target: Target, report: Report) -> dict[str, Any]:
    """The result of a swap, with ``simulated``: ``duration`` (seconds), ``calls`` (changing ones) and ``stops`` (why it would stop, or None).

    Gates are taken as passed, approvals as given, windows as open. Raises ImmutableError where not even the fleet before could be launched.
    """
    provider, store = SimulatedProvider(), MemoryStore()

    def run(request: Request, to: Report) -> dict[str, Any]:
        return Engine(
            FleetServices(
                provider=provider,
                store=store,
                prober=provider.probe,
                guard=NoGuard(),
                lease=NoLease(),
                gates=OpenGates(),
                report=to,
                pace=event_driven_pace,
            )
        ).run(request, RunOptions())

    simulate(provider.world, replace(target.simulation, fail_boot=0.0, fail_health=0.0, fail_call=0.0))
    before = _request(definition, target, BEFORE)
    run(before, silent)
    simulate(provider.world, target.simulation)
    provider.world.calls.clear()
    began = provider.clock.now()
    asked = replace(_request(definition, target, AFTER), origin=before.payload)
    stops = None
    try:
        result = run(asked, report)
    except ImmutableError as error:
        result, stops = dict(error.details), error.message
    told = {"duration": round(provider.clock.now() - began, 1), "calls": len(provider.world.calls), "stops": stops}
    return {**result, "changed": False, "simulated": told}


def _request(definition: Definition, target: Target, digits: str) -> Request:
    version = "before" if digits == BEFORE else definition.version
    image = Image(f"sha256:{digits}", "simulated", definition.service, version, "", {}, {}, {}, shell=definition.shell)
    request = swap_request(definition, target, image, b"", lambda references: dict.fromkeys(references, ""), ())
    stages = tuple(replace(stage, approval=False) for stage in request.intent.stages)
    return replace(request, intent=replace(request.intent, stages=stages, windows=()))
