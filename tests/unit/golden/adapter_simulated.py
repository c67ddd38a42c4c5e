# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run whole swaps in the simulated cloud; see ``adapter``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ImmutableError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.load import load_definition
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.actions import Gate
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.gates import OpenGates
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.lease import Lease
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.ledger import Ledger
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.model import Payload, Request
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.playbook_gates import PlaybookGates
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.ports import NoGuard
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.swap.engine import Engine, FleetServices
from ansible_collections.immutable.infra.plugins.plugin_utils._hosts.playbook import PlaybookRun
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import (
    Evidence,
    Instance,
    Member,
    Volume,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.clock import (
    VirtualClock,
    event_driven_pace,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.provider import SimulatedProvider
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.snapshot import world_as_observed
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.world import (
    Behavior,
    Latencies,
    World,
)
from ansible_collections.immutable.infra.tests.support.killed import ControllerKilled
from ansible_collections.immutable.infra.tests.unit.golden.adapter_store import documents_of, store_of


def simulated_run(
    kept: Mapping[str, Any] | None,
    asked: Mapping[str, Any],
    killed_at: int = 0,
    sick: Sequence[str] = (),
    now: float = 1_000_000.0,
) -> dict[str, Any]:
    """Run the engine once, on the fleet in ``kept`` or on an empty cloud.

    Args:
        kept: an earlier return value of this function.
        asked: ``intent``, and ``payload`` with ``ports`` and ``tags`` of new instances.
        killed_at: the changing call after which the run is killed; 0 for none.
        sick: digests of images whose instances never get healthy.
    """
    world = _world(kept) if kept else World(clock=VirtualClock(now))
    world.behaviors.update({digest: Behavior(gets_healthy=False) for digest in sick})
    store, provider, lines = store_of(kept["documents"] if kept else {}), SimulatedProvider(world), []

    def after(_call: str) -> None:
        if len(world.calls) == killed_at:
            raise ControllerKilled

    world.after = after
    fleet_name = asked["intent"]["fleet"]
    intent = Ledger(store_of({f"fleets/{fleet_name}/intent.json": asked["intent"]}), fleet_name).last()
    assert intent is not None
    payload = Payload(ports=tuple(asked["payload"]["ports"]), tags=asked["payload"]["tags"])
    lease = Lease(
        store, fleet_name, "a swap", provider.clock, monotonic=provider.clock.now, alive=lambda _holder: False
    )
    services = FleetServices(
        provider=provider,
        store=store,
        prober=provider.probe,
        guard=NoGuard(),
        lease=lease,
        gates=OpenGates(),
        report=lines.append,
        pace=event_driven_pace,
    )
    result: dict[str, Any] = {}
    with suppress(ControllerKilled):
        try:
            result = Engine(services).run(
                Request("shop", "prod", intent, payload, origin=payload, recipe={"a": "recipe"})
            )
        except ImmutableError as error:
            result = {**error.details, "failed": True}
    return {"result": result, "calls": list(world.calls), **_kept(provider, store, fleet_name)}


def _kept(provider: Any, store: Any, fleet_name: str) -> dict[str, Any]:
    instances = provider.compute.list(fleet_name)
    verdicts = provider.probe(instances)
    return {
        "now": provider.clock.now(),
        "instances": [asdict(each) for each in instances],
        "volumes": [_since_0_1_0(asdict(each)) for each in provider.volumes.list(fleet_name)],
        "members": [asdict(each) for each in provider.traffic(fleet_name).members()],
        "healthy": sorted(each for each, verdict in verdicts.items() if verdict is True),
        "documents": documents_of(store),
    }


def _world(kept: Mapping[str, Any]) -> Any:
    instances = [
        Instance(
            **{
                **each,
                "endpoints": {int(port): tuple(address) for port, address in each["endpoints"].items()},
                "evidence": Evidence(**each["evidence"]) if each["evidence"] else None,
            }
        )
        for each in kept["instances"]
    ]
    volumes, members_now = [Volume(**each) for each in kept["volumes"]], [Member(**each) for each in kept["members"]]
    return world_as_observed(
        instances, volumes, members_now, healthy=set(kept["healthy"]), now=kept["now"], latencies=Latencies()
    )


class Noted(PlaybookRun):
    """Records the input of a gate's playbook instead of running it."""

    noted: dict[str, Any] = {}

    def __call__(
        self, playbook: Path, inventory: Any, *, workdir: Path, timeout: float, report: Any, variables: Any = None
    ) -> None:
        self.noted.update(
            {"playbook": playbook.name, "inventory": inventory, "timeout": timeout, "variables": variables}
        )


def gate_played(
    folder: Path, target: str, document: Mapping[str, Any], kept: Mapping[str, Any], store: Any
) -> dict[str, Any]:
    """Return the input of a gate's playbook: inventory and variables."""
    intent = Ledger(store_of({"fleets/shop-prod/intent.json": document}), "shop-prod").last()
    assert intent is not None
    clock = VirtualClock()
    lease = Lease(store, "shop-prod", "a swap", clock, monotonic=clock.now, alive=lambda _holder: None)
    provider = SimulatedProvider(_world(kept))
    gates = PlaybookGates(
        load_definition(folder),
        target,
        store=store,
        provider=provider,
        run=Noted(),
        lease=lease,
        report=lambda _line: None,
    )
    gates.play(Gate("stage 1 check", playbook="canary.yml", slots=(0, 1)), intent, provider.compute.list("shop-prod"))
    return dict(Noted.noted)


def _since_0_1_0(volume: dict[str, Any]) -> dict[str, Any]:
    """A volume without the fields that a later release added, which must have their default."""
    assert volume.pop("created_blank") is False
    return volume
