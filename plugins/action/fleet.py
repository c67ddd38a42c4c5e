# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from typing import Any

from ..plugin_utils.action import Context, RoomAction
from ..plugin_utils.definition.load import load_definition
from ..plugin_utils.definition.model import Definition, Target
from ..plugin_utils.errors import FleetError
from ..plugin_utils.fleet.engine import Engine
from ..plugin_utils.fleet.launch import absent_request, resolve_secrets, swap_request
from ..plugin_utils.fleet.model import Request
from ..plugin_utils.fleet.observe import Observer
from ..plugin_utils.fleet.predict import predict
from ..plugin_utils.fleet.result import instance_dicts, slots_text, volume_dicts, wanted_text
from ..plugin_utils.health.prober import prober_for
from ..plugin_utils.images.channels import Channels
from ..plugin_utils.providers.base import Provider
from ..plugin_utils.providers.registry import open_provider
from ..plugin_utils.store.file import FileStore
from ..plugin_utils.store.registry import open_store
from ..plugin_utils.units import seconds_of


class ActionModule(RoomAction):
    def work(self, options: dict[str, Any], context: Context) -> dict[str, Any]:
        definition = load_definition(context.folder / options["definition"])
        target = definition.target(options["target"])
        store = open_store(context.folder / options["store"])
        provider = open_provider(target, store)
        request = _request(options, definition, target, store, provider, context)
        prober = prober_for(provider, target.health)
        observer = Observer(provider, provider.traffic(request.intent.fleet), prober, request.intent.fleet)
        if context.check_mode:
            result = _predicted(request, observer, store, provider, context)
            before = result["instances"]
        else:
            before = instance_dicts(observer.observe(), "", None) if context.diff else []
            result = Engine(provider, store, prober, context.guard, context.report).run(request, seconds_of(options["lock_timeout"]))
        if context.diff:
            result["diff"] = {"before": slots_text(before), "after": wanted_text(request.intent)}
        return result


def _request(options: dict[str, Any], definition: Definition, target: Target, store: FileStore, provider: Provider, context: Context) -> Request:
    if options["state"] == "absent":
        fleet = definition.fleet_name(target.name)
        known = {volume.name for volume in (*definition.data, *provider.volumes.list(fleet))}
        unknown = sorted(set(options["remove_volumes"]) - known)
        if unknown:
            raise FleetError(f"remove_volumes: {fleet} has no volume {', '.join(unknown)} (it has: {', '.join(sorted(known)) or 'none'})")
        return absent_request(definition, target, tuple(options["remove_volumes"]))
    if options["remove_volumes"]:
        raise FleetError("remove_volumes is only for state=absent")
    image = Channels(store).require_promoted(definition.service, options["channel"], options["image"])
    keys = () if definition.shell == "off" else (target.authorized_key or store.ssh_key(definition.fleet_name(target.name))[1],)
    secrets = resolve_secrets(target, context.task_vars, context.template)
    return swap_request(definition, target, image, store.secret_key(), secrets, keys)


def _predicted(request: Request, observer: Observer, store: FileStore, provider: Provider, context: Context) -> dict[str, Any]:
    observed = observer.observe()
    plan = predict(request, observer.snapshot, store, provider.clock.now())
    for step in plan["steps"]:
        slot = "" if step["slot"] is None else f"slot {step['slot']}: "
        context.report(f"{step['at']:7.1f} s  would be  {slot}{step['action']}")
    return {
        "changed": plan["changed"],
        "fleet": request.intent.fleet,
        "service": request.service,
        "target": request.target,
        "image": request.intent.image or None,
        "image_name": request.intent.image_name or None,
        "size": request.intent.size,
        "instances": instance_dicts(observed, request.intent.image, request.intent.launch),
        "volumes": volume_dicts(observed),
        "plan": plan,
    }
