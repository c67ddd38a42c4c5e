# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Images on AWS: an AMI, its copies in other regions, and the parameters of SSM that tell other tools which one to launch."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..._aws.amis import as_tags, harden, look, snapshots_of
from ..._aws.clients import Account, Clients, aws_errors, code_of
from ..._core.errors import ProviderError
from ..._image_model import amis_of
from .image_users import image_users, remove_image

AT_ONCE = 8  # regions
DELAY, TRIES = (
    15,
    240,
)  # seconds between two looks at a copy, and their number: a large image takes long to another continent
TAKEN, LOOK_AGAIN = 30.0, 1.0  # seconds for SSM to take a new value, and between two looks at it
PARAMETER = "/immutable/{}/ami"


class Ec2Images:
    """See ``providers.base.Images``.

    Args:
        account: in the region that images are baked in.
        encrypt: whether snapshots of copies are encrypted.
        delay: seconds between two looks at a copy.
        taken: seconds that SSM may need to take a parameter's new value.
    """

    def __init__(self, account: Account, encrypt: bool = True, delay: float = DELAY, taken: float = TAKEN) -> None:
        self._clients = Clients(account)
        self._encrypt = encrypt
        self._delay = delay
        self._taken = taken

    def build(self, architecture: str) -> str:
        return f"aws-{self._clients.account_id}-{architecture}"

    def present(self, artifact: Mapping[str, Any]) -> bool:
        if "ami" not in artifact:
            return False
        image = look(self._clients.in_region(artifact["region"]).ec2, artifact["ami"])
        return image is not None and image["State"] == "available"

    def copy(
        self, artifact: Mapping[str, Any], places: Mapping[str, str], tags: Mapping[str, str]
    ) -> Mapping[str, Any]:
        wanted = {region: key for region, key in places.items() if region != artifact["region"]}
        if not wanted:
            return artifact
        with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
            running = {region: pool.submit(self._copied, artifact, region, key, tags) for region, key in wanted.items()}
        return {
            **artifact,
            "copies": {**artifact.get("copies", {}), **{region: future.result() for region, future in running.items()}},
        }

    def users(self, artifacts: Sequence[Mapping[str, Any]], shared: bool = True) -> Sequence[Sequence[str]]:
        return image_users(self._clients, artifacts, shared)

    def remove(self, artifact: Mapping[str, Any]) -> None:
        remove_image(self._clients, artifact)

    def publish(self, name: str, artifact: Mapping[str, Any], *, check: bool = False) -> Mapping[str, str]:
        """``name``: ``<service>/<channel>``. In each region that has the AMI, the parameter ``/immutable/<service>/<channel>/ami``."""
        parameter, changed = PARAMETER.format(name), {}
        for region, ami in amis_of(artifact).items():
            ssm = self._clients.in_region(region).client("ssm")
            with aws_errors(doing=f"publishing {ami} in {region}"):
                before = _parameter(ssm, parameter)
                if before == ami:
                    continue
                changed[f"{parameter} in {region}"] = before
                if not check:
                    ssm.put_parameter(
                        Name=parameter, Value=ami, Type="String", DataType="aws:ec2:image", Overwrite=True
                    )
                    self._await(ssm, parameter, ami, region)
        return changed

    def _await(self, ssm: Any, parameter: str, ami: str, region: str) -> None:
        """SSM answers before it has looked at the AMI, and drops a value that it finds wrong without a word."""
        end = time.monotonic() + self._taken
        while _parameter(ssm, parameter) != ami:
            if time.monotonic() >= end:
                raise ProviderError(
                    f"{parameter} in {region} does not show {ami}: SSM did not take it within {self._taken:g} s "
                    "(it looks itself whether the AMI is there; who runs this needs ec2:DescribeImages for that). Run again to publish it"
                )
            time.sleep(LOOK_AGAIN)

    def _copied(self, artifact: Mapping[str, Any], region: str, key: str, tags: Mapping[str, str]) -> dict[str, Any]:
        """A copy is known by its name, which no other AMI of the account has: so one that a killed run began is found, and waited for."""
        ec2, name = self._clients.in_region(region).ec2, str(artifact["name"])
        with aws_errors(doing=f"copying {artifact['ami']} to {region}"):
            filters = [{"Name": "name", "Values": [name]}]
            found = [
                each
                for page in ec2.get_paginator("describe_images").paginate(Owners=["self"], Filters=filters)
                for each in page["Images"]
            ]
            begun = [each["ImageId"] for each in found if each["State"] in ("pending", "available")]
            ami = begun[0] if begun else self._begin(ec2, artifact, key, tags, failed=len(found))
            ec2.get_waiter("image_available").wait(
                ImageIds=[ami], WaiterConfig={"Delay": self._delay, "MaxAttempts": TRIES}
            )
            image = look(ec2, ami) or {"ImageId": ami}
            _tag(ec2, image, tags)
            harden(ec2, image)
        return {"ami": str(ami), "snapshots": snapshots_of(image)}

    def _begin(self, ec2: Any, artifact: Mapping[str, Any], key: str, tags: Mapping[str, str], failed: int) -> str:
        told_tags = as_tags(tags)
        # The token of a copy that failed would only name that one again.
        token = hashlib.sha256(f"{artifact['ami']} {ec2.meta.region_name} {failed}".encode()).hexdigest()
        specification = (
            [{"ResourceType": kind, "Tags": told_tags} for kind in ("image", "snapshot")] if told_tags else []
        )
        encryption = {"Encrypted": True, **({"KmsKeyId": key} if key else {})} if self._encrypt else {}
        made = ec2.copy_image(
            Name=artifact["name"],
            Description=f"copy of {artifact['ami']} of {artifact['region']}",
            SourceImageId=artifact["ami"],
            SourceRegion=artifact["region"],
            ClientToken=token,
            TagSpecifications=specification,
            **encryption,
        )
        return str(made["ImageId"])


def _tag(ec2: Any, image: Mapping[str, Any], tags: Mapping[str, str]) -> None:
    """Where the copy came without its tags."""
    present = {tag["Key"]: tag["Value"] for tag in image.get("Tags", ())}
    if any(present.get(name) != value for name, value in tags.items()):
        ec2.create_tags(Resources=[image["ImageId"], *snapshots_of(image)], Tags=as_tags(tags))


def _parameter(ssm: Any, name: str) -> str:
    """Its value, or "" where there is none."""
    from botocore.exceptions import ClientError

    try:
        return str(ssm.get_parameter(Name=name)["Parameter"]["Value"])
    except ClientError as error:
        if code_of(error) == "ParameterNotFound":
            return ""
        raise
