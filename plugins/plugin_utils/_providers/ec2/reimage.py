# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Replace the root volume of EC2 instances, which keep running: CreateReplaceRootVolumeTask.

Tags are written first, so that a run that is interrupted leaves a record of what an instance is to run. The task takes
one instance, so each of them costs two changing calls. User data can be changed only while an instance is stopped, and
a stopped instance gives up its capacity. So what the launch document holds cannot change:
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/user-data.html#user-data-modify
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..._aws.batches import MAX_FILTER_VALUES, batches
from ..._aws.clients import Clients, aws_errors
from ..._core.errors import ProviderError
from .. import tags as tag_names
from ..contract import RUNNING, Instance, InstanceState, LaunchRequest
from .describe import at_index
from .launch_tags import KEPT, instance_texts
from .replaced_root import ReplacedRoot, awaits_root, replaced_root, root_volume
from .run_instances import Scope, document_of, require_ami
from .tags import STORE_KEY, from_aws, keys_of_text, to_aws, with_own
from .volumes import Ec2Volumes

TASK = "replace-root-volume-task"  # as a type of resource
REPLACED_KEY, KEPT_KEY = tag_names.REPLACED, tag_names.KEPT_ROOT
NEW_TASK = 60.0  # seconds for which a task counts although no list shows it yet
# AWS's codes for a kept volume that cannot become the root again, so that its image is used.
VOLUME_UNFIT = ("InvalidVolume.NotFound", "IncorrectState", "InvalidParameterValue")
MAX_DOCUMENT = 2**20  # bytes of a launch document
Describe = Callable[[Sequence[str]], Sequence[Mapping[str, Any]]]


