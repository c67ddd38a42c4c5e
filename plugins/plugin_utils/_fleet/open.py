# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Open a fleet with all the services that its tasks use: provider, load balancer, store, lease, gates and probes.

Everything that swaps or describes a fleet starts here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from .._bake.current import current_digest
from .._core.errors import FleetError
from .._core.task import Task
from .._definition.fleet import AUTOSCALING
from .._definition.model import Definition, Target
from .._definition.secrets import SecretFinder
from .._health.prober import prober_for
from .._hosts.connection import login_keys
from .._hosts.inventory import Host, list_hosts
from .._hosts.playbook_arguments import playbook_run
from .._image_model import Image
from .._images.channels import Channels
from .._images.revocation import Revocations
from .._providers.contract import Instance, LaunchRequest, Probe, Provider
from .._providers.group import AutoScalingGroup
from .._providers.registry import SIMULATED, open_group, open_provider
from .._store.base import Store
from .autoscaling.launch import group_request
from .autoscaling.result import group_diff, group_hosts, group_info
from .autoscaling.run import GroupServices, InstanceRefreshRun
from .lease import Lease, SystemClock
from .ledger import Ledger
from .model import ABSENT, Intent, Request
from .options import FleetOptions
from .playbook_gates import PlaybookGates
from .prediction.predict import dry_run, foresee
from .recipes import refuse_other_keys
from .requests import RequestBuilder
from .swap.engine import Engine, FleetServices
from .swap.observe import Observer
from .swap.pace import pace_for
from .swap.result import instance_dicts, slots_text, volume_dicts, wanted_text
from .unreleased import unreleased
from .upkeep.orphans import FleetInventory, orphans

SWAP_KEYS = ("goal", "strategy", "image_name", "stage", "status", "reason", "started", "passed", "asks")

# Options that have no effect on a group of Auto Scaling, with the reason.
NOT_FOR_GROUPS = {
    "remove_volumes": "instances of a group own no data volumes",
    "approve": "Auto Scaling has no gate that waits for approval",
    "ignore_windows": "a target whose engine is autoscaling has no windows",
    "latencies": "a refresh by Auto Scaling cannot be predicted",
}


@dataclass(frozen=True)
class Foreseen:
    """A predicted swap. ``instances``: those of ``fleet_info``, compared with all that the swap would launch."""

    intent: Intent
    plan: dict[str, Any]
    timeline: list[dict[str, Any]]
    instances: list[dict[str, Any]]


class Fleet(Protocol):
    """The fleet of one target, however its instances are replaced."""

    def converge(self, wanted: FleetOptions, task: Task) -> dict[str, Any]:
        """Bring the fleet to what is wanted, or predict it in check mode. Returns the result of the task.

        Raises FleetError, ImageError, LockedError, ProviderError.
        """

    def foresee(self, channel: str, task: Task) -> Foreseen:
        """Predict the swap to the channel's image. Changes nothing. Raises what ``converge`` raises."""

    def info(self, channel: str, *, prove_again: bool = False) -> dict[str, Any]:
        """Describe the fleet. Returns the result of ``fleet_info``.

        Args:
            channel: names the image that is due.
            prove_again: whether to read the evidence of every host again, because it may have been rebooted.
        """

    def hosts(self, channel: str, *, prove_again: bool = False) -> list[Host]:
        """List the instances as hosts of an inventory. See ``info``."""


def open_fleet(definition: Definition, target: Target, store: Store) -> Fleet:
    """Open the fleet of a target."""
    if target.fleet.engine == AUTOSCALING:
        return GroupFleet(definition, target, store)
    return SwappedFleet(definition, target, store)


def is_rehearsal(target: Target) -> bool:
    """Whether a swap of the target runs in the simulated cloud only, without a store."""
    return target.provider == SIMULATED


@dataclass(frozen=True)
class _Opened:
    """What both kinds of fleets are opened with."""

    definition: Definition
    target: Target
    store: Store

    @property
    def name(self) -> str:
        return self.definition.fleet_name(self.target.name)

    def _head(self) -> dict[str, Any]:
        """The first keys of ``fleet_info``."""
        return {
            "changed": False,
            "fleet": self.name,
            "service": self.definition.service,
            "target": self.target.name,
        }

    def _listed(self, instances: Sequence[Instance], channel: str) -> list[Host]:
        return list_hosts(self.definition, self.target.name, self.store, instances, channel=channel)

    def _with_unreleased(self, result: dict[str, Any], wanted: FleetOptions, *, inputs: bool) -> dict[str, Any]:
        """Return a result with ``unreleased``.

        ``inputs``: compare also the inputs of the bake, not only versions, unless that would call a cloud.
        """
        if not wanted.follows_channel:
            return result
        image = result["image"]
        digest = current_digest(self.definition, self.target, self.store, ask_cloud=False) if inputs else None
        text = unreleased(self.definition, wanted.channel, result["image_name"], image=image, digest=digest)
        return {**result, "unreleased": text}


