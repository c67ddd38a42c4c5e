# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bakes on EC2 with Packer's amazon-ebs builder. The AMI is inspected through the blocks of its snapshot."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ....module_utils._packer.errors import PackerError
from ....module_utils._packer.flags import version_tuple
from ....module_utils._packer.result import BuildResult
from ....module_utils._packer.runner import Packer
from ..._aws.amis import find_ami, require_imdsv2, root_snapshot, snapshots_of, tag_list
from ..._aws.clients import DENIED, SESSION, Account, Clients, aws_errors
from ..._aws.snapshot_blocks import read_snapshot
from ..._aws.tags import PREFIX
from ..._core.errors import BakeError
from ..._core.progress import Report
from ..._definition.ebs_options import DISKS, TAG_OPTIONS
from ..._definition.model import Target
from ..._images.copies import image_tags
from ..._store.base import Store
from ..._store.keys import store_id
from ..build_key import bake_resource_name, remove_key_command
from ..builder import BakeJob, BakeWorkspace, PackerBuilder
from ..remote_image import RemoteImage, image_name, inspect_remote_image, marks_of, ssh_settings
from .base_ami import resolve_ami
from .ebs_network import build_network, ssh_proxy

BUILDER = "amazon-ebs"
IMDS_SINCE = (1, 9)  # the first Packer whose AWS code always supports IMDSv2
# Errors that mean that this identity or network cannot read snapshots.
UNREADABLE = (*DENIED, "EndpointConnectionError", "ConnectTimeoutError")
_MAX_NAME_LENGTH = 128  # of an AMI
_NOT_ALLOWED_IN_NAMES = re.compile(r"[^A-Za-z0-9()\[\] ./'@_-]")


def resolve_base(target: Target, _store: Store, _folder: Path) -> dict[str, Any]:
    """Return the target's AMI; see ``resolve_ami``."""
    return resolve_ami(target.base, target.build_account)


def open_builder(job: BakeJob, store: Store, packer: Packer, report: Report) -> EbsBuilder:
    """Return the builder for one bake. Raises BakeError if Packer does not work."""
    try:
        return EbsBuilder(job, store_id=store_id(store), packer=version_tuple(packer.version()), report=report)
    except PackerError as error:
        raise BakeError(error.message) from error


class EbsBuilder:
    """See ``Builder``.

    Args:
        store_id: the store's identity, for tags.
        packer: the version of Packer, such as ``(1, 11, 2)``.
    """

    plugin = "amazon"
    collects_sbom_sources = True

    def __init__(self, job: BakeJob, *, store_id: str, packer: tuple[int, ...], report: Report) -> None:
        self._job = job
        self._report = report
        self._packer = packer
        self._clients = Clients(job.target.build_account)
        self._key_name = bake_resource_name(store_id, job.hex)
        own = image_tags(job.digest, job.definition.service, job.definition.version, store_id)
        self._tags = {**job.target.tags, **own}
        self.user = job.target.build.ssh_username
        self.provenance: Mapping[str, Any] = {"region": job.base["region"], "instance_type": job.target.build.type}

    @contextmanager
    def prepared(self, workspace: BakeWorkspace) -> Iterator[PackerBuilder]:
        """Import a key pair for the bake. Old Packers create a key of a type that newer SSH servers refuse."""
        ec2, job = self._clients.ec2, self._job
        public = workspace.private_key.with_suffix(".pub").read_bytes()
        with aws_errors(BakeError, f"bake of {job.label}"):
            # A policy that allows only what has the tag of the store refuses to delete what does not exist.
            left = ec2.describe_key_pairs(Filters=[{"Name": "key-name", "Values": [self._key_name]}])["KeyPairs"]
            if left:
                ec2.delete_key_pair(KeyName=self._key_name)
            ec2.import_key_pair(
                KeyName=self._key_name,
                PublicKeyMaterial=public,
                TagSpecifications=[{"ResourceType": "key-pair", "Tags": tag_list(self._tags)}],
            )
        try:
            keys = {"ssh_keypair_name": self._key_name, "ssh_private_key_file": str(workspace.private_key)}
            settings = builder_settings(job, self._clients, self._tags, self._packer)
            with ssh_proxy(job.target, self._clients, self._key_name) as proxy:
                yield PackerBuilder(
                    {**proxy, **settings, **encryption(job, ec2), **keys},
                    (remove_key_command(self._key_name, self.user),),
                )
        finally:
            with aws_errors(BakeError, f"bake of {job.label}"):
                ec2.delete_key_pair(KeyName=self._key_name)

    def inspect(self, workspace: BakeWorkspace, result: BuildResult) -> Mapping[str, bytes]:
        """Return the manifest and the SBOM, or only the SBOM if the AMI's data cannot be read. See ``Builder``."""
        image = self._registered(result)
        remote = RemoteImage(
            name=str(image["ImageId"]),
            inspected="snapshot",
            read=lambda file: read_snapshot(self._clients.client("ebs"), root_snapshot(image), file),
            disk_format="raw",
            is_unreadable=lambda error: error.code in UNREADABLE,
            remove=lambda: self._remove(image),
        )
        files, where = inspect_remote_image(remote, self._job, workspace, self._report)
        self.provenance = {**self.provenance, **where}
        return files

    def save(self, _workspace: BakeWorkspace, result: BuildResult) -> Mapping[str, Any]:
        """Return the artifact of the AMI that Packer registered; see ``amis_of`` for its keys."""
        image = self._registered(result)
        require_imdsv2(self._clients.ec2, image)  # older Packers cannot do this
        return {
            "ami": image["ImageId"],
            "region": _registered_ami(result)[0],
            "account": self._clients.account_id,
            "name": image["Name"],
            "architecture": image["Architecture"],
            "root_device": image["RootDeviceName"],
            "snapshots": snapshots_of(image),
            "copies": {},
        }

    def _registered(self, result: BuildResult) -> Mapping[str, Any]:
        """The AMI that Packer registered, as EC2 describes it."""
        region, ami = _registered_ami(result)
        image = find_ami(self._clients.ec2, ami)
        if image is None:
            raise BakeError(f"Packer reported the AMI {ami} in {region}, but it does not exist")
        return image

    def _remove(self, image: Mapping[str, Any]) -> None:
        """Remove an AMI that must not be used, with its snapshots."""
        ec2 = self._clients.ec2
        with aws_errors(BakeError, f"removing {image['ImageId']}, which contains residue of the bake"):
            ec2.deregister_image(ImageId=image["ImageId"])
            for snapshot in snapshots_of(image):
                ec2.delete_snapshot(SnapshotId=snapshot)


