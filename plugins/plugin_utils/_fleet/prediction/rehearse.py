# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Rehearse the rollout of a definition in the simulated cloud, from a fleet with the previous version to the next one.

A rehearsal reads and changes nothing outside: no image, no store, no real time. It shows how a strategy behaves with
given latencies and failures.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..._core.errors import ImmutableError
from ..._core.progress import Report, silent
from ..._definition.model import Definition, Target
from ..._image_model import Image
from ..._providers.simulated.faults import simulate
from ..._providers.simulated.provider import SimulatedProvider
from ..._store.memory import MemoryStore
from ..model import Intent, Request
from ..recipes import swap_request
from ..run import RunOptions
from ..swap.engine import Engine
from .services import simulated_services

BEFORE, AFTER = "0" * 64, "1" * 64  # digests, in hex, of two images that exist only here


def rehearse(definition: Definition, target: Target, report: Report) -> dict[str, Any]:
    """Return the result of a swap, with ``simulated``: ``duration`` (seconds), ``calls`` (changing ones) and ``stops``.

    ``stops`` is the reason why the swap would stop, or None. Gates pass, approvals are given and windows are open.
    Raises ImmutableError if not even the fleet with the previous version can be launched.
    """
    provider, store = SimulatedProvider(), MemoryStore()

    def run(request: Request, to: Report) -> dict[str, Any]:
        return Engine(simulated_services(provider, store, to)).run(request, RunOptions())

    simulate(provider.world, replace(target.simulation, fail_boot=0.0, fail_health=0.0, fail_call=0.0))
    before = _request(definition, target, BEFORE)
    run(before, silent)
    simulate(provider.world, target.simulation)
    provider.world.calls.clear()
    began = provider.clock.now()
    wanted = replace(_request(definition, target, AFTER), origin=before.payload)
    stops = None
    try:
        result = run(wanted, report)
    except ImmutableError as error:
        result, stops = dict(error.details), error.message
    simulated = {"duration": round(provider.clock.now() - began, 1), "calls": len(provider.world.calls), "stops": stops}
    return {**result, "changed": False, "simulated": simulated}


def rehearsed_intent(definition: Definition, target: Target) -> Intent:
    """Return the intent of the swap that ``rehearse`` runs, as it begins."""
    return _request(definition, target, AFTER).intent


def _request(definition: Definition, target: Target, digest: str) -> Request:
    image = Image(
        digest=f"sha256:{digest}",
        build="simulated",
        service=definition.service,
        version="before" if digest == BEFORE else definition.version,
        created="",
        artifact={},
        base={},
        inputs={},
        shell=definition.shell,
    )
    request = swap_request(
        definition,
        target,
        image,
        key=b"",
        resolve=lambda references: dict.fromkeys(references, ""),
        authorized_keys=(),
    )
    stages = tuple(replace(stage, approval=False) for stage in request.intent.stages)
    return replace(request, intent=replace(request.intent, stages=stages, windows=()))
