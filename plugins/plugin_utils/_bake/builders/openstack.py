# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bakes on OpenStack with Packer's openstack builder. The image is inspected by its bytes, which Glance gives."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ....module_utils._packer.result import BuildResult
from ....module_utils._packer.runner import Packer
from ..._core.errors import BakeError, ProviderError
from ..._core.gibibytes import GIB
from ..._core.progress import Report
from ..._definition.glance_image import IMAGE_ID
from ..._definition.model import Target
from ..._images.copies import image_tags
from ..._openstack.connect import Connections
from ..._openstack.glance import ACTIVE, QCOW2, RAW, Glance, GlanceImage, content_hash
from ..._openstack.metadata import PREFIX
from ..._openstack.rest import Rest
from ..._store.base import Store
from ..._store.keys import store_id
from ..build_key import bake_resource_name, remove_key_command
from ..builder import BakeJob, BakeWorkspace, PackerBuilder
from ..memory import write_private
from ..remote_image import RemoteImage, image_name, inspect_remote_image, marks_of, ssh_settings
from .base_glance import resolve_glance
from .openstack_access import packer_access, packer_variables
from .openstack_console import console_copied
from .openstack_network import BuildNetwork, build_network, floating_address, ssh_proxy

BUILDER = "openstack"
DENIED = ("401", "403")  # HTTP statuses
_MAX_NAME_LENGTH = 255  # of an image
_NOT_ALLOWED_IN_NAMES = re.compile(r"[^A-Za-z0-9._+-]")


def resolve_base(target: Target, _store: Store, _folder: Path) -> dict[str, Any]:
    """Return the target's image; see ``resolve_glance``."""
    return resolve_glance(target.base, target.build_cloud)


def open_builder(job: BakeJob, store: Store, _packer: Packer, report: Report) -> OpenStackBuilder:
    """Return the builder for one bake."""
    return OpenStackBuilder(job, store_id=store_id(store), report=report)


class OpenStackBuilder:
    """See ``Builder``.

    Until it is complete, an image has the name of its bake, as the key pair and the build machine have. So what a
    killed bake left is found even where the cloud did not keep its properties.

    Args:
        store_id: the store's identity, for the marks.
    """

    plugin = BUILDER
    collects_sbom_sources = True

    def __init__(self, job: BakeJob, *, store_id: str, report: Report) -> None:
        self._job = job
        self._report = report
        self._cloud = Connections(job.target.build_cloud)
        self._glance = Glance(self._cloud)
        self._name = bake_resource_name(store_id, job.hex)
        own = image_tags(job.digest, job.definition.service, job.definition.version, store_id)
        self._marks = {**job.target.tags, **own}
        self.user = job.target.build.ssh_username
        self.provenance: Mapping[str, Any] = {
            "cloud": self._cloud.place,
            "flavor": job.target.build.flavor or job.target.machine.flavor,
        }

    @contextmanager
    def prepared(self, workspace: BakeWorkspace) -> Iterator[PackerBuilder]:
        """Import a key pair, and reserve a floating address if the build machine needs one.

        Old Packers create a key of a type that newer SSH servers refuse, and a floating address without a mark. Raises
        ProviderError as well.
        """
        job, doing = self._job, f"bake of {self._job.label}"
        access = packer_access(self._cloud.connection.config)
        file = workspace.memory / "clouds.json"
        write_private(file, access.document)
        public = workspace.private_key.with_suffix(".pub").read_text(encoding="ascii").strip()
        network = build_network(job.target, self._cloud)
        compute, path = Rest(self._cloud, "compute"), f"/os-keypairs/{self._name}"
        compute.delete(path, doing)
        pair = {"name": self._name, "public_key": f"{public} {self._name}", "type": "ssh"}
        compute.post("/os-keypairs", {"keypair": pair}, doing)
        try:
            keys = {"ssh_keypair_name": self._name, "ssh_private_key_file": str(workspace.private_key)}
            with (
                floating_address(self._cloud, network, self._name) as address,
                ssh_proxy(job.target, self._cloud, self._name) as proxy,
                console_copied(self._cloud, self._name, workspace.console),
            ):
                settings = builder_settings(job, self._name, self._marks, network)
                yield PackerBuilder(
                    {**proxy, **settings, **address, **access.options, **keys},
                    (remove_key_command(self._name, self.user),),
                    environment=packer_variables(os.environ, str(file)),
                    secrets=access.secrets,
                )
        finally:
            compute.delete(path, doing)

    def inspect(self, workspace: BakeWorkspace, result: BuildResult) -> Mapping[str, bytes]:
        """Return the manifest and the SBOM, or only the SBOM if the image's bytes cannot be read. See ``Builder``."""
        image = self._registered(result)
        remote = RemoteImage(
            name=str(image["id"]),
            inspected="glance",
            read=lambda file: self._glance.download(image, file),
            disk_format=RAW if image["disk_format"] == RAW else QCOW2,
            is_unreadable=_is_denied,
            remove=lambda: self._remove(image),
        )
        files, where = inspect_remote_image(remote, self._job, workspace, self._report)
        self.provenance = {**self.provenance, **where}
        return files

    def save(self, _workspace: BakeWorkspace, result: BuildResult) -> Mapping[str, Any]:
        """Give the image its name and its properties, and return its artifact; see ``glance_of`` for its keys."""
        job, image = self._job, self._registered(result)
        name = image_name(job, _MAX_NAME_LENGTH, _NOT_ALLOWED_IN_NAMES)
        self._glance.update(image, {**self._marks, "name": name})
        return {
            "glance": str(image["id"]),
            "cloud": self._cloud.place,
            "region": self._cloud.region,
            "project": self._cloud.project_id,
            "name": name,
            "architecture": job.base["architecture"],
            "hash": content_hash(image),
            "format": str(image["disk_format"]),
            "size": int(image["size"]),
            "min_disk": int(image.get("min_disk") or 0),
        }

    def _registered(self, result: BuildResult) -> GlanceImage:
        """The image that Packer made, as Glance describes it."""
        ids = [artifact.id for artifact in result.artifacts]
        if len(ids) != 1 or not IMAGE_ID.fullmatch(ids[0]):
            raise BakeError(f"expected Packer to report one image; got {', '.join(ids) or 'none'}")
        image = self._glance.find(ids[0])
        if image is None or image.get("status") != ACTIVE or not content_hash(image):
            found = "does not exist" if image is None else f"is {image.get('status')} and has no bytes"
            raise BakeError(f"Packer reported the image {ids[0]}, but it {found}")
        if image.get("disk_format") not in (RAW, QCOW2):
            raise BakeError(
                f"the image {ids[0]} has the disk format {image.get('disk_format')} (allowed: {RAW}, {QCOW2})"
            )
        return image

    def _remove(self, image: GlanceImage) -> None:
        """Remove an image that must not be used."""
        try:
            self._glance.delete(str(image["id"]))
        except ProviderError as error:
            raise BakeError(f"the image contains residue of the bake, and {error.message}") from error