class Ec2Reimager:
    """See ``contract.Reimager``.

    Args:
        describe: the existing ones of these instances, as EC2 describes them.
    """

    replaces_in: InstanceState = RUNNING

    def __init__(self, clients: Clients, scope: Scope, volumes: Ec2Volumes, describe: Describe) -> None:
        self._clients = clients
        self._scope = scope
        self._volumes = volumes
        self._describe = describe
        self._begun: dict[str, float] = {}  # by instance id: when its task was created (monotonic)

    def tasks(self, described: Sequence[Mapping[str, Any]]) -> Mapping[str, Mapping[str, Any]]:
        """By instance id, the tasks for what the tags of these instances say. No call unless one awaits its root."""
        due = {one["InstanceId"]: one for one in described if awaits_root(one)}
        found: dict[str, Mapping[str, Any]] = {}
        for part in batches(list(due), MAX_FILTER_VALUES):
            with aws_errors(doing="reading the tasks that replace root volumes"):
                pages = self._clients.ec2.get_paginator("describe_replace_root_volume_tasks").paginate(
                    Filters=[{"Name": "instance-id", "Values": part}]
                )
                tasks = [task for page in pages for task in page["ReplaceRootVolumeTasks"]]
            for task in sorted(tasks, key=lambda task: str(task.get("StartTime", ""))):
                if _version(task) == _version(due[task["InstanceId"]]):
                    found[task["InstanceId"]] = task
        now = time.monotonic()
        unlisted = {key for key, at in self._begun.items() if now - at < NEW_TASK and key in due and key not in found}
        return {**dict.fromkeys(unlisted, {"TaskState": "pending"}), **found}

    def check(self, instances: Sequence[Instance], wanted: Sequence[LaunchRequest]) -> None:
        """Compares the launch document of one instance of each launch, and the machine settings of what is wanted."""
        machines = [dict(request.machine) for request in wanted]
        names = {name for one in machines for name in one if any(one.get(name) != each.get(name) for each in machines)}
        if names:
            raise _refusal(f"the settings of its machine differ: {', '.join(sorted(names))}")
        for request in wanted:
            require_ami(request.artifact, self._scope)
        volumes = self._volumes.by_slot(wanted)
        for instance in {instance.nonce: instance for instance in instances}.values():
            present = self._document(instance.id)
            for request in wanted:
                slot = replace(request, slot=instance.slot, nonce=instance.nonce)
                ids = {volume.name: volume.id for volume in volumes.get(instance.slot, ())}
                new = _files(document_of(slot, self._scope, ids))
                changed = sorted(name for name in {*present, *new} if present.get(name) != new.get(name))
                if changed:
                    raise _refusal(f"the launch document of {instance.id} would change: {', '.join(changed)}")

    def reimage(self, requests: Mapping[str, LaunchRequest]) -> None:
        described = self._describe(list(requests))
        for one in described:
            instance_id, state = one["InstanceId"], one["State"]["Name"]
            if state not in ("running", "shutting-down", "terminated"):
                raise ProviderError(f"instance {instance_id} is {state}: only a running one gets another root volume")
        for one in described:
            if one["State"]["Name"] == "running":
                self._reimage(one, requests[one["InstanceId"]])

    def release(self, ids: Sequence[str]) -> None:
        """Deletes every replaced root volume of these instances, also those that a killed run left."""
        self.delete_kept(ids)
        with aws_errors(doing="noting that previous root volumes are deleted"):
            for part in batches(ids, MAX_FILTER_VALUES):
                self._clients.ec2.delete_tags(Resources=part, Tags=keys_of_text(KEPT_KEY)[:1])

    def delete_kept(self, ids: Iterable[str]) -> None:
        wanted, key = set(ids), to_aws({REPLACED_KEY: ""})[0]["Key"]
        with aws_errors(doing="deleting previous root volumes"):
            pages = self._clients.ec2.get_paginator("describe_volumes").paginate(
                Filters=[
                    {"Name": f"tag:{STORE_KEY}", "Values": [self._scope.store]},
                    {"Name": "tag-key", "Values": [key]},
                    {"Name": "status", "Values": ["available"]},
                ]
            )
            for volume in [volume for page in pages for volume in page["Volumes"]]:
                replaced = replaced_root(from_aws(volume.get("Tags", ())))
                if replaced and replaced.volume == volume["VolumeId"] and replaced.instance in wanted:
                    self._clients.ec2.delete_volume(VolumeId=volume["VolumeId"])

    def _reimage(self, described: Mapping[str, Any], request: LaunchRequest) -> None:
        instance_id, tags = described["InstanceId"], from_aws(described.get("Tags", ()))
        replaced, recorded = replaced_root(tags, instance_id), _version(described) == _requested(request)
        if awaits_root(described) and replaced and replaced.image == request.image:
            # Nothing was replaced yet. The tags say again what still runs.
            self._record(described, request, None)
            return
        if recorded and not awaits_root(described):
            return
        previous = replaced if replaced and awaits_root(described) else None
        kept = replaced if replaced and not previous and tags.get(KEPT_KEY) == "true" else None
        if not recorded:
            root = root_volume(described)
            if previous is None and root is None:
                raise ProviderError(f"instance {instance_id} has no root volume that could be replaced")
            old = previous or ReplacedRoot(instance_id, root or "", tags.get(tag_names.IMAGE, ""), 0)
            self._record(described, request, replace(old, at=int(time.time())))
        self._create_task(instance_id, request, kept.volume if kept and kept.image == request.image else "")

    def _record(self, described: Mapping[str, Any], request: LaunchRequest, old: ReplacedRoot | None) -> None:
        """Write what the instance is to run, and remove what people and other modules marked."""
        instance_id = described["InstanceId"]
        index, ami = described.get("AmiLaunchIndex", 0), require_ami(request.artifact, self._scope)
        launched = instance_texts(request, self._scope.store, ami)
        texts = {name: text for name, text in launched.items() if name not in KEPT}
        texts[tag_names.ATTEMPT] = ",".join([request.tags.get(tag_names.ATTEMPT, "0")] * (index + 1))
        if old:
            texts.update({REPLACED_KEY: old.text, KEPT_KEY: "true"})
        new = to_aws(texts)
        names = [*texts, *tag_names.MARKS, *([] if old else [REPLACED_KEY, KEPT_KEY])]
        known = {tag["Key"] for tag in described.get("Tags", ())} - {tag["Key"] for tag in new}
        stale = [key for name in names for key in keys_of_text(name) if key["Key"] in known]
        with aws_errors(doing=f"tagging {instance_id}"):
            if old:  # the volume gets what says whose root it was, so that it is found when nothing else refers to it
                own = {tag_names.FLEET: request.fleet, tag_names.STORE: self._scope.store, REPLACED_KEY: old.text}
                self._clients.ec2.create_tags(Resources=[old.volume], Tags=to_aws(own))
            self._clients.ec2.create_tags(Resources=[instance_id], Tags=new)
            if stale:
                self._clients.ec2.delete_tags(Resources=[instance_id], Tags=stale)

    def _create_task(self, instance_id: str, request: LaunchRequest, volume: str) -> None:
        try:
            self._call(instance_id, request, {"VolumeId": volume} if volume and self._takes_volumes() else None)
        except ProviderError as error:
            if not volume or error.code not in VOLUME_UNFIT:
                raise
            self._call(instance_id, request, None)
        self._begun[instance_id] = time.monotonic()

    def _call(self, instance_id: str, request: LaunchRequest, source: Mapping[str, str] | None) -> None:
        source = source or {"ImageId": require_ami(request.artifact, self._scope)}
        texts = {
            tag_names.FLEET: request.fleet,
            tag_names.STORE: self._scope.store,
            tag_names.IMAGE: request.image,
            tag_names.LAUNCH: request.launch,
            tag_names.SWAP: request.tags.get(tag_names.SWAP, ""),
            tag_names.ATTEMPT: request.tags.get(tag_names.ATTEMPT, "0"),
        }
        token = json.dumps([request.token, instance_id, source], sort_keys=True)
        with aws_errors(doing=f"replacing the root volume of {instance_id}"):
            self._clients.ec2.create_replace_root_volume_task(
                InstanceId=instance_id,
                ClientToken=hashlib.sha256(token.encode()).hexdigest(),
                DeleteReplacedRootVolume=False,
                TagSpecifications=[{"ResourceType": TASK, "Tags": with_own(to_aws(texts), self._scope.tags)}],
                **source,
            )

    def _takes_volumes(self) -> bool:
        """Whether this botocore knows how to give a volume back to an instance."""
        model = self._clients.ec2.meta.service_model.operation_model("CreateReplaceRootVolumeTask")
        return "VolumeId" in model.input_shape.members

    def _document(self, instance_id: str) -> dict[str, bytes]:
        with aws_errors(doing=f"reading the user data of {instance_id}"):
            answer = self._clients.ec2.describe_instance_attribute(InstanceId=instance_id, Attribute="userData")
        try:
            return _files(base64.b64decode(answer.get("UserData", {}).get("Value", "")))
        except (ValueError, OSError, EOFError, tarfile.TarError) as error:
            raise _refusal(f"the user data of {instance_id} is no launch document") from error


