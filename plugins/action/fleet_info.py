# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from typing import Any

from ..plugin_utils._core.action import Context, RoomAction
from ..plugin_utils._definition.fleet import AUTOSCALING
from ..plugin_utils._definition.load import load_definition
from ..plugin_utils._definition.model import Definition, Target
from ..plugin_utils._fleet.autoscaling.result import group_info
from ..plugin_utils._fleet.ledger import Ledger
from ..plugin_utils._fleet.swap.observe import Observer
from ..plugin_utils._fleet.swap.result import instance_dicts, volume_dicts
from ..plugin_utils._fleet.upkeep.orphans import FleetInventory, orphans
from ..plugin_utils._health.prober import prober_for
from ..plugin_utils._hosts.inventory import list_hosts
from ..plugin_utils._images.channels import Channels
from ..plugin_utils._providers.registry import open_group, open_provider
from ..plugin_utils._store.base import Store
from ..plugin_utils._store.registry import open_store, store_location

SWAP = ("goal", "strategy", "image_name", "stage", "status", "reason", "started", "passed", "asks")


class ActionModule(RoomAction):
    def work(self, options: dict[str, Any], context: Context) -> dict[str, Any]:
        definition = load_definition(context.folder / options["definition"])
        target = definition.target(options["target"])
        store = open_store(store_location(context.folder, options["store"]))
        fleet = definition.fleet_name(target.name)
        if target.fleet.engine == AUTOSCALING:
            return _of_group(options, definition, target, store, fleet)
        provider = open_provider(target, store)
        traffic = provider.traffic(fleet)
        observer = Observer(provider, traffic, prober_for(provider, target.health), fleet)
        observed, snapshot = observer.observe(), observer.snapshot
        promoted = Channels(store).current(definition.service, options["channel"])
        intent = Ledger(store, fleet).last()
        found = orphans(
            FleetInventory(fleet, intent, snapshot.instances, snapshot.volumes, snapshot.members), provider.clock.now()
        )
        balancer = traffic.describe()
        return {
            "changed": False,
            "fleet": fleet,
            "service": definition.service,
            "target": target.name,
            "image": promoted["image"] if promoted else None,
            "image_name": promoted["name"] if promoted else None,
            "size": target.fleet.size,
            "serving": observed.serving,
            "instances": instance_dicts(observed, promoted["image"] if promoted else "", None),
            "hosts": [
                host.as_dict()
                for host in list_hosts(definition, target.name, store, provider.compute.list(fleet), options["channel"])
            ],
            "volumes": volume_dicts(observed),
            "endpoint": balancer.get("endpoint"),
            "traffic": balancer,
            "orphans": [each.as_dict() for each in found],
            "swap": {key: getattr(intent, key) for key in SWAP} if intent else None,
            **provider.describe(),
        }


def _of_group(
    options: dict[str, Any], definition: Definition, target: Target, store: Store, fleet: str
) -> dict[str, Any]:
    info, instances = group_info(definition, target, store, open_group(target), options["channel"])
    intent = Ledger(store, fleet).last()
    return {
        "changed": False,
        "fleet": fleet,
        "service": definition.service,
        "target": target.name,
        "hosts": [host.as_dict() for host in list_hosts(definition, target.name, store, instances, options["channel"])],
        "swap": {key: getattr(intent, key) for key in SWAP} if intent else None,
        **info,
    }
