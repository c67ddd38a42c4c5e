# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Volumes, snapshots and images: attaching, modifying, copying."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .answers import Answer, refusal
from .calls import Call
from .documents import Document
from .proxy import Proceed
from .requests import tags_of
from .world import World

DAY = 24 * 3600.0
MODIFICATIONS = 4  # of a volume in a day


def _volume(world: World, call: Call) -> dict[str, Any]:
    found = world.boto("ec2", call.region).describe_volumes(
        Filters=[{"Name": "volume-id", "Values": [call.parameters["VolumeId"]]}]
    )["Volumes"]
    return dict(found[0]) if found else {}


def _holder_shutting_down(world: World, volume: str) -> str:
    """The instance that keeps the volume until it is down, or ""."""
    instance, _device = world.held.get(volume, ("", ""))
    return instance if instance and world.state(instance, "terminated") == "shutting-down" else ""


def attach(world: World, call: Call, proceed: Proceed) -> Answer:
    volume, wanted = call.parameters["VolumeId"], call.parameters["InstanceId"]
    described, instance = _volume(world, call), world.instance(call.region, wanted)
    if not described or not instance:
        return proceed(call)
    if attached := [each["InstanceId"] for each in described["Attachments"]] or list(
        filter(None, [_holder_shutting_down(world, volume)])
    ):
        return refusal(call, 400, "VolumeInUse", f"{volume} is already attached to an instance ({attached[0]})")
    if described["AvailabilityZone"] != instance["Placement"]["AvailabilityZone"]:
        return refusal(
            call,
            400,
            "InvalidVolume.ZoneMismatch",
            f"The volume '{volume}' is not in the same availability zone as instance '{wanted}'",
        )
    if world.within("volume", volume, world.settings.volume):
        return refusal(call, 400, "IncorrectState", f"The volume '{volume}' is not 'available' (it is 'creating').")
    state = instance["State"]["Name"]
    if state not in ("running", "stopped"):
        return refusal(call, 400, "IncorrectState", f"Instance '{wanted}' is not 'running' (it is '{state}').")
    if call.parameters.get("Device") in [each["DeviceName"] for each in instance["BlockDeviceMappings"]]:
        device = call.parameters["Device"]
        return refusal(
            call,
            400,
            "InvalidParameterValue",
            f"Invalid value '{device}' for unixDevice. Attachment point {device} is already in use",
        )
    return proceed(call)


def detach(world: World, call: Call, proceed: Proceed) -> Answer:
    described = _volume(world, call)
    if described and not described["Attachments"]:
        return refusal(
            call, 400, "IncorrectState", f"Volume '{call.parameters['VolumeId']}' is in the 'available' state."
        )
    if described and "InstanceId" not in call.parameters:  # AWS knows it; moto fails without it
        call = replace(call, parameters={**call.parameters, "InstanceId": described["Attachments"][0]["InstanceId"]})
    return proceed(call)


def delete(world: World, call: Call, proceed: Proceed) -> Answer:
    if holder := _holder_shutting_down(world, call.parameters["VolumeId"]):
        return refusal(
            call, 400, "VolumeInUse", f"Volume {call.parameters['VolumeId']} is currently attached to {holder}"
        )
    return proceed(call)


# GiB, operations per second, operations for each GiB, MiB per second
LIMITS = {
    "gp3": ((1, 65536), (3000, 80000), 500, (125, 2000)),
    "gp2": ((1, 16384), (0, 0), 0, (0, 0)),
    "io1": ((4, 16384), (100, 64000), 50, (0, 0)),
    "io2": ((4, 65536), (100, 256000), 1000, (0, 0)),
    "st1": ((125, 16384), (0, 0), 0, (0, 0)),
    "sc1": ((125, 16384), (0, 0), 0, (0, 0)),
    "standard": ((1, 1024), (0, 0), 0, (0, 0)),
}


def limits(world: World, call: Call, proceed: Proceed) -> Answer:
    before = _volume(world, call) if call.action == "ModifyVolume" else {}
    kind = call.parameters.get("VolumeType") or before.get("VolumeType", "gp2")
    size = int(call.parameters.get("Size") or before.get("Size", 1))
    sizes, iops, ratio, throughput = LIMITS[kind]
    most = min(iops[1], max(ratio * size, 3000 * (kind == "gp3")))
    for name, value, (low, high) in (
        ("size", size, sizes),
        (
            "iops",
            int(call.parameters.get("Iops", 0)),
            (iops[0], most),
        ),
        ("throughput", int(call.parameters.get("Throughput", 0)), throughput),
    ):
        if value and not low <= value <= high:
            message = f"Volume {name} of {value} is invalid; for the type {kind} it must be from {low} to {high}"
            return refusal(call, 400, "InvalidParameterValue", message)
    return proceed(call)


