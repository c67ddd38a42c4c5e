# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tasks that replace root volumes, which moto lacks, as a layer of the proxy. A script gives the state of each read.

What a task does is made of moto's own calls, as in
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/replace-root.html: a volume is created, the root volume is detached,
and the new one is attached in its place. The launch time stays. The console goes on, with the output of each root.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.immutable.infra.plugins.plugin_utils._aws.tags import key_of
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.evidence import MARK
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.tags import NONCE

from .answers import REQUEST_ID, Answer, refusal
from .calls import Call
from .proxy import Proceed

SUCCEEDED, FAILED = "succeeded", "failed"
KEY_PREFIX = "ssh-ed25519 "


@dataclass
class RootTask:
    id: str
    instance: str
    source: str  # an AMI or a volume
    tags: dict[str, str]
    keeps: bool  # whether the previous volume is kept
    script: list[str]
    state: str = "pending"


@dataclass
class RootTasks:
    """Use: ``cloud.proxy.layers.insert(0, RootTasks(cloud, {ami: digest}))``."""

    cloud: Any
    images: dict[str, str]  # digest by AMI
    script: tuple[str, ...] = ("in-progress", SUCCEEDED)
    shell: str = "restricted"
    tasks: list[RootTask] = field(default_factory=list)
    _tokens: dict[str, tuple[RootTask, dict[str, str]]] = field(default_factory=dict)
    _volumes: dict[str, str] = field(default_factory=dict)  # digest by root volume
    _boots: dict[str, list[str]] = field(default_factory=dict)  # digests of all boots of an instance

    def __call__(self, call: Call, proceed: Proceed) -> Answer:
        if call.service == "ec2" and call.action == "CreateReplaceRootVolumeTask":
            return self._create(call)
        if call.service == "ec2" and call.action == "DescribeReplaceRootVolumeTasks":
            return self._describe(call)
        return proceed(call)

    def running(self, instance: str) -> str:
        """The digest of the image that an instance really runs."""
        return self._history(instance)[-1]

    def console(self, instance: str, facts: dict[str, str]) -> str:
        """What every root of the instance printed, for ``Settings.console``."""
        lines = []
        for number, digest in enumerate(self._history(instance)):
            key = f"{KEY_PREFIX}AAAA{number}" if self.shell == "restricted" else ""
            evidence = {"digest": digest, "nonce": facts[key_of(NONCE)], "host_key": key, "shell": self.shell}
            lines += ["[    0.000000] Linux version 6.1.0", "IMMUTABLE-LAUNCHED", f"{MARK}{json.dumps(evidence)}"]
        return "\n".join([*lines, ""])

    def _history(self, instance: str) -> list[str]:
        if instance not in self._boots:
            self._boots[instance] = [self.images[self._described(instance)["ImageId"]]]
        return self._boots[instance]

    def _described(self, instance: str) -> dict[str, Any]:
        (reservation,) = self.cloud.boto("ec2").describe_instances(InstanceIds=[instance])["Reservations"]
        return dict(reservation["Instances"][0])

    def _create(self, call: Call) -> Answer:
        given = {name: text for name, text in call.parameters.items() if name != "ClientToken"}
        token = call.parameters["ClientToken"]
        if token in self._tokens:  # https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-idempotency.html
            task, before = self._tokens[token]
            if before != given:
                return refusal(call, 400, "IdempotentParameterMismatch", "the request has other parameters")
            return _answer(call, f"<replaceRootVolumeTask>{_as_xml(task)}</replaceRootVolumeTask>")
        instance = given["InstanceId"]
        if self._described(instance)["State"]["Name"] != "running":
            return refusal(call, 400, "IncorrectInstanceState", "the instance is not running")
        if any(task.instance == instance and task.state in ("pending", "in-progress") for task in self.tasks):
            return refusal(call, 400, "IncorrectState", "a root volume replacement task is in progress")
        self._history(instance)
        keys = [name for name in given if name.startswith("TagSpecification.1.Tag.") and name.endswith(".Key")]
        task = RootTask(
            id=f"replacevol-{len(self.tasks)}",
            instance=instance,
            source=given.get("VolumeId") or given["ImageId"],
            tags={given[name]: given[name[: -len("Key")] + "Value"] for name in keys},
            keeps=given["DeleteReplacedRootVolume"] == "false",
            script=list(self.script),
        )
        self.tasks.append(task)
        self._tokens[token] = task, given
        return _answer(call, f"<replaceRootVolumeTask>{_as_xml(task)}</replaceRootVolumeTask>")

    def _describe(self, call: Call) -> Answer:
        asked = {text for name, text in call.parameters.items() if name.startswith("Filter.1.Value.")}
        found = [task for task in self.tasks if task.instance in asked]
        for task in found:
            if task.script:
                task.state = task.script.pop(0)
                if task.state == SUCCEEDED:
                    self._replace(task)
        items = "".join(f"<item>{_as_xml(task)}</item>" for task in found)
        return _answer(call, f"<replaceRootVolumeTaskSet>{items}</replaceRootVolumeTaskSet>")

    def _replace(self, task: RootTask) -> None:
        ec2, described = self.cloud.boto("ec2"), self._described(task.instance)
        device = described["RootDeviceName"]
        (old,) = [disk["Ebs"]["VolumeId"] for disk in described["BlockDeviceMappings"] if disk["DeviceName"] == device]
        self._volumes[old] = self.running(task.instance)
        if task.source.startswith("vol-"):
            new, digest = task.source, self._volumes[task.source]
        else:
            zone = described["Placement"]["AvailabilityZone"]
            new, digest = ec2.create_volume(Size=8, AvailabilityZone=zone)["VolumeId"], self.images[task.source]
        ec2.detach_volume(VolumeId=old, InstanceId=task.instance)
        ec2.attach_volume(VolumeId=new, InstanceId=task.instance, Device=device)
        if not task.keeps:
            ec2.delete_volume(VolumeId=old)
        self._boots[task.instance].append(digest)


def _as_xml(task: RootTask) -> str:
    tags = "".join(f"<item><key>{key}</key><value>{text}</value></item>" for key, text in task.tags.items())
    return (
        f"<replaceRootVolumeTaskId>{task.id}</replaceRootVolumeTaskId><instanceId>{task.instance}</instanceId>"
        f"<taskState>{task.state}</taskState><startTime>2000-01-02T03:04:05Z</startTime><tagSet>{tags}</tagSet>"
    )


def _answer(call: Call, result: str) -> Answer:
    body = f"<{call.action}Response><requestId>{REQUEST_ID}</requestId>{result}</{call.action}Response>"
    return Answer(200, body.encode(), {"Content-Type": "text/xml", "x-amzn-RequestId": REQUEST_ID})