def _registered_ami(result: BuildResult) -> tuple[str, str]:
    """The region and id of the only AMI that Packer reported."""
    amis = [pair for artifact in result.artifacts for pair in amis_in(artifact.id).items()]
    if len(amis) != 1:
        raise BakeError(f"expected Packer to report one AMI; got {amis or 'none'}")
    return amis[0]


def artifact_details(artifact_id: str) -> dict[str, Any]:
    """Return ``{"amis": {region: ami}}`` for the id of an artifact that is one or more AMIs, else nothing."""
    amis = amis_in(artifact_id)
    return {"amis": amis} if amis else {}


def amis_in(artifact_id: str) -> dict[str, str]:
    """Return the AMIs by region from an id such as ``eu-west-1:ami-1,us-east-1:ami-2``; {} for any other id."""
    pairs = [pair.partition(":") for pair in artifact_id.split(",")]
    return (
        {region: ami for region, _colon, ami in pairs}
        if all(re.fullmatch(r"ami-[0-9a-f]+", ami) for _region, _colon, ami in pairs)
        else {}
    )


def builder_settings(
    job: BakeJob, clients: Clients, tags: Mapping[str, str], packer: tuple[int, ...]
) -> dict[str, Any]:
    """Return Packer's builder as plain data, without its key."""
    build, account = job.target.build, clients.account
    name_tag = {"Name": f"{job.definition.service}-{job.definition.version}"}
    user_tags = {kind: dict(build.options.get(kind, {})) for kind in TAG_OPTIONS}
    endpoint = _custom_endpoint(clients)
    return {
        **build.options,
        "type": BUILDER,
        "region": job.base["region"],
        "source_ami": job.base["ami"],
        "instance_type": build.type,
        "ami_name": image_name(job, _MAX_NAME_LENGTH, _NOT_ALLOWED_IN_NAMES),
        "ami_description": f"{job.label}, {job.digest}",
        **{kind: {**name_tag, **job.target.tags, **user_tags[kind], **marks_of(tags, PREFIX)} for kind in TAG_OPTIONS},
        **ssh_settings(job),
        "shutdown_behavior": "terminate",
        **build_network(job.target, packer),
        **({"profile": account.profile} if account.profile else {}),
        **({"assume_role": _assumed_role(account)} if account.role else {}),
        # A custom endpoint may know neither all regions nor the metadata of this machine.
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


def encryption(job: BakeJob, ec2: Any) -> dict[str, Any]:
    """The options that decide whether the AMI is encrypted.

    The build machine's disks are encrypted from the start, and so are the snapshots that EC2 takes of them. With
    ``encrypt_boot``, Packer makes an AMI without encryption first, and one of its copies: the first has no tags.

    Source: https://docs.aws.amazon.com/ebs/latest/userguide/how-ebs-encryption-works.html
    """
    build = job.target.build
    if not build.encrypt:
        return {"encrypt_boot": False}
    image = find_ami(ec2, job.base["ami"]) or {}
    disks = [each["DeviceName"] for each in image.get("BlockDeviceMappings", ()) if "Ebs" in each]
    encrypted = {"encrypted": True, **({"kms_key_id": build.kms_key} if build.kms_key else {})}
    given = {str(each.get("device_name")): each for each in build.options.get(DISKS, ())}
    # Unless told otherwise, Packer keeps the disks of the build machine.
    kept = {name: {"device_name": name, "delete_on_termination": True} for name in [job.base["root_device"], *disks]}
    return {
        DISKS: [
            mapping if mapping.get("no_device") or mapping.get("virtual_name") else {**mapping, **encrypted}
            for mapping in ({**kept.get(name, {}), **given.get(name, {})} for name in dict.fromkeys([*kept, *given]))
        ]
    }


def _assumed_role(account: Account) -> dict[str, str]:
    external_id = {"external_id": account.external_id} if account.external_id else {}
    return {"role_arn": account.role, "session_name": SESSION, **external_id}


def _custom_endpoint(clients: Clients) -> str:
    """The URL of EC2 if it is not the region's own, else ''.

    Older Packers read it neither from the environment nor from AWS's files.
    """
    url = str(clients.ec2.meta.endpoint_url)
    return "" if (urllib.parse.urlsplit(url).hostname or "").startswith(f"ec2.{clients.region}.") else url
