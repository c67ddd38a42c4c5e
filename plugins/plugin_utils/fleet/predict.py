# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a swap would do, how long it would take and how low it would get: the same engine on a simulated provider."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import FleetError
from ..progress import silent
from ..providers.simulated import LOOK_EVERY, Latencies, SimulatedProvider, seeded
from ..store.base import Store
from ..store.memory import MemoryStore
from .engine import Engine, How, Means
from .gates import OpenGates
from .model import Request
from .observe import Snapshot


class Free:
    """A prediction changes nothing, so nothing can forbid it."""

    def check(self) -> None: ...

    def acquire(self, wait: float = 0.0) -> None: ...

    def need(self, seconds: float) -> None: ...

    def release(self) -> None: ...


def predict(
    request: Request, snapshot: Snapshot, store: Store, now: float, latencies: Latencies | None = None, revoked: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Returns ``steps`` ([{at, action, slot, instance}]), ``duration`` (seconds), ``peak``, ``lowest_in_service``, ``downtime``,
    ``surge`` (most instances beyond the size), ``stops`` (why, or None) and ``pauses`` (why, or None).

    Gates are taken as passed. ``store`` is only read, for an intent that an earlier run left open.
    """
    world = seeded(snapshot.instances, snapshot.volumes, snapshot.members, set(snapshot.healthy), now, latencies or Latencies())
    provider = SimulatedProvider(world)
    memory = MemoryStore()
    key = f"fleets/{request.intent.fleet}/intent.json"
    left = store.read(key)
    if left is not None:
        memory.write(key, left[0])
    free = Free()
    means = Means(provider, memory, provider.probe, free, free, OpenGates(), silent, lambda: revoked or {}, LOOK_EVERY)
    stops = None
    try:
        result = Engine(means).run(request, How())
    except FleetError as error:
        result, stops = error.details, error.message
    steps = [{"at": each["seconds"], "action": each["event"], "slot": each["slot"], "instance": each["instance"]} for each in result["timeline"]]
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
    }
