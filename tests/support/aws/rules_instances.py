# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Instances: tokens, launching, stopping, what AWS refuses, and the console."""

from __future__ import annotations

import base64
import io
import json
import tarfile
import threading
from dataclasses import replace
from typing import Any

from ansible_collections.immutable.infra.plugins.plugin_utils._aws.tags import key_of
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.evidence import MARK
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.tags import IMAGE

from .answers import Answer, refusal
from .calls import Call
from .documents import Document
from .proxy import Proceed
from .world import World

ITEMS = "reservationSet/item/instancesSet/item"
CODES = {"pending": "0", "running": "16", "shutting-down": "32", "terminated": "48", "stopping": "64", "stopped": "80"}
OWN_FILTERS = ("instance-state-name", "client-token")  # that the proxy answers, because moto cannot
USER_DATA = 16 * 1024  # bytes, before base64
VISIBLE = 3600.0  # seconds for which a terminated instance remains visible, approximately
LOST = ("Server.SpotInstanceTermination", "Instance terminated for lack of Spot capacity")
DIED = ("Client.InternalError", "Client error on launch")
UNSEALED = "IMMUTABLE-UNSEALED "


def client_tokens(world: World, call: Call, proceed: Proceed) -> Answer:
    token = call.parameters.get("ClientToken", "")
    if not token:
        return proceed(call)
    key = (zone(world, call) or call.region, call.action, token)
    parameters = {name: value for name, value in call.parameters.items() if name != "ClientToken"}
    with world.lock:
        lock = world.token_locks.setdefault(key, threading.Lock())
    with lock:
        if key in world.tokens:
            before, answer = world.tokens[key]
            if before != parameters:
                return refusal(
                    call,
                    400,
                    "IdempotentParameterMismatch",
                    f"The client token {token} was used with other parameters.",
                )
            terminated = call.action == "RunInstances" and _ended(world, call, answer)
            return (
                refusal(call, 400, "IdempotentInstanceTerminated", "The instance of this client token was terminated.")
                if terminated
                else answer
            )
        answer = proceed(call)
        if answer.ok:
            world.tokens[key] = (parameters, answer)
        return answer


def zone(world: World, call: Call) -> str:
    """The zone that the call names, directly or by its subnet, or "". A token counts only in that zone."""
    subnet = call.parameters.get("SubnetId") or call.parameters.get("NetworkInterface.1.SubnetId", "")
    if subnet:
        found = world.boto("ec2", call.region).describe_subnets(Filters=[{"Name": "subnet-id", "Values": [subnet]}])[
            "Subnets"
        ]
        return str(found[0]["AvailabilityZone"]) if found else ""
    return str(call.parameters.get("Placement.AvailabilityZone") or call.parameters.get("AvailabilityZone", ""))


def _ended(world: World, call: Call, answer: Answer) -> bool:
    document = Document(answer)
    ids = [document.text("instanceId", item) for item in document.find_all("instancesSet/item")]
    return all(each["State"]["Name"] == "terminated" for each in world.instances(call.region, ids).values())


def launch(world: World, call: Call, proceed: Proceed) -> Answer:
    answer = proceed(call)
    if answer.ok:
        document = Document(answer)
        world.began("launch", *(document.text("instanceId", item) for item in document.find_all("instancesSet/item")))
    return answer


def death(world: World, call: Call, proceed: Proceed) -> Answer:
    """The launch is accepted, and answered as any other."""
    answer = proceed(call)
    if answer.ok and world.settings.doomed & {call.parameters.get("ImageId", ""), "*"}:
        document = Document(answer)
        ids = [document.text("instanceId", item) for item in document.find_all("instancesSet/item")]
        world.boto("ec2", call.region).terminate_instances(InstanceIds=ids)
        world.died.update(ids)
    return answer


def protection(world: World, call: Call, proceed: Proceed) -> Answer:
    """An instance is protected as its launch template says."""
    answer = proceed(call)
    template = call.parameters.get("LaunchTemplate.LaunchTemplateId")
    if not answer.ok or not template:
        return answer
    ec2, document = world.boto("ec2", call.region), Document(answer)
    ids = [document.text("instanceId", item) for item in document.find_all("instancesSet/item")]
    data = ec2.describe_launch_template_versions(
        LaunchTemplateId=template, Versions=[call.parameters["LaunchTemplate.Version"]]
    )["LaunchTemplateVersions"][0]["LaunchTemplateData"]
    if data.get("DisableApiTermination"):
        world.protected.update(dict.fromkeys(ids, "disableApiTermination"))
    if data.get("DisableApiStop"):
        world.protected.update(dict.fromkeys(ids, "disableApiStop"))
    return answer


