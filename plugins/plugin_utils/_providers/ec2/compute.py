# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""EC2 instances. Their tags say what they are, and each observation is one paginated call."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from ..._aws.batches import MAX_FILTER_VALUES, batches
from ..._aws.clients import TOKEN_SPENT, Clients, aws_errors
from ..._aws.instances import instances_in
from ..._aws.tags import MAX_TAGS
from ..._core.errors import ProviderError
from .. import tags as tag_names
from ..contract import Instance, LaunchRequest
from ..ended_instance import EndedInstance
from .consoles import Consoles
from .describe import ALIVE, DESCRIBED, PAGES, ended_of, instance_of
from .reimage import Ec2Reimager
from .run_instances import LaunchBatch, Scope, launch_batches, require_ami, run_instances_parameters
from .tags import FLEET_KEY, STORE_KEY, fitting, from_aws, keys_of_text
from .template_check import check_template
from .volumes import Ec2Volumes

# AWS's codes that say that another zone may have room.
ZONE_FULL = (
    "InsufficientInstanceCapacity",
    "InsufficientFreeAddressesInSubnet",
    "InsufficientHostCapacity",
    "Unsupported",
)
# AWS's codes that say that one of the named instances makes the call fail for all of them.
ONE_UNFIT = ("InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed", "IncorrectInstanceState")
PROTECTED = "OperationNotPermitted"  # somebody protected an instance against being stopped or terminated
REPLAY_AGE = 60.0  # seconds: an older instance in the answer was launched by an earlier call with the same token
FORCE_AGAIN = 30.0  # seconds after which a forced stop is repeated
DOING = {"stop_instances": "stopping", "terminate_instances": "removing"}