def create(world: World, call: Call, proceed: Proceed) -> Answer:
    return _begin("volume", world, proceed(call), state="creating" if world.settings.volume else "")


def _begin(kind: str, world: World, answer: Answer, state: str) -> Answer:
    """Note when a volume or snapshot was created. ``state``: its state in the answer; "" for moto's."""
    if not answer.ok:
        return answer
    document = Document(answer)
    world.began(kind, document.text(f"{kind}Id"))
    if state:
        document.set_text("status", state, document.root)
    return document.to_answer()


def describe(world: World, call: Call, proceed: Proceed) -> Answer:
    answer = proceed(call)
    if not answer.ok:
        return answer
    document = Document(answer)
    for parent, item in list(document.with_parents("volumeSet/item")):
        volume = document.text("volumeId", item)
        if world.within("volume", volume, world.settings.visible) and volume not in call.listed("VolumeId"):
            parent.remove(item)
        elif world.within("volume", volume, world.settings.volume):
            document.set_text("status", "creating", item)
        elif holder := _holder_shutting_down(world, volume):
            document.set_text("status", "in-use", item)
            for name, value in (
                ("volumeId", volume),
                ("instanceId", holder),
                ("device", world.held[volume][1]),
                ("status", "attached"),
            ):
                document.set_text(f"attachmentSet/item/{name}", value, item)
    return document.to_answer()


def modify(world: World, call: Call, proceed: Proceed) -> Answer:
    volume, described = call.parameters["VolumeId"], _volume(world, call)
    if described and int(call.parameters.get("Size", described["Size"])) < described["Size"]:
        return refusal(call, 400, "InvalidParameterValue", "New size cannot be smaller than existing size")
    if world.within("modify", volume, world.settings.modify):
        return refusal(
            call,
            400,
            "IncorrectModificationState",
            f"Volume {volume} cannot be modified in modification state OPTIMIZING",
        )
    recent = [began for began in world.modified.get(volume, []) if world.settings.now() - began < DAY]
    if len(recent) >= MODIFICATIONS:
        return refusal(
            call,
            400,
            "VolumeModificationRateExceeded",
            f"The maximum modification rate of the volume {volume} is reached.",
        )
    answer = proceed(call)
    if answer.ok:
        world.began("modify", volume)
        world.modified[volume] = [*recent, world.settings.now()]
        return _modifying(world, Document(answer), "volumeModification", state="modifying")
    return answer


def modifications(world: World, call: Call, proceed: Proceed) -> Answer:
    """The latest modification of each volume. moto returns all of them."""
    answer = proceed(call)
    if not answer.ok:
        return answer
    document = Document(answer)
    items = list(document.with_parents("volumeModificationSet/item"))
    latest = {document.text("volumeId", item): item for _parent, item in items}
    for parent, item in items:
        if latest[document.text("volumeId", item)] is not item:
            parent.remove(item)
    return _modifying(world, document, "volumeModificationSet/item")


def _modifying(world: World, document: Document, path: str, state: str = "optimizing") -> Answer:
    for item in document.find_all(path):
        if world.within("modify", document.text("volumeId", item), world.settings.modify):
            document.set_text("modificationState", state, item)
            document.set_text("progress", "50", item)
            for each in document.find_all("endTime", item):
                item.remove(each)
    return document.to_answer()


def snapshot(world: World, call: Call, proceed: Proceed) -> Answer:
    return _begin("snapshot", world, proceed(call), state="pending" if world.settings.snapshot else "")


def snapshots(world: World, call: Call, proceed: Proceed) -> Answer:
    answer = proceed(call)
    if not answer.ok:
        return answer
    document = Document(answer)
    for item in document.find_all("snapshotSet/item"):
        if world.within("snapshot", document.text("snapshotId", item), world.settings.snapshot):
            document.set_text("status", "pending", item)
            document.set_text("progress", "50%", item)
    return document.to_answer()


