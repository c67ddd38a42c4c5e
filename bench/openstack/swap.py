# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A swap of servers without networks, by the engine and the provider as they are.

A server without a network has no address, so its address and the load balancer are made up. The balancer is kept in a
file, because each run is a process of its own.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.gates import OpenGates
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.lease import Lease
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.model import Intent, Payload, Request
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.ports import NoGuard
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.run import RunOptions
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.swap.engine import Engine, FleetServices
from ansible_collections.immutable.infra.plugins.plugin_utils._openstack.cloud import Cloud
from ansible_collections.immutable.infra.plugins.plugin_utils._openstack.connect import Connections
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.cloud_pace import cloud_pace
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import Instance
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.disk_images import DiskImages
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.openstack.provider import OpenStackProvider
from ansible_collections.immutable.infra.plugins.plugin_utils._store.registry import open_store
from ansible_collections.immutable.infra.tests.support.openstack.balancer import MemoryBalancer

FLEET, PORT = "shop-prod", 8080
LAUNCH, SERVICE = 600.0, 120.0  # seconds until an instance must run, and until it must be in service
DRAIN = 1.0  # seconds


def swap(folder: Path, glance: str, cloud: str, flavor: str, intent: dict[str, Any]) -> dict[str, Any]:
    """Swap the fleet to an image, and return the result of the engine, which raises its errors.

    Args:
        folder: of the store and the balancer.
        glance: ID of the image.
        intent: keys of ``Intent``: the size and the strategy.
    """
    file = folder / "balancer"
    balancer = pickle.loads(file.read_bytes()) if file.exists() else MemoryBalancer()  # noqa: S301  its own file
    store = open_store(folder / "store")
    provider = OpenStackProvider(Connections(Cloud(cloud)), store, lambda _fleet: balancer, images=DiskImages())
    listed: Callable[[str], list[Instance]] = provider.compute.list
    provider.compute.list = lambda fleet: [_addressed(each) for each in listed(fleet)]  # type: ignore[method-assign]
    services = FleetServices(
        provider=provider,
        store=store,
        prober=_healthy,
        guard=NoGuard(),
        lease=Lease(store, FLEET, "a swap", provider.clock),
        gates=OpenGates(),
        report=lambda _line: None,
        pace=cloud_pace,
    )
    try:
        return Engine(services).run(_request(glance, flavor, intent), RunOptions())
    finally:
        file.write_bytes(pickle.dumps(balancer))


def _request(glance: str, flavor: str, intent: dict[str, Any]) -> Request:
    wanted = Intent(
        FLEET,
        image="sha256:" + glance.replace("-", "").ljust(64, "0"),
        image_name=glance,
        launch=f"launch-{glance}",
        drain_timeout=DRAIN,
        stop_timeout=60.0,
        boot_deadline=LAUNCH,
        health_deadline=SERVICE,
        **intent,
    )
    machine = {"flavor": flavor, "networks": [], "evidence": "none"}
    payload = Payload({"glance": glance}, (PORT,), machine=machine, tags={"port": str(PORT)})
    return Request(service="shop", target="prod", intent=wanted, payload=payload)


def _addressed(instance: Instance) -> Instance:
    return replace(instance, endpoints={PORT: ("192.0.2.1", PORT)})


def _healthy(instances: Sequence[Instance]) -> dict[str, bool | str]:
    return {each.id: True for each in instances}