@dataclass(frozen=True)
class SwappedFleet(_Opened):
    """A fleet whose instances this collection swaps."""

    def converge(self, wanted: FleetOptions, task: Task) -> dict[str, Any]:
        request, services, observer = self._prepared(wanted, task)
        if task.check_mode:
            result = dry_run(request, observer, services, wanted.latencies)
            before = result["instances"]
        else:
            before = instance_dicts(observer.observe(), "", None) if task.diff else []
            result = Engine(services).run(request, wanted.run)
        result = self._with_unreleased(result, wanted, inputs=task.check_mode)
        if task.diff:
            result["diff"] = {"before": slots_text(before), "after": wanted_text(request.intent)}
        return result

    def foresee(self, channel: str, task: Task) -> Foreseen:
        request, services, observer = self._prepared(FleetOptions(channel=channel), task)
        instances = instance_dicts(observer.observe(), request.intent.image, request.intent.launch)
        found = foresee(request, observer.snapshot, services, {})
        return Foreseen(request.intent, found.plan, found.timeline, instances)

    def _prepared(self, wanted: FleetOptions, task: Task) -> tuple[Request, FleetServices, Observer]:
        provider = open_provider(self.target, self.store)
        request = self._request(wanted, provider, task)
        if any(spec.kms_key for spec in request.intent.desired.volumes):
            refuse_other_keys(request.intent.desired.volumes, provider.volumes.list(self.name))
        services = self._services(request, provider, task)
        return request, services, Observer(provider, provider.traffic(self.name), services.prober, self.name)

    def info(self, channel: str, *, prove_again: bool = False) -> dict[str, Any]:
        provider = self._provider(prove_again)
        traffic = provider.traffic(self.name)
        observer = Observer(provider, traffic, self._prober(provider), self.name)
        observed, snapshot = observer.observe(), observer.snapshot
        promoted = Channels(self.store).current(self.definition.service, channel)
        due = promoted["image"] if promoted else None
        intent = Ledger(self.store, self.name).last()
        inventory = FleetInventory(
            self.name,
            intent,
            instances=snapshot.instances,
            volumes=snapshot.volumes,
            members=snapshot.members,
            shared=traffic.shared,
        )
        found = orphans(inventory, provider.clock.now())
        balancer, swap = traffic.describe(), _last_swap(intent)
        return {
            **self._head(),
            "image": due,
            "image_name": promoted["name"] if promoted else None,
            "size": self.target.fleet.size,
            "serving": observed.serving,
            "instances": instance_dicts(observed, due or "", None),
            "hosts": [host.as_dict() for host in self._listed(provider.compute.list(self.name), channel)],
            "volumes": volume_dicts(observed),
            "endpoint": balancer.get("endpoint"),
            "traffic": balancer,
            "orphans": [orphan.as_dict() for orphan in found],
            "swap": swap,
            "unreleased": unreleased(self.definition, channel, promoted["name"] if promoted else None, swap=swap),
            **provider.describe(self.name),
        }

    def hosts(self, channel: str, *, prove_again: bool = False) -> list[Host]:
        return self._listed(self._provider(prove_again).compute.list(self.name), channel)

    def _provider(self, prove_again: bool) -> Provider:
        provider = open_provider(self.target, self.store)
        if prove_again and provider.prove_again:
            provider.prove_again()
        return provider

    def _request(self, wanted: FleetOptions, provider: Provider, task: Task) -> Request:
        secrets = SecretFinder(task.variables, task.template, provider.pin_secrets)
        builder = RequestBuilder(self.definition, self.target, self.store, secrets, report=task.report)
        if wanted.state == ABSENT:
            return builder.absent(wanted.remove_volumes, provider)
        if wanted.remove_volumes:
            raise FleetError("remove_volumes is only for state=absent")
        request = builder.rollback(wanted.channel) if wanted.rollback else builder.present(wanted.channel, wanted.image)
        return replace(request, intent=replace(request.intent, windows=())) if wanted.ignore_windows else request

    def _prober(self, provider: Provider) -> Probe:
        return prober_for(provider, self.target.health, Ledger(self.store, self.name).authorities)

    def _services(self, request: Request, provider: Provider, task: Task) -> FleetServices:
        revocations, build = Revocations(self.store), request.recipe.get("build")
        lease = Lease(self.store, self.name, f"swap of {self.name}", provider.clock, longest_call=provider.longest_call)
        return FleetServices(
            provider=provider,
            store=self.store,
            prober=self._prober(provider),
            guard=task.guard,
            lease=lease,
            gates=_gates(self, provider, lease, task),
            report=task.report,
            revoked=lambda: revocations.reasons(build),
            pace=pace_for(provider),
        )