def _version(described: Mapping[str, Any]) -> tuple[str, ...]:
    """What the tags of an instance or a task say that the instance is to run."""
    tags = from_aws(described.get("Tags", ()))
    attempt = at_index(tags.get(tag_names.ATTEMPT, ""), described.get("AmiLaunchIndex", 0))
    names = (tag_names.IMAGE, tag_names.LAUNCH, tag_names.SWAP)
    return *(tags.get(name, "") for name in names), attempt


def _requested(request: LaunchRequest) -> tuple[str, ...]:
    tags = request.tags
    return request.image, request.launch, tags.get(tag_names.SWAP, ""), tags.get(tag_names.ATTEMPT, "0")


def _files(document: bytes) -> dict[str, bytes]:
    """The files of a launch document that an instance has for life; which volumes were blank changes."""
    with gzip.GzipFile(fileobj=io.BytesIO(document)) as packed:
        data = packed.read(MAX_DOCUMENT)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        files = {entry.name: archive.extractfile(entry) for entry in archive if entry.isfile()}
        return {name: file.read() for name, file in files.items() if file and name != "blank"}


def _refusal(reason: str) -> ProviderError:
    return ProviderError(
        f"fleet.strategy: reimage keeps the instances on aws, and {reason}. User data and machine settings are fixed "
        "while an instance runs. Nothing was changed (allowed: release this with another strategy, such as rolling, "
        "and use reimage for the next images)",
        permanent=True,
    )