def builder_settings(job: BakeJob, name: str, marks: Mapping[str, str], network: BuildNetwork) -> dict[str, Any]:
    """Return Packer's builder as plain data, without its key and its access.

    Args:
        name: of the image until it is complete, of the build machine and of its volume.
        marks: metadata of the image and the build machine.
    """
    target, build = job.target, job.target.build
    zone = build.zone or next(iter(target.zones), "")
    return {
        **build.options,
        "type": BUILDER,
        "source_image": job.base["image"],
        "image_name": name,
        "image_visibility": "private",
        "instance_name": name,
        "flavor": build.flavor or target.machine.flavor,
        "networks": list(network.networks),
        **({"security_groups": list(network.security_groups)} if network.security_groups else {}),
        **({"availability_zone": zone} if zone else {}),
        "config_drive": build.config_drive,
        **_volume(job, name),
        "metadata": {**_given(job, "metadata"), **target.tags, **marks_of(marks, PREFIX)},
        "instance_metadata": {**_given(job, "instance_metadata"), **target.tags, **marks_of(marks, PREFIX)},
        **ssh_settings(job),
        "ssh_ip_version": build.options.get("ssh_ip_version", "4"),
    }


def _volume(job: BakeJob, name: str) -> dict[str, Any]:
    volume = job.target.build.volume
    if volume is None:
        return {}
    return {
        "use_blockstorage_volume": True,
        "volume_name": name,
        "volume_size": volume.size // GIB,
        **({"volume_type": volume.type} if volume.type else {}),
        **({"volume_availability_zone": volume.zone} if volume.zone else {}),
        "image_disk_format": QCOW2,
    }


def _given(job: BakeJob, option: str) -> dict[str, str]:
    return {str(name): str(value) for name, value in job.target.build.options.get(option, {}).items()}


def _is_denied(error: ProviderError) -> bool:
    """Whether the cloud's policy does not let this project read the bytes of images."""
    return error.code in DENIED
