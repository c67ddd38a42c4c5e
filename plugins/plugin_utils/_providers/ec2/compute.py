# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Instances of EC2. What they are is in their tags; every look is one paginated describe."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from ..._aws.batches import FILTER, batches
from ..._aws.clients import TOKEN_SPENT, Clients, aws_errors
from ..._core.errors import ProviderError
from .. import tags as tag_names
from ..contract import Instance, LaunchRequest
from .consoles import Consoles
from .describe import ALIVE, PAGES, instance_of
from .run_instances import LaunchBatch, Scope, launch_batches, require_ami, run_instances_parameters
from .tags import FLEET_KEY, STORE_KEY, from_aws, keys_of_text, to_aws
from .volumes import Ec2Volumes

FULL = (
    "InsufficientInstanceCapacity",
    "InsufficientFreeAddressesInSubnet",
    "InsufficientHostCapacity",
    "Unsupported",
)  # in this zone; another may do
GONE = (
    "InvalidInstanceID.NotFound",
    "InvalidInstanceID.Malformed",
    "IncorrectInstanceState",
)  # of one of those named, which spoils the call for all
REPLAYED = (
    60.0  # seconds: an instance that a launch calls older than this was launched by an earlier call with the same token
)
FORCE_AGAIN = 30.0  # seconds after which a forced stop is asked for once more
DOING = {"stop_instances": "stopping", "terminate_instances": "removing"}


