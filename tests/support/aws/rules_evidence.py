# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hosts that put their evidence into a bucket, with the identity document that EC2 gives them."""

from __future__ import annotations

import base64
import json
import re
import urllib.parse
from collections.abc import Sequence
from typing import Any

from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2.identity import arn_of

from .answers import Answer
from .calls import Call
from .documents import Document
from .proxy import Proceed
from .rules_instances import evidence_of, member_of, nonce_in, raw_user_data_of
from .world import World

NO_IMAGE = "sha256:0"  # the digest that a script of tests/aws-live reports


def profiles(world: World, call: Call, proceed: Proceed) -> Answer:
    """Give the instance profile to all instances of a launch. moto gives it to the first one."""
    answer, name = proceed(call), call.parameters.get("IamInstanceProfile.Name")
    if answer.ok and name:
        document = Document(answer)
        ids = [document.text("instanceId", item) for item in document.find_all("instancesSet/item")]
        share_profile(world.boto("ec2", call.region), ids, name)
    return answer


def share_profile(ec2: Any, ids: Sequence[str], name: str) -> None:
    having = ec2.describe_iam_instance_profile_associations(Filters=[{"Name": "instance-id", "Values": list(ids)}])
    known = {each["InstanceId"] for each in having["IamInstanceProfileAssociations"]}
    for one in ids:
        if one not in known:
            ec2.associate_iam_instance_profile(InstanceId=one, IamInstanceProfile={"Name": name})


def put_evidence(world: World, call: Call, proceed: Proceed) -> Answer:
    """Let each host whose boot is complete put its object, once for each boot, before the list is answered."""
    if "/hosts/" in f"/{call.parameters.get('prefix', '')}":
        for page in world.boto("ec2", call.region).describe_instances()["Reservations"]:
            for described in page["Instances"]:
                _boot(world, call.region, described)
    return proceed(call)


def _boot(world: World, region: str, described: dict[str, Any]) -> None:
    one, settings = described["InstanceId"], world.settings
    boot = (one, world.since.get(("launch", one), 0.0))
    booting = world.within("launch", one, settings.launch + settings.console_delay)
    dead = settings.dead & {described["ImageId"], "*"}
    if world.state(one, described["State"]["Name"]) != "running" or booting or dead or boot in world.reported:
        return
    document = _document_in(raw_user_data_of(world.boto("ec2", region), one))
    place = member_of(document, "evidence.json")
    if place is None:
        return
    world.reported.add(boot)
    bucket, prefix = _bucket_of(json.loads(place)["url"])
    identity = identity_document(described, region)
    evidence = evidence_of(world, described, nonce_in(document) or "")
    body = {
        "evidence": {**evidence, "digest": evidence["digest"] or NO_IMAGE},
        "document": identity,
        "rsa2048": settings.sign(identity),
    }
    key = prefix + arn_of(described, region)
    world.boto("s3", region).put_object(Bucket=bucket, Key=key, Body=json.dumps(body).encode())


def _document_in(user_data: bytes) -> bytes:
    """The launch document itself, or the one within a script of tests/aws-live."""
    found = re.search(rb'^DOCUMENT="([A-Za-z0-9+/=]+)"$', user_data, re.MULTILINE)
    return base64.b64decode(found[1]) if found else user_data


def _bucket_of(url: str) -> tuple[str, str]:
    """The bucket, which is the first label of a host of AWS, else the first part of the path; and the prefix."""
    parts = urllib.parse.urlsplit(url)
    if parts.netloc.endswith(".amazonaws.com"):
        return parts.netloc.partition(".")[0], parts.path.lstrip("/")
    bucket, _slash, prefix = parts.path.lstrip("/").partition("/")
    return bucket, prefix


def identity_document(described: dict[str, Any], region: str) -> str:
    """https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-identity-documents.html."""
    return json.dumps(
        {
            "accountId": arn_of(described, region).split(":")[4],
            "architecture": described.get("Architecture", "x86_64"),
            "availabilityZone": described["Placement"]["AvailabilityZone"],
            "billingProducts": None,
            "devpayProductCodes": None,
            "marketplaceProductCodes": None,
            "imageId": described["ImageId"],
            "instanceId": described["InstanceId"],
            "instanceType": described["InstanceType"],
            "kernelId": None,
            "pendingTime": described["LaunchTime"].strftime("%Y-%m-%dT%H:%M:%SZ"),
            "privateIp": described.get("PrivateIpAddress"),
            "ramdiskId": None,
            "region": region,
            "version": "2017-09-30",
        },
        indent=2,
    )
