# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A bake on EC2: Packer's amazon-ebs, and the AMI that it leaves. It is not looked through from outside, as a disk of this machine is."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

from ....module_utils._packer.result import BuildResult
from ..._aws.amis import as_tags, harden, look, snapshots_of
from ..._aws.clients import SESSION, Clients, aws_errors
from ..._core.errors import BakeError
from ..._definition.ebs_options import TAGS
from ..._images.copies import image_tags
from ..._inspection.gathered import Gathered
from ..._inspection.sbom import make_sbom
from ..builder import BakeJob, BakeWorkspace
from ..template import SSH_TIMEOUT

BUILDER = "amazon-ebs"
IMDS_SINCE = (1, 9)  # Packer's own parts for AWS know of IMDSv2 from here on in any case
_LONGEST_NAME = 128  # of an AMI
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9()\[\] ./'@_-]")


class EbsBuilder:
    """See ``maker.Maker``.

    Args:
        store: the store's identity, for tags.
        packer: its version.
    """

    plugin = "amazon"
    gathers = True

    def __init__(self, order: BakeJob, store: str, packer: tuple[int, ...]) -> None:
        self._order = order
        self._packer = packer
        self._clients = Clients(order.target.build_account)
        # One for an image and store: what a killed bake left is replaced by the next one.
        self._key = f"immutable-{store}-bake-{order.hex[:12]}"
        self._tags = image_tags(order.digest, order.definition.service, order.definition.version, store)
        self.user = order.target.build.ssh_username
        self.facts: Mapping[str, Any] = {"region": order.base["region"], "instance_type": order.target.build.type}

    @contextmanager
    def building(self, place: BakeWorkspace) -> Iterator[tuple[Mapping[str, Any], tuple[str, ...]]]:
        """With a key pair of our own: the one that old Packers have made is of a kind that newer SSH servers refuse."""
        ec2, order = self._clients.ec2, self._order
        public = place.private_key.with_suffix(".pub").read_bytes()
        with aws_errors(BakeError, f"bake of {order.label}"):
            ec2.delete_key_pair(KeyName=self._key)
            ec2.import_key_pair(
                KeyName=self._key,
                PublicKeyMaterial=public,
                TagSpecifications=[{"ResourceType": "key-pair", "Tags": as_tags(self._tags)}],
            )
        try:
            keys = {"ssh_keypair_name": self._key, "ssh_private_key_file": str(place.private_key)}
            yield (
                {**ebs_builder(order, self._clients, self._tags, self._packer), **keys},
                (_forget(self._key, self.user),),
            )
        finally:
            with aws_errors(BakeError, f"bake of {order.label}"):
                ec2.delete_key_pair(KeyName=self._key)

    def inspect(self, place: BakeWorkspace, _result: BuildResult) -> Mapping[str, bytes]:
        order = self._order
        return {
            "sbom.cdx.json": make_sbom(
                Gathered(place.gathered), order.digest, order.definition.service, order.definition.version
            )
        }

    def keep(self, _place: BakeWorkspace, result: BuildResult) -> Mapping[str, Any]:
        region, ami = self._made(result)
        ec2 = self._clients.ec2
        image = look(ec2, ami)
        if image is None:
            raise BakeError(f"Packer made {ami} in {region}, but it is not there")
        harden(ec2, image)  # older Packers cannot say so
        return {
            "ami": ami,
            "region": region,
            "account": self._clients.account_id,
            "name": image["Name"],
            "architecture": image["Architecture"],
            "root_device": image["RootDeviceName"],
            "snapshots": snapshots_of(image),
            "copies": {},
        }

    def _made(self, result: BuildResult) -> tuple[str, str]:
        made = [pair for artifact in result.artifacts for pair in amis_in(artifact.id).items()]
        if len(made) != 1:
            raise BakeError(f"Packer was to make one AMI, but told of {made or 'none'}")
        return made[0]


def amis_in(artifact_id: str) -> dict[str, str]:
    """By region, of an artifact's id such as ``eu-west-1:ami-1,us-east-1:ami-2``; nothing for the id of another builder."""
    pairs = [pair.partition(":") for pair in artifact_id.split(",")]
    return (
        {region: ami for region, _colon, ami in pairs}
        if all(re.fullmatch(r"ami-[0-9a-f]+", ami) for _region, _colon, ami in pairs)
        else {}
    )


def ebs_builder(order: BakeJob, clients: Clients, tags: Mapping[str, str], packer: tuple[int, ...]) -> dict[str, Any]:
    """Packer's builder as plain data, but for its key."""
    build, account = order.target.build, clients.account
    name, named = _name(order), {"Name": f"{order.definition.service}-{order.definition.version}"}
    given = {kind: dict(build.options.get(kind, {})) for kind in TAGS}
    endpoint = _endpoint(clients)
    return {
        **build.options,
        "type": BUILDER,
        "region": order.base["region"],
        "source_ami": order.base["ami"],
        "instance_type": build.type,
        "ami_name": name,
        "ami_description": f"{order.label}, {order.digest}",
        **{kind: {**named, **given[kind], **tags} for kind in TAGS},
        "ssh_username": build.ssh_username,
        "ssh_timeout": build.options.get("ssh_timeout", SSH_TIMEOUT),
        "shutdown_behavior": "terminate",
        "encrypt_boot": build.encrypt,
        **({"kms_key_id": build.kms_key} if build.encrypt and build.kms_key else {}),
        **({"subnet_id": build.subnet} if build.subnet else {}),
        **({"profile": account.profile} if account.profile else {}),
        **({"assume_role": {"role_arn": account.role, "session_name": SESSION}} if account.role else {}),
        # What answers there may know neither all regions nor the metadata of this machine.
        **(
            {"custom_endpoint_ec2": endpoint, "skip_region_validation": True, "skip_metadata_api_check": True}
            if endpoint
            else {}
        ),
        **(
            {"metadata_options": {"http_endpoint": "enabled", "http_tokens": "required"}, "imds_support": "v2.0"}
            if packer >= IMDS_SINCE
            else {}
        ),
    }


def _name(order: BakeJob) -> str:
    """Unique in the account."""
    tail = f"-{order.hex[:12]}-{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}"
    return (
        _NOT_IN_NAMES.sub("-", f"{order.definition.service}-{order.definition.version}")[: _LONGEST_NAME - len(tail)]
        + tail
    )


def _endpoint(clients: Clients) -> str:
    """Of EC2, where it is not the region's own. Older Packers do not read it from the environment, nor from AWS's configuration."""
    url = str(clients.ec2.meta.endpoint_url)
    return "" if (urllib.parse.urlsplit(url).hostname or "").startswith(f"ec2.{clients.region}.") else url


def _forget(key: str, user: str) -> str:
    """Shell that takes the bake's key out of the guest, where EC2 names it by its pair."""
    files = f'/root/.ssh/authorized_keys "$(getent passwd {user} | cut -d: -f6)/.ssh/authorized_keys"'
    return f'for file in {files}; do if [ -f "$file" ]; then sed -i \'/ {key}$/d\' "$file"; fi; done'
