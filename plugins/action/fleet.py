# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..plugin_utils._core.action import Context, RoomAction
from ..plugin_utils._core.errors import FleetError
from ..plugin_utils._core.units import seconds_of
from ..plugin_utils._definition.fleet import AUTOSCALING
from ..plugin_utils._definition.load import load_definition
from ..plugin_utils._definition.model import Definition, Target
from ..plugin_utils._definition.secrets import Secrets
from ..plugin_utils._fleet.autoscaling.result import group_diff
from ..plugin_utils._fleet.autoscaling.run import GroupServices as GroupMeans
from ..plugin_utils._fleet.autoscaling.run import InstanceRefreshRun
from ..plugin_utils._fleet.lease import Lease, SystemClock
from ..plugin_utils._fleet.model import Request
from ..plugin_utils._fleet.playbook_gates import PlaybookGates
from ..plugin_utils._fleet.prediction.predict import foresee
from ..plugin_utils._fleet.prediction.rehearse import rehearse
from ..plugin_utils._fleet.requests import RequestBuilder
from ..plugin_utils._fleet.swap.engine import Engine, FleetServices, RunOptions
from ..plugin_utils._fleet.swap.observe import Observer
from ..plugin_utils._fleet.swap.pace import pace_for
from ..plugin_utils._fleet.swap.result import instance_dicts, slots_text, wanted_text
from ..plugin_utils._health.prober import prober_for
from ..plugin_utils._hosts.playbook_arguments import playbook_run
from ..plugin_utils._image_model import Image
from ..plugin_utils._images.channels import Channels
from ..plugin_utils._images.revocation import Revocations
from ..plugin_utils._providers.contract import Provider
from ..plugin_utils._providers.registry import SIMULATED, open_group, open_provider
from ..plugin_utils._store.base import Store
from ..plugin_utils._store.registry import open_store, store_location

# What asks for something that Auto Scaling does not do, and why.
NOT_HANDED_OVER = {
    "remove_volumes": "instances of a group own no data volumes",
    "approve": "Auto Scaling has no gate that a person passes",
    "ignore_windows": "a target whose engine is autoscaling has no windows",
    "latencies": "what Auto Scaling does cannot be predicted",
}


class ActionModule(RoomAction):
    exclusive = (("rollback", "image"),)

    def work(self, options: dict[str, Any], context: Context) -> dict[str, Any]:
        definition = load_definition(context.folder / options["definition"])
        target = definition.target(options["target"])
        if target.provider == SIMULATED:
            return rehearse(definition, target, context.report)
        store = open_store(store_location(context.folder, options["store"]))
        if target.fleet.engine == AUTOSCALING:
            return _hand_over(options, definition, target, store, context)
        provider = open_provider(target, store)
        request = _request(
            options,
            RequestBuilder(
                definition,
                target,
                store,
                Secrets(context.task_vars, context.template, provider.pin_secrets),
            ),
            provider,
        )
        means = _means(request, definition, target, store, provider, context)
        observer = Observer(provider, provider.traffic(request.intent.fleet), means.prober, request.intent.fleet)
        if context.check_mode:
            result = foresee(request, observer, means, options["latencies"] or {})
            before = result["instances"]
        else:
            before = instance_dicts(observer.observe(), "", None) if context.diff else []
            result = Engine(means).run(
                request, RunOptions(seconds_of(options["lock_timeout"]), options["wait"], options["approve"])
            )
        if context.diff:
            result["diff"] = {"before": slots_text(before), "after": wanted_text(request.intent)}
        return result


def _hand_over(
    options: dict[str, Any], definition: Definition, target: Target, store: Store, context: Context
) -> dict[str, Any]:
    if options["state"] == "absent":
        raise FleetError(
            f"state=absent: target {target.name} belongs to Auto Scaling, so its group is not ours to remove (remove it where it was made)"
        )
    for name, why in NOT_HANDED_OVER.items():
        if options[name]:
            raise FleetError(f"{name} is of no use on target {target.name}: {why} (allowed: leave it out)")
    image = _image(options, definition, store)
    group = open_group(target)
    lease = Lease(
        store,
        definition.fleet_name(target.name),
        f"refresh of {definition.fleet_name(target.name)}",
        SystemClock(),
        longest_call=group.longest_call,
    )
    gates = PlaybookGates(definition, target.name, store, None, playbook_run(), lease, context.report)
    revocations = Revocations(store)
    means = GroupMeans(
        group,
        store,
        SystemClock(),
        context.guard,
        lease,
        gates,
        context.report,
        lambda: revocations.reasons(image.build),
    )
    run = InstanceRefreshRun(
        means, definition, target, image, RunOptions(seconds_of(options["lock_timeout"]), options["wait"])
    )
    result = run.foresee() if context.check_mode else run.run()
    return {**result, "diff": group_diff(run.before, image)} if context.diff else result


def _image(options: dict[str, Any], definition: Definition, store: Store) -> Image:
    channels, service, channel = Channels(store), definition.service, options["channel"]
    if options["rollback"]:
        return channels.rollback_image(service, channel, channels.require_current(service, channel)["image"])
    return channels.require_promoted(service, channel, options["image"])


def _request(options: dict[str, Any], asker: RequestBuilder, provider: Provider) -> Request:
    if options["state"] == "absent":
        return asker.absent(options["remove_volumes"], provider)
    if options["remove_volumes"]:
        raise FleetError("remove_volumes is only for state=absent")
    request = (
        asker.rollback(options["channel"])
        if options["rollback"]
        else asker.present(options["channel"], options["image"])
    )
    return replace(request, intent=replace(request.intent, windows=())) if options["ignore_windows"] else request


def _means(
    request: Request, definition: Definition, target: Target, store: Store, provider: Provider, context: Context
) -> FleetServices:
    revocations, build = Revocations(store), request.recipe.get("build")
    fleet = request.intent.fleet
    lease = Lease(store, fleet, f"swap of {fleet}", provider.clock, longest_call=provider.longest_call)
    return FleetServices(
        provider=provider,
        store=store,
        prober=prober_for(provider, target.health),
        guard=context.guard,
        lease=lease,
        gates=PlaybookGates(definition, target.name, store, provider, playbook_run(), lease, context.report),
        report=context.report,
        revoked=lambda: revocations.reasons(build),
        pace=pace_for(provider),
    )