class Ec2Compute:
    """See ``contract.Compute``. ``warnings`` has a line for each deviation from what was requested."""

    def __init__(self, clients: Clients, scope: Scope, volumes: Ec2Volumes, consoles: Consoles) -> None:
        self.warnings: list[str] = []
        self._clients = clients
        self._scope = scope
        self._volumes = volumes
        self._consoles = consoles
        self._stopping_since: dict[str, float] = {}  # by instance id, as first observed here
        self._forced_at: dict[str, float] = {}  # by instance id (monotonic)
        self._ended: Sequence[EndedInstance] = ()
        self._keeping: set[str] = set()  # ids of instances with a kept root, as last observed
        self.reimager = Ec2Reimager(clients, scope, volumes, self._describe_ids)

    def list(self, fleet: str) -> list[Instance]:
        found = self._describe_fleet(fleet)
        self._ended = [ended for ended in map(ended_of, found) if ended]
        described = [one for one in found if one["State"]["Name"] in ALIVE]
        evidence = self._consoles.evidence(fleet, described)
        stopping = {one["InstanceId"] for one in described if one["State"]["Name"] in ("stopping", "shutting-down")}
        self._stopping_since = {key: since for key, since in self._stopping_since.items() if key in stopping}
        tasks = self.reimager.tasks(described)
        instances = (instance_of(one, evidence, self._since, tasks.get(one["InstanceId"])) for one in described)
        listed = [instance for instance in instances if instance]
        self._keeping = {instance.id for instance in listed if instance.root.previous}
        return listed

    def ended(self, fleet: str) -> Sequence[EndedInstance]:
        """EC2 describes a terminated instance for about an hour, but perhaps without its tags by then."""
        return [one for one in self._ended if one.fleet == fleet]

    def check_machine(self, machine: Mapping[str, Any]) -> None:
        check_template(self._clients, machine)

    def launch(self, requests: Sequence[LaunchRequest]) -> Sequence[Instance]:
        volumes = self._volumes.by_slot(requests)
        launched: list[Instance] = []
        for batch in launch_batches(requests, volumes):
            launched += self._launch(batch)
        return launched

    def stop(self, ids: Sequence[str]) -> None:
        """A pending instance cannot be stopped yet: it is left to a later call."""
        self._call_for_all("stop_instances", ids, ("running",))

    def power_off(self, ids: Sequence[str]) -> None:
        """Returns as soon as EC2 accepts the call, which can take effect minutes later.

        Until then the instance is STOPPING and its volumes cannot be detached.
        """
        now = time.monotonic()
        due = [key for key in ids if now - self._forced_at.get(key, -FORCE_AGAIN) >= FORCE_AGAIN]
        self._call_for_all("stop_instances", due, ("running", "stopping"), Force=True)
        self._forced_at.update(dict.fromkeys(due, time.monotonic()))

    def start(self, ids: Sequence[str]) -> None:
        with aws_errors(doing="starting instances again"):
            for part in batches(ids, MAX_FILTER_VALUES):
                self._clients.ec2.start_instances(InstanceIds=part)

    def remove(self, ids: Sequence[str]) -> None:
        """EC2 lets a running instance shut down in order before it removes it."""
        self._call_for_all("terminate_instances", ids, ALIVE)
        kept = self._keeping.intersection(ids)
        if kept:
            self.reimager.delete_kept(kept)

    def tag(self, ids: Sequence[str], tags: Mapping[str, str | None]) -> None:
        described = self._describe_ids(ids)
        known = [one["InstanceId"] for one in described]
        removed = [key for name, text in tags.items() if text is None for key in keys_of_text(name)]
        changed = {key["Key"] for name in tags for key in keys_of_text(name)}
        others = [sum(tag["Key"] not in changed for tag in one.get("Tags", ())) for one in described]
        new = fitting(
            {name: text for name, text in tags.items() if text is not None}, MAX_TAGS - max(others, default=0)
        )
        with aws_errors(doing="tagging instances"):
            for part in batches(known, MAX_FILTER_VALUES):
                if removed:
                    self._clients.ec2.delete_tags(Resources=part, Tags=removed)
                if new:
                    self._clients.ec2.create_tags(Resources=part, Tags=new)

    def fleets(self) -> Sequence[str]:
        described = self._describe(Filters=[_of_store(self._scope), _in_states(ALIVE)])
        names = {from_aws(one.get("Tags", ())).get(tag_names.FLEET) for one in described}
        return sorted({name for name in names if name is not None} | set(self._volumes.fleets()))

    def console(self, instance_id: str) -> str:
        return self._consoles.text(instance_id)

    def _describe_fleet(self, fleet: str) -> Sequence[dict[str, Any]]:
        return self._describe(
            Filters=[{"Name": f"tag:{FLEET_KEY}", "Values": [fleet]}, _of_store(self._scope), _in_states(DESCRIBED)]
        )

    def _describe_ids(self, ids: Sequence[str]) -> Sequence[dict[str, Any]]:
        """The existing ones of these instances: a filter, unlike a list of ids, does not fail if one is missing."""
        return [
            one
            for part in batches(ids, MAX_FILTER_VALUES)
            for one in self._describe(Filters=[{"Name": "instance-id", "Values": part}])
        ]

    def _describe(self, **parameters: Any) -> Sequence[dict[str, Any]]:
        with aws_errors(doing="reading instances"):
            pages = self._clients.ec2.get_paginator("describe_instances").paginate(**parameters, PaginationConfig=PAGES)
            return list(instances_in(pages))

    def _launch(self, batch: LaunchBatch) -> Sequence[Instance]:
        """Launch in the first zone that has room."""
        zones = batch.zones()
        for zone, next_zone in zip(zones, [*zones[1:], ""], strict=True):
            try:
                return self._launch_in(batch, zone)
            except ProviderError as error:
                if error.code not in ZONE_FULL or not next_zone:
                    raise
                slots = ", ".join(str(request.slot) for request in batch.requests)
                self._warn(
                    f"zone {zone} takes no more instances ({error.code}): slots {slots} are launched in {next_zone}"
                )
        raise AssertionError(zones)

    def _warn(self, line: str) -> None:
        if line not in self.warnings:
            self.warnings.append(line)

    def _launch_in(self, batch: LaunchBatch, zone: str) -> Sequence[Instance]:
        parameters = run_instances_parameters(batch, zone, self._scope, self._root_device(batch.first))
        with aws_errors(doing=f"launching {parameters['MaxCount']} of {batch.first.fleet} in {zone}"):
            launched = self._clients.client("ec2", attempts=2).run_instances(**parameters)["Instances"]
        if any(time.time() - one["LaunchTime"].timestamp() > REPLAY_AGE for one in launched):
            launched = self._refresh_replayed(launched)
        specifications = parameters["TagSpecifications"]
        tags = next(one["Tags"] for one in specifications if one["ResourceType"] == "instance")
        instances = (instance_of({**one, "Tags": tags}, {}, self._since) for one in launched)
        return [instance for instance in instances if instance]

    def _refresh_replayed(self, launched: Sequence[Mapping[str, Any]]) -> Sequence[dict[str, Any]]:
        """A repeated token gets the first answer again, so the instances are read again.

        Raises ProviderError if one of them does not exist any more.
        """
        ids = [one["InstanceId"] for one in launched]
        present = [one for one in self._describe_ids(ids) if one["State"]["Name"] in ALIVE]
        missing = sorted(set(ids) - {one["InstanceId"] for one in present})
        if missing:
            raise ProviderError(
                f"an earlier launch with the same token created {', '.join(missing)}, which no longer exists",
                code=TOKEN_SPENT,
                token_spent=True,
            )
        return present

    def _root_device(self, request: LaunchRequest) -> Mapping[str, Any] | None:
        """The image's root device; None unless the target wants a larger root disk."""
        if not request.machine.get("root_size"):
            return None
        if request.artifact.get("root_device"):
            return {"DeviceName": request.artifact["root_device"]}
        ami = require_ami(request.artifact, self._scope)
        with aws_errors(doing="reading the image"):
            image = self._clients.ec2.describe_images(ImageIds=[ami])["Images"][0]
        return {"DeviceName": image["RootDeviceName"]}

    def _call_for_all(self, operation: str, ids: Sequence[str], states: Sequence[str], **more: Any) -> None:
        """One call for all instances. If one makes it fail, repeat it for those that are in one of ``states``."""
        for part in batches(ids, MAX_FILTER_VALUES):
            try:
                self._call(operation, part, more)
            except ProviderError as error:
                if error.code not in ONE_UNFIT:
                    raise
                fit = [one["InstanceId"] for one in self._describe_ids(part) if one["State"]["Name"] in states]
                if set(fit) == set(part):
                    raise
                if fit:
                    self._call(operation, fit, more)

    def _call(self, operation: str, ids: Sequence[str], more: Mapping[str, Any]) -> None:
        try:
            with aws_errors(doing=f"{DOING[operation]} {', '.join(ids)}"):
                getattr(self._clients.ec2, operation)(InstanceIds=ids, **more)
        except ProviderError as error:
            if error.code != PROTECTED:
                raise
            advice = "switch off this protection of the instance and run again to resume"
            raise ProviderError(f"{error.message}; {advice}", permanent=True, code=error.code) from error

    def _since(self, instance_id: str) -> float:
        return self._stopping_since.setdefault(instance_id, time.time())


def _of_store(scope: Scope) -> dict[str, Any]:
    return {"Name": f"tag:{STORE_KEY}", "Values": [scope.store]}


def _in_states(states: Sequence[str]) -> dict[str, Any]:
    return {"Name": "instance-state-name", "Values": list(states)}
