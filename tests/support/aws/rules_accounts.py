# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Images and keys that one account shares with another. moto keeps its accounts apart."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

from .answers import REQUEST_ID, Answer, refusal
from .calls import Call
from .documents import Document
from .proxy import Proceed
from .requests import ACCOUNT, tags_of
from .world import World

DEFAULT_KEY = "alias/aws/ebs"
SPACE = "http://ec2.amazonaws.com/doc/2016-11-15/"
COPYING = ("Decrypt", "CreateGrant", "DescribeKey")  # of the operations that a copy needs


@functools.cache
def _client(service: str, region: str, url: str, access_key: str) -> Any:
    import boto3

    return boto3.client(
        service,
        region_name=region,
        endpoint_url=url,
        aws_access_key_id=access_key,
        aws_secret_access_key="of nobody",  # noqa: S106  moto checks no signatures
    )


def as_caller(world: World, call: Call, service: str, region: str = "") -> Any:
    """A client past the proxy, with the identity of the caller."""
    url = str(world.boto(service, region or call.region).meta.endpoint_url)
    return _client(service, region or call.region, url, call.access_key)


def caller(world: World, call: Call) -> tuple[str, str]:
    """The account and the name of the role that calls, "" without a role."""
    if not call.access_key.startswith("ASIA"):  # of temporary credentials
        return ACCOUNT, ""
    found = as_caller(world, call, "sts").get_caller_identity()
    kind, _slash, rest = str(found["Arn"]).rpartition(":")[2].partition("/")
    return str(found["Account"]), rest.partition("/")[0] if kind == "assumed-role" else ""


def _permitted(ec2: Any, ami: str, account: str) -> bool:
    permissions = ec2.describe_image_attribute(ImageId=ami, Attribute="launchPermission")["LaunchPermissions"]
    return account in [each.get("UserId") for each in permissions]


def _snapshots(image: Mapping[str, Any]) -> list[str]:
    return [disk["Ebs"]["SnapshotId"] for disk in image["BlockDeviceMappings"]]


def shared_images(world: World, call: Call, proceed: Proceed) -> Answer:
    """DescribeImages in another account: with the images that the first account shares."""
    answer = proceed(call)
    account, _role = caller(world, call)
    wanted = {*call.listed("ImageId"), *call.filters().get("image-id", ())}
    if account == ACCOUNT or not answer.ok or not wanted or "self" in call.listed("Owner"):
        return answer
    ec2, document = world.boto("ec2", call.region), Document(answer)
    [images] = document.find_all("imagesSet")
    for image in ec2.describe_images(Filters=[{"Name": "image-id", "Values": sorted(wanted)}])["Images"]:
        if not _permitted(ec2, image["ImageId"], account):
            continue
        item = ElementTree.SubElement(images, f"{document.space}item")
        texts = {
            "imageId": image["ImageId"],
            "imageOwnerId": ACCOUNT,
            "imageState": "available",
            "name": image.get("Name", ""),
            "architecture": world.architectures.get(image["ImageId"], "x86_64"),
            "rootDeviceName": image.get("RootDeviceName", ""),
        }
        for path, text in texts.items():
            document.set_text(path, text, item)
    return document.to_answer()


def copy_shared(world: World, call: Call, proceed: Proceed) -> Answer:
    """CopyImage in another account, of an image of the first one."""
    account, role = caller(world, call)
    source, region = call.parameters["SourceImageId"], call.parameters["SourceRegion"]
    ec2 = world.boto("ec2", region)
    found = ec2.describe_images(Filters=[{"Name": "image-id", "Values": [source]}])["Images"]
    if account == ACCOUNT or not found:
        return proceed(call)
    if problem := _unreadable(world, found[0], (region, account, role)):
        return refusal(call, 400, *problem)
    own = as_caller(world, call, "ec2")
    image = {key: found[0][key] for key in ("Architecture", "RootDeviceName") if found[0].get(key)}
    made = own.register_image(Name=call.parameters["Name"], **image)["ImageId"]
    world.encrypted.update([made] if call.parameters.get("Encrypted") == "true" else [])
    described = own.describe_images(ImageIds=[made])["Images"][0]
    for kind, resources in (("image", [made]), ("snapshot", _snapshots(described))):
        if tags := tags_of(call, kind):
            own.create_tags(Resources=resources, Tags=[{"Key": key, "Value": value} for key, value in tags.items()])
    body = f'<CopyImageResponse xmlns="{SPACE}"><requestId>{REQUEST_ID}</requestId><imageId>{made}</imageId>'
    return Answer(200, f"{body}</CopyImageResponse>".encode(), {"Content-Type": "text/xml"})


def _unreadable(world: World, image: Mapping[str, Any], place: tuple[str, str, str]) -> tuple[str, str] | None:
    """Why another account cannot read an image: AWS's code and message."""
    region, account, role = place
    ec2, ami = world.boto("ec2", region), image["ImageId"]
    if not _permitted(ec2, ami, account):
        return "InvalidAMIID.NotFound", f"The image id '[{ami}]' does not exist"
    for snapshot in _snapshots(image):
        found = ec2.describe_snapshot_attribute(SnapshotId=snapshot, Attribute="createVolumePermission")
        if account not in [each.get("UserId") for each in found["CreateVolumePermissions"]]:
            return "InvalidRequest", "You do not have permission to access the storage of this ami"
        key = world.keys.get(snapshot)
        if key and not _granted(world, key, role, COPYING):
            return "InvalidRequest", "The storage for the ami is not available in the source Region."
    return None