class Ec2Compute:
    """``warnings`` tells what went another way than asked for."""

    def __init__(self, clients: Clients, scope: Scope, volumes: Ec2Volumes, consoles: Consoles) -> None:
        self.warnings: list[str] = []
        self._clients = clients
        self._scope = scope
        self._volumes = volumes
        self._consoles = consoles
        self._stopping: dict[str, float] = {}  # since when, as first seen here
        self._forced: dict[str, float] = {}

    def list(self, fleet: str) -> list[Instance]:
        described = [each for each in self._described(fleet) if each["State"]["Name"] in ALIVE]
        known = self._consoles.evidence(fleet, described)
        ending = {each["InstanceId"] for each in described if each["State"]["Name"] in ("stopping", "shutting-down")}
        self._stopping = {key: since for key, since in self._stopping.items() if key in ending}
        return [each for each in (instance_of(one, known, self._since) for one in described) if each]

    def launch(self, requests: Sequence[LaunchRequest]) -> Sequence[Instance]:
        slots = self._volumes.by_slot(requests)
        launched: list[Instance] = []
        for group in launch_batches(requests, slots):
            launched += self._launch(group)
        return launched

    def stop(self, ids: Sequence[str]) -> None:
        """What is pending cannot be stopped yet: it is left for a later call."""
        self._order("stop_instances", ids, ("running",))

    def power_off(self, ids: Sequence[str]) -> None:
        """Returns as soon as EC2 has the order: it can take minutes. Until it is STOPPED its volumes cannot be detached, so nothing is in danger."""
        due = [each for each in ids if time.monotonic() - self._forced.get(each, -FORCE_AGAIN) >= FORCE_AGAIN]
        self._order("stop_instances", due, ("running", "stopping"), Force=True)
        self._forced.update(dict.fromkeys(due, time.monotonic()))

    def start(self, ids: Sequence[str]) -> None:
        with aws_errors(doing="starting instances again"):
            for part in batches(ids, FILTER):
                self._clients.ec2.start_instances(InstanceIds=part)

    def remove(self, ids: Sequence[str]) -> None:
        """EC2 lets a running instance shut down in order before it takes it away."""
        self._order("terminate_instances", ids, ALIVE)

    def tag(self, ids: Sequence[str], tags: Mapping[str, str | None]) -> None:
        known = [each["InstanceId"] for each in self._named(ids)]
        away = [key for name, text in tags.items() if text is None for key in keys_of_text(name)]
        new = to_aws({name: text for name, text in tags.items() if text is not None})
        with aws_errors(doing="tagging instances"):
            for part in batches(known, FILTER):
                if away:
                    self._clients.ec2.delete_tags(Resources=part, Tags=away)
                if new:
                    self._clients.ec2.create_tags(Resources=part, Tags=new)

    def fleets(self) -> Sequence[str]:
        found = [from_aws(each.get("Tags", ())) for each in self._describe(Filters=[_of_store(self._scope), _alive()])]
        return sorted(
            {tags[tag_names.FLEET] for tags in found if tag_names.FLEET in tags} | set(self._volumes.fleets())
        )

    def console(self, instance_id: str) -> str:
        return self._consoles.text(instance_id)

    def _described(self, fleet: str) -> Sequence[dict[str, Any]]:
        return self._describe(
            Filters=[{"Name": f"tag:{FLEET_KEY}", "Values": [fleet]}, _of_store(self._scope), _alive()]
        )

    def _describe(self, **asked: Any) -> Sequence[dict[str, Any]]:
        with aws_errors(doing="looking at instances"):
            pages = self._clients.ec2.get_paginator("describe_instances").paginate(**asked, PaginationConfig=PAGES)
            return [
                instance
                for page in pages
                for reservation in page["Reservations"]
                for instance in reservation["Instances"]
            ]

    def _named(self, ids: Sequence[str]) -> Sequence[dict[str, Any]]:
        """Those that there are: a filter, unlike a list of ids, does not fail for the others."""
        return [
            each
            for part in batches(ids, FILTER)
            for each in self._describe(Filters=[{"Name": "instance-id", "Values": part}])
        ]

    def _launch(self, group: LaunchBatch) -> Sequence[Instance]:
        zones = group.zones()
        for zone, another in zip(zones, [*zones[1:], ""], strict=True):
            try:
                return self._launch_in(group, zone)
            except ProviderError as error:
                if error.code not in FULL or not another:
                    raise
                slots = ", ".join(str(each.slot) for each in group.requests)
                self._warn(
                    f"zone {zone} takes no more instances ({error.code}): slots {slots} are launched in {another}"
                )
        raise AssertionError(zones)

    def _warn(self, line: str) -> None:
        if line not in self.warnings:
            self.warnings.append(line)

    def _launch_in(self, group: LaunchBatch, zone: str) -> Sequence[Instance]:
        asked = run_instances_parameters(group, zone, self._scope, self._root(group.first))
        with aws_errors(doing=f"launching {asked['MaxCount']} of {group.first.fleet} in {zone}"):
            answer = self._clients.client("ec2", attempts=2).run_instances(**asked)["Instances"]
        if any(time.time() - each["LaunchTime"].timestamp() > REPLAYED for each in answer):
            answer = self._refresh_replayed(answer)
        tags = next(each["Tags"] for each in asked["TagSpecifications"] if each["ResourceType"] == "instance")
        return [each for each in (instance_of({**one, "Tags": tags}, {}, self._since) for one in answer) if each]

    def _refresh_replayed(self, answer: Sequence[Mapping[str, Any]]) -> Sequence[dict[str, Any]]:
        """A spent token is answered as it was then. Raises ProviderError where what it launched is no more."""
        ids = [each["InstanceId"] for each in answer]
        now = [each for each in self._named(ids) if each["State"]["Name"] in ALIVE]
        gone = sorted(set(ids) - {each["InstanceId"] for each in now})
        if gone:
            raise ProviderError(
                f"this launch was made before, and {', '.join(gone)} of it is gone", code=TOKEN_SPENT, token_spent=True
            )
        return now

    def _root(self, request: LaunchRequest) -> Mapping[str, Any] | None:
        """The image's root device, asked for only where it shall be larger and the image's record does not tell."""
        if not request.machine.get("root_size"):
            return None
        if request.artifact.get("root_device"):
            return {"DeviceName": request.artifact["root_device"]}
        with aws_errors(doing="looking at the image"):
            image = self._clients.ec2.describe_images(ImageIds=[require_ami(request.artifact, self._scope.region)])[
                "Images"
            ][0]
        return {"DeviceName": image["RootDeviceName"]}

    def _order(self, operation: str, ids: Sequence[str], fitting: Sequence[str], **more: Any) -> None:
        """One call for all. Where one of them spoils it, it is asked which it still makes sense for, and called once more."""
        for part in batches(ids, FILTER):
            try:
                self._call(operation, part, more)
            except ProviderError as error:
                if error.code not in GONE:
                    raise
                left = [each["InstanceId"] for each in self._named(part) if each["State"]["Name"] in fitting]
                if set(left) == set(part):
                    raise
                if left:
                    self._call(operation, left, more)

    def _call(self, operation: str, ids: Sequence[str], more: Mapping[str, Any]) -> None:
        with aws_errors(doing=f"{DOING[operation]} {', '.join(ids)}"):
            getattr(self._clients.ec2, operation)(InstanceIds=ids, **more)

    def _since(self, instance_id: str) -> float:
        return self._stopping.setdefault(instance_id, time.time())


def _of_store(scope: Scope) -> dict[str, Any]:
    return {"Name": f"tag:{STORE_KEY}", "Values": [scope.store]}


def _alive() -> dict[str, Any]:
    return {"Name": "instance-state-name", "Values": list(ALIVE)}
