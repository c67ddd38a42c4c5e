# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Images on AWS: an AMI, its copies in other regions, and the SSM parameters that other tools launch from."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..._aws.amis import find_ami, require_imdsv2, snapshots_of, tag_list
from ..._aws.clients import Account, Clients, aws_errors, code_of
from ..._core.errors import ProviderError
from ..._image_model import amis_of
from .image_users import foreign_amis, image_users, remove_image
from .images_elsewhere import other_accounts, remove_elsewhere, users_elsewhere

MAX_REGIONS = 8  # copied to at the same time
# While a copy is pending: seconds between two reads, and their number. A large image takes long to another continent.
COPY_DELAY, COPY_READS = 15, 240
PUBLISH_TIMEOUT, PUBLISH_POLL = 30.0, 1.0  # seconds until SSM shows a new value, and between two reads
PARAMETER = "/immutable/{}/ami"


class Ec2Images:
    """See ``contract.Images``.

    Args:
        account: the account, in the region where images are baked.
        encrypt: whether snapshots of copies are encrypted.
        store: the store's identity. Only what carries its tag is removed; nothing if it is "".
        copy_delay: seconds between two reads of a pending copy.
        publish_timeout: seconds until SSM must show a parameter's new value.
        tags: the target's own tags, which copies and new parameters get.
        others: other accounts that have images of this one.
    """

    def __init__(
        self,
        account: Account,
        encrypt: bool = True,
        *,
        store: str = "",
        copy_delay: float = COPY_DELAY,
        publish_timeout: float = PUBLISH_TIMEOUT,
        tags: Mapping[str, str] | None = None,
        others: Sequence[Account] = (),
    ) -> None:
        self._clients = Clients(account)
        self._encrypt = encrypt
        self._store = store
        self._copy_delay = copy_delay
        self._publish_timeout = publish_timeout
        self._tags = dict(tags or {})
        self._others = others

    def build(self, architecture: str) -> str:
        return f"aws-{self._clients.account_id}-{architecture}"

    def present(self, artifact: Mapping[str, Any]) -> bool:
        if "ami" not in artifact:
            return False
        image = find_ami(self._clients.in_region(artifact["region"]).ec2, artifact["ami"])
        return image is not None and image["State"] == "available"

    def copy(
        self, artifact: Mapping[str, Any], places: Mapping[str, str], tags: Mapping[str, str]
    ) -> Mapping[str, Any]:
        keys = {region: key for region, key in places.items() if region != artifact["region"]}
        if not keys:
            return artifact

        def copy_to(region: str) -> dict[str, Any]:
            return self.copy_to(artifact, region, keys[region], tags)

        with ThreadPoolExecutor(max_workers=MAX_REGIONS) as pool:
            futures = {region: pool.submit(copy_to, region) for region in keys}
        copies = {region: future.result() for region, future in futures.items()}
        return {**artifact, "copies": {**artifact.get("copies", {}), **copies}}

    def users(self, artifacts: Sequence[Mapping[str, Any]], shared: bool = True) -> Sequence[Sequence[str]]:
        others = other_accounts(self._clients, artifacts, self._others)
        users = image_users(self._clients, artifacts, shared, looked_into={other.id: other.regions for other in others})
        strangers = foreign_amis(self._clients, artifacts, self._store)
        elsewhere = users_elsewhere(artifacts, others, self._store)
        return [[*found, *more, *far] for found, more, far in zip(users, strangers, elsewhere, strict=True)]

    def remove(self, artifact: Mapping[str, Any]) -> None:
        remove_elsewhere(self._clients, artifact, self._others, self._store)
        remove_image(self._clients, artifact, self._store)

    def remove_copies(
        self,
        needed: Collection[str],  # noqa: ARG002  an instance runs from a snapshot of the AMI
        *,
        check: bool = False,  # noqa: ARG002
    ) -> Sequence[str]:
        return ()

    def publish(self, name: str, artifact: Mapping[str, Any], *, check: bool = False) -> Mapping[str, str]:
        """Set the parameter ``/immutable/<service>/<channel>/ami`` in each region that has the AMI.

        Args:
            name: ``<service>/<channel>``.
        """
        parameter, changed = PARAMETER.format(name), {}
        for region, ami in amis_of(artifact).items():
            ssm = self._clients.in_region(region).client("ssm")
            with aws_errors(doing=f"publishing {ami} in {region}"):
                before = _parameter(ssm, parameter)
                if before == ami:
                    continue
                changed[f"{parameter} in {region}"] = before
                if not check:
                    # SSM accepts tags only together with a new parameter.
                    new = {"Tags": tag_list(self._tags)} if self._tags and not before else {"Overwrite": True}
                    ssm.put_parameter(Name=parameter, Value=ami, Type="String", DataType="aws:ec2:image", **new)
                    self._wait_until_published(ssm, parameter, ami, region)
        return changed

    def _wait_until_published(self, ssm: Any, parameter: str, ami: str, region: str) -> None:
        """SSM answers before it validates the AMI, and silently drops a value that it finds invalid."""
        deadline = time.monotonic() + self._publish_timeout
        while _parameter(ssm, parameter) != ami:
            if time.monotonic() >= deadline:
                raise ProviderError(
                    f"{parameter} in {region} does not show {ami}: SSM did not accept it within "
                    f"{self._publish_timeout:g} s (SSM checks that the AMI exists; the identity that runs this "
                    "needs ec2:DescribeImages for that). Run again to publish it"
                )
            time.sleep(PUBLISH_POLL)

    def copy_to(self, artifact: Mapping[str, Any], region: str, key: str, tags: Mapping[str, str]) -> dict[str, Any]:
        """Create the copy in a region of this account, or wait for one that an interrupted run started.

        No other AMI of the account has the same name.
        """
        tags = {**self._tags, **tags}
        ec2, name = self._clients.in_region(region).ec2, str(artifact["name"])
        with aws_errors(doing=f"copying {artifact['ami']} to {region}"):
            filters = [{"Name": "name", "Values": [name]}]
            found = [
                image
                for page in ec2.get_paginator("describe_images").paginate(Owners=["self"], Filters=filters)
                for image in page["Images"]
            ]
            started = [image["ImageId"] for image in found if image["State"] in ("pending", "available")]
            ami = started[0] if started else self._start_copy(ec2, artifact, key, tags, failed=len(found))
            ec2.get_waiter("image_available").wait(
                ImageIds=[ami], WaiterConfig={"Delay": self._copy_delay, "MaxAttempts": COPY_READS}
            )
            image = find_ami(ec2, ami) or {"ImageId": ami}
            _tag(ec2, image, tags)
            require_imdsv2(ec2, image)
        return {"ami": str(ami), "snapshots": snapshots_of(image)}

    def _start_copy(
        self, ec2: Any, artifact: Mapping[str, Any], key: str, tags: Mapping[str, str], *, failed: int
    ) -> str:
        """``failed``: how many copies failed before. The token of a failed copy would only return that copy again."""
        token = hashlib.sha256(f"{artifact['ami']} {ec2.meta.region_name} {failed}".encode()).hexdigest()
        kinds = ("image", "snapshot") if tags else ()
        encryption = {"Encrypted": True, **({"KmsKeyId": key} if key else {})} if self._encrypt else {}
        answer = ec2.copy_image(
            Name=artifact["name"],
            Description=f"copy of {artifact['ami']} of {artifact['region']}",
            SourceImageId=artifact["ami"],
            SourceRegion=artifact["region"],
            ClientToken=token,
            TagSpecifications=[{"ResourceType": kind, "Tags": tag_list(tags)} for kind in kinds],
            **encryption,
        )
        return str(answer["ImageId"])


def _tag(ec2: Any, image: Mapping[str, Any], tags: Mapping[str, str]) -> None:
    """Set tags that the copy lacks."""
    present = {tag["Key"]: tag["Value"] for tag in image.get("Tags", ())}
    if any(present.get(name) != value for name, value in tags.items()):
        ec2.create_tags(Resources=[image["ImageId"], *snapshots_of(image)], Tags=tag_list(tags))


def _parameter(ssm: Any, name: str) -> str:
    """Its value, or "" if it does not exist."""
    from botocore.exceptions import ClientError

    try:
        return str(ssm.get_parameter(Name=name)["Parameter"]["Value"])
    except ClientError as error:
        if code_of(error) == "ParameterNotFound":
            return ""
        raise