def image(world: World, call: Call, proceed: Proceed) -> Answer:
    """CreateImage, CopyImage, RegisterImage: names are unique, copies get their tags, and images start as pending."""
    ec2 = world.boto("ec2", call.region)
    name = call.parameters.get("Name", "")
    if (
        call.action != "CopyImage"
        and ec2.describe_images(Owners=["self"], Filters=[{"Name": "name", "Values": [name]}])["Images"]
    ):
        return refusal(call, 400, "InvalidAMIName.Duplicate", f"AMI name {name} is already in use by another AMI")
    answer = proceed(call)
    if not answer.ok:
        return answer
    made = Document(answer).text("imageId")
    world.began("image", made)
    world.architectures[made] = call.parameters.get("Architecture", "x86_64")
    if call.action == "CopyImage":
        world.encrypted.update([made] if call.parameters.get("Encrypted") == "true" else [])
        described = ec2.describe_images(ImageIds=[made])["Images"][0]
        for kind, resources in (("image", [made]), ("snapshot", list(_snapshots(described)))):
            if tags := tags_of(call, kind):
                ec2.create_tags(Resources=resources, Tags=[{"Key": key, "Value": value} for key, value in tags.items()])
    return answer


def images(world: World, call: Call, proceed: Proceed) -> Answer:
    """DescribeImages.

    moto gives a root device the type "standard", which on AWS is a type of volume. It forgets that a copy is encrypted
    and which architecture an image was registered for.
    """
    answer = proceed(call)
    if not answer.ok:
        return answer
    document = Document(answer)
    for item in document.find_all("imagesSet/item"):
        one = document.text("imageId", item)
        document.set_text("rootDeviceType", "ebs", item)
        document.set_text(
            "architecture", document.text("architecture", item) or world.architectures.get(one, "x86_64"), item
        )
        if world.within("image", one, world.settings.image):
            document.set_text("imageState", "pending", item)
        for disk in document.find_all("blockDeviceMapping/item/ebs", item):
            document.set_text(
                "encrypted", "true" if one in world.encrypted else document.text("encrypted", disk) or "false", disk
            )
    return document.to_answer()


def deregister(world: World, call: Call, proceed: Proceed) -> Answer:
    """Delete the image's snapshots too, if requested and no other image uses them."""
    ec2 = world.boto("ec2", call.region)
    images = {each["ImageId"]: _snapshots(each) for each in ec2.describe_images(Owners=["self"])["Images"]}
    answer = proceed(call)
    if answer.ok and call.parameters.get("DeleteAssociatedSnapshots") == "true":
        own = images.pop(call.parameters["ImageId"], set())
        for one in own - set().union(*images.values()):
            ec2.delete_snapshot(SnapshotId=one)
    return answer


def _snapshots(image: dict[str, Any]) -> set[str]:
    return {disk["Ebs"]["SnapshotId"] for disk in image["BlockDeviceMappings"] if disk.get("Ebs", {}).get("SnapshotId")}


def template_version(world: World, call: Call, proceed: Proceed) -> Answer:
    """A new version inherits from its source version what it does not set."""
    if not (source := call.parameters.get("SourceVersion")):
        return proceed(call)
    template = {
        name: call.parameters[name] for name in ("LaunchTemplateId", "LaunchTemplateName") if name in call.parameters
    }
    found = world.boto("ec2", call.region).describe_launch_template_versions(Versions=[source], **template)[
        "LaunchTemplateVersions"
    ]
    before = _flat("LaunchTemplateData", found[0]["LaunchTemplateData"]) if found else {}
    given = {name.split(".")[1] for name in call.parameters if name.startswith("LaunchTemplateData.")}
    kept = {name: value for name, value in before.items() if name.split(".")[1] not in given}
    return proceed(replace(call, parameters={**kept, **call.parameters}))


SINGULAR = {
    "SecurityGroupIds": "SecurityGroupId",
    "TagSpecifications": "TagSpecification",
    "BlockDeviceMappings": "BlockDeviceMapping",
    "NetworkInterfaces": "NetworkInterface",
    "SecurityGroups": "SecurityGroup",
    "Tags": "Tag",
    "Groups": "SecurityGroupId",
}


def _flat(name: str, value: Any) -> dict[str, str]:
    """Nested data as the parameters of a query call."""
    if isinstance(value, dict):
        pairs = [
            _flat(f"{name}.{SINGULAR.get(key, key) if isinstance(below, list) else key}", below)
            for key, below in value.items()
        ]
    elif isinstance(value, list):
        pairs = [_flat(f"{name}.{number}", below) for number, below in enumerate(value, 1)]
    else:
        return {name: str(value).lower() if isinstance(value, bool) else str(value)}
    return {key: text for pair in pairs for key, text in pair.items()}