def protected(world: World, call: Call, proceed: Proceed) -> Answer:
    """Protection against being stopped is also protection against being terminated."""
    stops = call.action == "StopInstances"
    for one in call.listed("InstanceId"):
        attribute = world.protected.get(one)
        if attribute and (attribute == "disableApiStop" or not stops):
            return refusal(
                call,
                400,
                "OperationNotPermitted",
                f"The instance '{one}' may not be {'stopped' if stops else 'terminated'}. Modify its '{attribute}' "
                "instance attribute and try again.",
            )
    return proceed(call)


def disks(world: World, call: Call, proceed: Proceed) -> Answer:
    """A mapping that names a device of the AMI overrides only what it sets."""
    added = {}
    for name, device in call.parameters.items():
        at = name.removesuffix(".DeviceName")
        sized = {f"{at}.Ebs.VolumeSize", f"{at}.Ebs.SnapshotId"} & {*call.parameters}
        if (
            name.startswith("BlockDeviceMapping.")
            and at != name
            and not sized
            and f"{at}.Ebs.Encrypted" in call.parameters
        ):
            found = world.boto("ec2", call.region).describe_images(ImageIds=[call.parameters["ImageId"]])["Images"]
            own = {one.get("RootDeviceName") for one in found}
            own |= {each["DeviceName"] for one in found for each in one["BlockDeviceMappings"]}
            added.update({f"{at}.Ebs.VolumeSize": "8"} if device in own else {})
    return proceed(replace(call, parameters={**call.parameters, **added}) if added else call)


def capacity(world: World, call: Call, proceed: Proceed) -> Answer:
    if not world.settings.no_capacity:
        return proceed(call)
    if (zone_name := zone(world, call)) in world.settings.no_capacity:
        message = f"We currently do not have sufficient capacity in the Availability Zone you requested ({zone_name})."
        return refusal(call, 500, "InsufficientInstanceCapacity", message)
    return proceed(call)


def user_data(world: World, call: Call, proceed: Proceed) -> Answer:
    if len(base64.b64decode(call.parameters.get("UserData", ""))) > USER_DATA:
        return refusal(call, 400, "InvalidParameterValue", f"User data is limited to {USER_DATA} bytes")
    return proceed(call)


def template_user_data(world: World, call: Call, proceed: Proceed) -> Answer:
    if len(base64.b64decode(call.parameters.get("LaunchTemplateData.UserData", ""))) > USER_DATA:
        return refusal(call, 400, "InvalidUserData.Malformed", f"User data is limited to {USER_DATA} bytes.")
    return proceed(call)


def profile(world: World, call: Call, proceed: Proceed) -> Answer:
    answer = proceed(call)
    if not answer.ok and "NoSuchEntity" in answer.text:
        name = call.parameters.get("IamInstanceProfile.Name") or call.parameters.get("IamInstanceProfile.Arn", "")
        message = f"Value ({name}) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name"
        return refusal(call, 400, "InvalidParameterValue", message)
    return answer


def start(world: World, call: Call, proceed: Proceed) -> Answer:
    ids = call.listed("InstanceId")
    for one, each in world.instances(call.region, ids).items():
        if (state := each["State"]["Name"]) in ("stopping", "shutting-down", "terminated"):
            return refusal(
                call,
                400,
                "IncorrectInstanceState",
                f"The instance '{one}' is not in a state from which it can be started ({state}).",
            )
    answer = proceed(call)
    if answer.ok:
        world.began("launch", *ids)
        for one in ids:
            world.ending.pop(one, None)
            world.since.pop(("forced", one), None)
    return answer


def end(world: World, call: Call, proceed: Proceed) -> Answer:
    """StopInstances and TerminateInstances. An instance keeps its volumes until it is down."""
    kind = "stopping" if call.action == "StopInstances" else "shutting-down"
    ids = call.listed("InstanceId")
    before = world.instances(call.region, ids)
    for one, each in before.items():
        if kind == "stopping" and (state := each["State"]["Name"]) in ("shutting-down", "terminated"):
            return refusal(
                call,
                400,
                "IncorrectInstanceState",
                f"The instance '{one}' is not in a state from which it can be stopped ({state}).",
            )
    forced = call.parameters.get("Force") == "true" or call.action == "TerminateInstances"
    answer = proceed(call)
    if not answer.ok:
        return answer
    for one in ids:
        state = before[one]["State"]["Name"]
        if forced and state == "stopping" and world.settings.hung & {one, "*"}:
            world.began("forced", one)
            world.began("ending", one)
        if state in ("pending", "running") or (kind == "shutting-down" and state in ("stopping", "stopped")):
            world.ending[one] = kind
            world.began("ending", one)
            if kind == "shutting-down":
                world.began("forced", one)
                kept = {
                    each["Ebs"]["VolumeId"]: (one, each["DeviceName"])
                    for each in before[one].get("BlockDeviceMappings", [])
                }
                world.held.update(kept)
    return answer


