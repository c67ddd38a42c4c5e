# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Finds the builder for a kind of base.

Only this file imports the builders; a new builder needs an entry in its table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ....module_utils._packer.runner import Packer
from ..._core.progress import Report
from ..._definition.model import BaseKind, Target
from ..._store.base import Store
from ..builder import BakeJob, Builder
from . import container, ebs, openstack, qemu


@dataclass(frozen=True)
class BuilderType:
    """How to use one type of builder.

    Attributes:
        resolve_base: see ``resolve_base``.
        open: see ``open_builder``.
        check_store: see ``check_store``. None if every store will do, because a cloud keeps the image itself.
        artifact_details: see ``artifact_details``. None if the files of an artifact say everything.
        asks_cloud: whether ``resolve_base`` calls a cloud.
    """

    resolve_base: Callable[[Target, Store, Path], dict[str, Any] | None]
    open: Callable[[BakeJob, Store, Packer, Report], Builder]
    check_store: Callable[[Target, Store], None] | None = None
    artifact_details: Callable[[str], dict[str, Any]] | None = None
    asks_cloud: bool = False


_EBS = BuilderType(
    resolve_base=ebs.resolve_base,
    open=ebs.open_builder,
    artifact_details=ebs.artifact_details,
    asks_cloud=True,
)
_QEMU = BuilderType(
    resolve_base=qemu.resolve_base,
    check_store=qemu.check_store,
    open=qemu.open_builder,
)
_CONTAINER = BuilderType(
    resolve_base=container.resolve_base,
    check_store=container.check_store,
    open=container.open_builder,
)
_OPENSTACK = BuilderType(
    resolve_base=openstack.resolve_base,
    open=openstack.open_builder,
    asks_cloud=True,
)
_BY_BASE: Mapping[BaseKind, BuilderType] = {
    "debian": _QEMU,
    "qcow2": _QEMU,
    "url": _QEMU,
    "container": _CONTAINER,
    "archive": _CONTAINER,
    "ami": _EBS,
    "glance": _OPENSTACK,
}


def resolve_base(target: Target, store: Store, folder: Path) -> dict[str, Any] | None:
    """Return a target's base as it enters the digest, or None if the base is not built yet.

    The result contains at least ``kind``, ``source``, ``architecture`` (the provider's word) and ``python`` (such as
    ``3.11``), and what identifies the base: ``sha256`` (hexadecimal) for a disk, ``ami`` and ``region`` for an AMI,
    ``image`` and ``hash`` for an image in Glance.

    Args:
        folder: the definition's folder; a relative path of a disk starts here.

    Raises BakeError for a base that is missing, does not match its checksum or cannot be used.
    """
    return _builder_of(target).resolve_base(target, store, folder)


def base_asks_cloud(target: Target) -> bool:
    """Whether ``resolve_base`` calls a cloud for this target."""
    return _builder_of(target).asks_cloud


def check_store(target: Target, store: Store) -> None:
    """Raise StoreError if a bake for this target cannot use the store."""
    check = _builder_of(target).check_store
    if check:
        check(target, store)


def open_builder(job: BakeJob, store: Store, packer: Packer, report: Report) -> Builder:
    """Return the builder for one bake. Fetches the base if necessary.

    Raises BakeError, StoreError or ProviderError if this machine or the store cannot run it.
    """
    return _builder_of(job.target).open(job, store, packer, report)


def _builder_of(target: Target) -> BuilderType:
    """Debian is a base of disks and of containers, so the provider decides first."""
    return _CONTAINER if target.bakes_containers else _BY_BASE[target.base.kind]


def artifact_details(artifact_id: str) -> dict[str, Any]:
    """Return what a builder reads from the id of Packer's artifact, such as ``{"amis": {region: ami}}``, or nothing."""
    readers = [builder.artifact_details for builder in dict.fromkeys(_BY_BASE.values()) if builder.artifact_details]
    return {key: value for details in readers for key, value in details(artifact_id).items()}