def share(world: World, call: Call, proceed: Proceed) -> Answer:
    """ModifyImageAttribute and ModifySnapshotAttribute: not with the account's default key.

    The errors are those that users of Packer quote, see https://github.com/hashicorp/packer/issues/7410 and 7499.
    """
    ec2, parameters = world.boto("ec2", call.region), call.parameters
    if parameters.get("OperationType") != "add" and not any(".Add." in name for name in parameters):
        return proceed(call)
    snapshots = [parameters["SnapshotId"]] if "SnapshotId" in parameters else []
    if "ImageId" in parameters:
        snapshots = _snapshots(ec2.describe_images(ImageIds=[parameters["ImageId"]])["Images"][0])
    own = {
        one: each.get("KmsKeyId", DEFAULT_KEY)  # moto does not name it
        for one in snapshots
        for each in _described(ec2, one)
        if each.get("Encrypted")
    }
    keys = {**own, **world.keys}
    for key in (keys[one] for one in snapshots if one in keys):
        if (
            key.rpartition(":")[2] == f"{DEFAULT_KEY}"
            or key == world.boto("kms", call.region).describe_key(KeyId=DEFAULT_KEY)["KeyMetadata"]["Arn"]
        ):
            if "ImageId" in parameters:
                text = "Snapshots encrypted with the AWS Managed CMK can't be shared. Specify another snapshot."
                return refusal(call, 400, "InvalidParameter", text)
            text = "Encrypted snapshots with EBS default key cannot be shared"
            return refusal(call, 400, "OperationNotPermitted", text)
    return proceed(call)


def _described(ec2: Any, snapshot: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ec2.describe_snapshots(SnapshotIds=[snapshot])["Snapshots"]
    return found


def snapshot_keys(world: World, call: Call, proceed: Proceed) -> Answer:
    """DescribeSnapshots."""
    answer = proceed(call)
    if not answer.ok or not world.keys:
        return answer
    document = Document(answer)
    for item in document.find_all("snapshotSet/item"):
        if key := world.keys.get(document.text("snapshotId", item)):
            document.set_text("encrypted", "true", item)
            document.set_text("kmsKeyId", key, item)
    return document.to_answer()


def _grants(world: World, key: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = world.boto("kms", key.split(":")[3]).list_grants(KeyId=key)["Grants"]
    return found


def _granted(world: World, key: str, role: str, operations: tuple[str, ...]) -> bool:
    """Whether a role may use a key. A role that ``deaf`` names has no policy of its own that allows it."""
    if role in world.settings.deaf:
        return False
    return any(
        each["GranteePrincipal"].endswith(f"role/{role}") and set(operations) <= set(each["Operations"])
        for each in _grants(world, key)
    )


def create_grant(world: World, call: Call, proceed: Proceed) -> Answer:
    """CreateGrant: the same grant once, and by a role of another account only with a grant of its own."""
    key, wanted = call.parameters["KeyId"], call.parameters
    account, role = caller(world, call)
    foreign = key.startswith("arn:") and key.split(":")[4] != account
    if foreign and not _granted(world, key, role, ("CreateGrant",)):
        return refusal(call, 400, "AccessDeniedException", f"not authorized to perform: kms:CreateGrant on {key}")
    for each in _grants(world, key) if wanted.get("Name") else ():
        same = [each.get(name) == wanted.get(name) for name in ("Name", "GranteePrincipal", "Operations")]
        if all(same):
            return _document({"GrantId": each["GrantId"], "GrantToken": "again"})
    if not foreign:
        return proceed(call)
    made = world.boto("kms", key.split(":")[3]).create_grant(**wanted)
    return _document({"GrantId": made["GrantId"], "GrantToken": made["GrantToken"]})


def describe_key(world: World, call: Call, proceed: Proceed) -> Answer:
    """DescribeKey. moto says of all keys that a customer manages them."""
    key = call.parameters["KeyId"]
    account, role = caller(world, call)
    if key.startswith("arn:") and key.split(":")[4] != account:
        if not _granted(world, key, role, ("DescribeKey",)):
            return refusal(call, 400, "AccessDeniedException", f"not authorized to perform: kms:DescribeKey on {key}")
        return _document({"KeyMetadata": {"KeyId": key.rpartition("/")[2], "Arn": key, "KeyManager": "CUSTOMER"}})
    answer = proceed(call)
    default = world.boto("kms", call.region).describe_key(KeyId=DEFAULT_KEY)["KeyMetadata"]["Arn"]
    found = json.loads(answer.body) if answer.ok else {}
    if found.get("KeyMetadata", {}).get("Arn") == default:
        found["KeyMetadata"]["KeyManager"] = "AWS"
        return answer.with_text(json.dumps(found))
    return answer


def _document(data: Mapping[str, Any]) -> Answer:
    return Answer(200, json.dumps(data).encode(), {"Content-Type": "application/x-amz-json-1.1"})