def states(world: World, call: Call, proceed: Proceed) -> Answer:
    """DescribeInstances: transitional states, instances that are not visible yet, and the filters that moto lacks."""
    filters = call.filters()
    own = {name: values for name, values in filters.items() if name in OWN_FILTERS}
    if own:
        call = call.with_filters({name: values for name, values in filters.items() if name not in OWN_FILTERS})
    answer = proceed(call)
    if not answer.ok:
        return answer
    document = Document(answer)
    hidden = []
    for item in document.find_all(ITEMS):
        one = document.text("instanceId", item)
        name = world.state(one, document.text("instanceState/name", item))
        document.set_text("instanceState/name", name, item)
        document.set_text("instanceState/code", CODES[name], item)
        reason = LOST if one in world.lost else DIED if one in world.died and name == "terminated" else None
        if reason:
            document.set_text("stateReason/code", reason[0], item)
            document.set_text("stateReason/message", ": ".join(reason), item)
        if name == "terminated" and _forgotten(world, one, by_tag=any(key.startswith("tag:") for key in filters)):
            hidden.append(one)
        values_of = {"instance-state-name": name, "client-token": document.text("clientToken", item)}
        if any(values_of[key] not in values for key, values in own.items()):
            hidden.append(one)
        elif world.within("launch", one, world.settings.visible):
            if one in call.listed("InstanceId"):
                return refusal(call, 400, "InvalidInstanceID.NotFound", f"The instance ID '{one}' does not exist")
            hidden.append(one)
    for parent, item in list(document.with_parents(ITEMS)):
        if document.text("instanceId", item) in hidden:
            parent.remove(item)
    for parent, item in list(document.with_parents("reservationSet/item")):
        if not document.find_all("instancesSet/item", item):
            parent.remove(item)
    return document.to_answer()


def _forgotten(world: World, one: str, by_tag: bool) -> bool:
    """Whether a terminated instance is no longer visible: at all, or by its tags."""
    world.since.setdefault(("terminated", one), world.settings.now())
    return not world.within("terminated", one, min(VISIBLE, world.settings.tags_kept) if by_tag else VISIBLE)


def console(world: World, call: Call, proceed: Proceed) -> Answer:
    answer = proceed(call)
    if not answer.ok:
        return answer
    one = call.parameters["InstanceId"]
    document = Document(answer)
    document.set_text("output", base64.b64encode(_printed(world, call.region, one).encode()).decode(), document.root)
    return document.to_answer()


def _printed(world: World, region: str, one: str) -> str:
    instance, settings = world.instance(region, one), world.settings
    if instance["State"]["Name"] == "pending" or world.within("launch", one, settings.launch + settings.console_delay):
        return ""
    if settings.dead & {instance["ImageId"], "*"}:
        return (
            "[    0.000000] Linux version 6.1.0\n[    2.1] Kernel panic - not syncing: VFS: Unable to mount root fs\n"
        )
    tags = {tag["Key"]: tag["Value"] for tag in instance.get("Tags", [])}
    if settings.console:
        text = user_data_of(world.boto("ec2", region), one)
        return settings.console(one, {**tags, "ImageId": instance["ImageId"], "UserData": text})
    nonce = nonce_in(raw_user_data_of(world.boto("ec2", region), one))
    if nonce is None:
        return (
            f'[    0.000000] Linux version 6.1.0\n{UNSEALED}{{"reason":"launch: user-data: not a launch document"}}\n'
        )
    return f"[    0.000000] Linux version 6.1.0\n{MARK}{json.dumps(evidence_of(world, instance, nonce))}\n"


def evidence_of(world: World, described: dict[str, Any], nonce: str) -> dict[str, str]:
    """What an instance reports when it has sealed itself."""
    tags = {tag["Key"]: tag["Value"] for tag in described.get("Tags", [])}
    return {
        "digest": tags.get(key_of(IMAGE), ""),
        "nonce": nonce,
        "host_key": world.settings.host_key,
        "shell": world.settings.shell,
    }


def user_data_of(ec2: Any, instance: str) -> str:
    """The user data of an instance as text."""
    return raw_user_data_of(ec2, instance).decode("utf-8", "replace")


def raw_user_data_of(ec2: Any, instance: str) -> bytes:
    """The user data of an instance, without its base64."""
    described = ec2.describe_instance_attribute(InstanceId=instance, Attribute="userData")
    return base64.b64decode(described.get("UserData", {}).get("Value", ""))


def nonce_in(user_data: bytes) -> str | None:
    """The nonce in a launch document, which the guest repeats. None if the user data is no such document."""
    return member_of(user_data, "nonce")


def member_of(user_data: bytes, name: str) -> str | None:
    """A file of a launch document as text. None if there is none, or if the user data is no such document."""
    try:
        with tarfile.open(fileobj=io.BytesIO(user_data), mode="r:gz") as archive:
            member = archive.extractfile(name)
            return member.read().decode().strip() if member else None
    except (tarfile.TarError, OSError, EOFError, KeyError):
        return None