@dataclass(frozen=True)
class GroupFleet(_Opened):
    """A fleet whose instances EC2 Auto Scaling replaces."""

    def converge(self, wanted: FleetOptions, task: Task) -> dict[str, Any]:
        self._refuse(wanted)
        image = self._image(wanted)
        run = self._run(image, wanted, task)
        result = run.predict() if task.check_mode else run.run()
        result = self._with_unreleased(result, wanted, inputs=task.check_mode)
        return {**result, "diff": group_diff(run.before, image)} if task.diff else result

    def foresee(self, channel: str, task: Task) -> Foreseen:
        wanted = FleetOptions(channel=channel)
        run = self._run(self._image(wanted), wanted, task)
        result = run.predict()
        return Foreseen(run.intent, result["plan"], [], result["instances"])

    def _run(self, image: Image, wanted: FleetOptions, task: Task) -> InstanceRefreshRun:
        scaling = self._scaling()
        return InstanceRefreshRun(
            self._services(image, scaling, task),
            self.definition,
            self.target,
            image,
            request=self._request_of(image, scaling, task),
            options=wanted.run,
        )

    def info(self, channel: str, *, prove_again: bool = False) -> dict[str, Any]:
        scaling = self._scaling(prove_again)
        info, instances = group_info(self.definition, self.target, self.store, scaling, channel=channel)
        swap = _last_swap(Ledger(self.store, self.name).last())
        return {
            **self._head(),
            "hosts": [host.as_dict() for host in self._listed(instances, channel)],
            "swap": swap,
            "unreleased": unreleased(self.definition, channel, info["image_name"], swap=swap),
            **info,
        }

    def hosts(self, channel: str, *, prove_again: bool = False) -> list[Host]:
        return self._listed(group_hosts(self.definition, self.target, self.store, self._scaling(prove_again)), channel)

    def _refuse(self, wanted: FleetOptions) -> None:
        """Raises FleetError for what Auto Scaling does not do."""
        name = self.target.name
        if wanted.state == ABSENT:
            raise FleetError(
                f"state=absent: the group of target {name} belongs to Auto Scaling; "
                "remove it with the tool that created it"
            )
        for option, why in NOT_FOR_GROUPS.items():
            if getattr(wanted, option):
                raise FleetError(f"{option} has no effect on target {name}: {why} (allowed: leave it out)")

    def _image(self, wanted: FleetOptions) -> Image:
        channels, service, channel = Channels(self.store), self.definition.service, wanted.channel
        if wanted.rollback:
            running, served = (
                channels.require_current(service, channel)["image"],
                Ledger(self.store, self.name).served(),
            )
            return channels.rollback_image(service, channel, running, served=served)
        return channels.require_promoted(service, channel, wanted.image)

    def _scaling(self, prove_again: bool = False) -> AutoScalingGroup:
        scaling = open_group(self.target, self.store, self.name)
        if prove_again:
            scaling.prove_again()
        return scaling

    def _request_of(self, image: Image, scaling: AutoScalingGroup, task: Task) -> LaunchRequest:
        return group_request(
            self.definition,
            self.target,
            image,
            key=self.store.secret_key(),
            resolve=SecretFinder(task.variables, task.template, scaling.pin_secrets),
            authorized_keys=login_keys(self.definition, self.target, self.store),
        )

    def _services(self, image: Image, scaling: AutoScalingGroup, task: Task) -> GroupServices:
        revocations = Revocations(self.store)
        lease = Lease(
            self.store, self.name, f"refresh of {self.name}", SystemClock(), longest_call=scaling.longest_call
        )
        return GroupServices(
            scaling=scaling,
            store=self.store,
            clock=SystemClock(),
            guard=task.guard,
            lease=lease,
            gates=_gates(self, None, lease, task),
            report=task.report,
            revoked=lambda: revocations.reasons(image.build),
        )


def _last_swap(intent: Intent | None) -> dict[str, Any] | None:
    return {key: getattr(intent, key) for key in SWAP_KEYS} if intent else None


def _gates(fleet: _Opened, provider: Provider | None, lease: Lease, task: Task) -> PlaybookGates:
    return PlaybookGates(
        definition=fleet.definition,
        target=fleet.target.name,
        store=fleet.store,
        provider=provider,
        run=playbook_run(task.loader),
        lease=lease,
        report=task.report,
    )
