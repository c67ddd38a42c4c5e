# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Data volumes as folders of this machine, which containers mount.

``volumes/<fleet>/<slot>-<name>/`` contains ``volume.json`` and the data: a folder ``data``, or ``disk.img``, a file
system that bounds the size. A container keeps its mounts, so attaching a volume creates the container again. Engines
let two containers mount one folder, so each call that hands over or changes a volume asks the engine who uses it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..._core.errors import ProviderError
from ..._core.files import make_private_folder, remove_documented
from ..container_data import DataMount, data_mounts
from ..container_engine import DOCKER, ContainerEngine
from ..contract import Volume, VolumeRequest
from ..volume_options import NO_OPTIONS, VolumeOptions, refuse_options
from . import loop_image
from .data_files import DataFiles
from .mount_users import live_users
from .owners import OwnerConflict, settle_owner
from .restricted_mount import restrict
from .volume_folder import CREATING, DOCUMENT, FOLDER, IMAGE, KINDS, Kind, VolumeFacts, VolumeFolder

_NAMED = 3  # volumes that a warning names


@dataclass(frozen=True)
class VolumeMount:
    """What a container mounts.

    Attributes:
        source: the folder of this machine.
        target: the path in the container.
        options: such as ``nosuid``.
    """

    source: Path
    target: str
    options: tuple[str, ...]


class Holder(Protocol):
    """The instance that volumes are attached to."""

    def removed(self) -> bool:
        """Whether it does not exist, or has ended after its removal began: nothing of it writes any more."""

    def leaving(self) -> bool:
        """Whether it is removed or its removal has begun."""

    def waiting(self) -> bool:
        """Whether it was created and never started, because its volumes are not all attached."""

    def running(self) -> bool:
        """Whether it can write to its volumes."""

    def artifact(self) -> Mapping[str, Any]:
        """The artifact of its image."""

    def remount(self) -> None:
        """Start a waiting instance with its volumes, if all are attached now. Otherwise it has no effect."""

    def give_up(self, reason: str) -> None:
        """Let a waiting instance end without having run. Its console shows the reason."""


class ContainerVolumes:
    """See ``contract.Volumes``.

    Args:
        root: the provider's folder.
        holder: returns the instance of a fleet and id, whether or not it exists.
    """

    def __init__(self, root: Path, engine: ContainerEngine, holder: Callable[[str, str], Holder]) -> None:
        self._root = root / "volumes"
        self._engine = engine
        self._holder = holder
        self._files = DataFiles(engine)

    def fleets(self) -> Sequence[str]:
        """Names of all fleets that may have volumes."""
        return [folder.name for folder in self._root.glob("*/")]

    def list(self, fleet: str) -> list[Volume]:
        return [each for each in map(self._read, self._folders(fleet)) if each]

    def create(self, requests: Sequence[VolumeRequest]) -> Sequence[Volume]:
        kinds = [self._checked_kind(each.kind, f"{each.fleet}/{each.slot}-{each.name}") for each in requests]
        created = []
        for request, kind in zip(requests, kinds, strict=True):
            folder = VolumeFolder(self._root / request.fleet / f"{request.slot}-{request.name}")
            if not folder.exists:
                self._create(folder, request, kind or KINDS[0])
            (folder.path / CREATING).unlink(missing_ok=True)
            volume = self._read(folder)
            if volume:
                created.append(volume)
        return created

    def attach(self, volume_ids: Sequence[str], instance_id: str) -> None:
        folders = [self._folder(volume_id) for volume_id in volume_ids]
        if not folders:
            return
        holder = self._holder(folders[0].fleet, instance_id)
        if holder.leaving():
            raise ProviderError(f"instance {instance_id} is removed or being removed, so no volume is attached to it")
        for folder in folders:
            self._refuse_other_holder(folder, instance_id)
        if not holder.running():
            wanted = {mount.name: mount for mount in data_mounts(holder.artifact())}
            try:
                for folder in folders:
                    self._prepare(folder, wanted)
            except OwnerConflict as error:
                if not holder.waiting():
                    raise
                holder.give_up(error.message)
                return
        for folder in folders:
            # Record it before the instance is started: what runs is never attached to nothing.
            folder.update(attached_to=instance_id, attached_at=time.time())
        holder.remount()

    def detach(self, volume_ids: Sequence[str]) -> None:
        for volume_id in volume_ids:
            folder = self._folder(volume_id)
            self._refuse_use(folder)
            _unmount(folder)
            folder.update(attached_to=None, attached_at=0.0)

    def modify(self, volume_ids: Sequence[str], size: int, kind: str, options: VolumeOptions = NO_OPTIONS) -> None:
        refuse_options(options)
        folders = [self._folder(volume_id) for volume_id in volume_ids]
        for folder in folders:  # check all before changing any
            self._check_change(folder, size, self._checked_kind(kind, folder.id))
        for folder in folders:
            self._clear_leftovers(folder)
            if folder.facts()["kind"] == IMAGE:
                loop_image.grow(folder.image, size)
            if folder.facts()["size"] != size:
                folder.update(size=size)
            if kind and kind != folder.facts()["kind"]:
                self._convert(folder)

    def remove(self, volume_ids: Sequence[str]) -> None:
        for volume_id in volume_ids:
            folder = self._folder(volume_id)
            if folder.exists:
                self.detach([volume_id])
                self._files.remove(folder.folder)
                remove_documented(folder.path, DOCUMENT)

    def mounts(self, fleet: str, instance_id: str) -> tuple[VolumeMount, ...]:
        """What the instance mounts when it starts now. File systems in files are mounted on this machine by this call.

        Raises ProviderError if another container uses one of the volumes.
        """
        wanted = {mount.name: mount for mount in data_mounts(self._holder(fleet, instance_id).artifact())}
        found = []
        for folder in self._folders(fleet):
            facts = folder.facts()
            if facts["attached_to"] != instance_id or facts["name"] not in wanted:
                continue
            self._refuse_other_holder(folder, instance_id)
            mount = wanted[facts["name"]]
            data = self._data(folder, facts)
            if self._engine.name == DOCKER:
                data = restrict(data, folder.restricted, mount.options, folder.id)
            found.append(VolumeMount(data, mount.mount, mount.options))
        return tuple(found)

    def missing(self, fleet: str, instance_id: str) -> Sequence[str]:
        """Names of the volumes that the instance's image expects and that are not attached to it yet."""
        attached = {
            facts["name"]
            for facts in (folder.facts() for folder in self._folders(fleet))
            if facts["attached_to"] == instance_id
        }
        wanted = data_mounts(self._holder(fleet, instance_id).artifact())
        return [mount.name for mount in wanted if mount.name not in attached]

    def warnings(self, fleet: str) -> Sequence[str]:
        """What a user should know about the volumes of a fleet, a line each."""
        unbounded = [volume.id for volume in self.list(fleet) if volume.kind == FOLDER]
        if not unbounded:
            return []
        more = f" and {len(unbounded) - _NAMED} more" if len(unbounded) > _NAMED else ""
        return [
            f"nothing limits the size of data volumes that are folders: {', '.join(unbounded[:_NAMED])}{more}. "
            f"They can fill the disk of {self._root}. With data[].type: image, which needs root, the size is the limit"
        ]

    def _create(self, folder: VolumeFolder, request: VolumeRequest, kind: Kind) -> None:
        make_private_folder(folder.path)
        self._refuse_data(folder)
        (folder.path / CREATING).touch(mode=0o600)
        _unmount(folder)
        if kind == IMAGE:
            loop_image.create(folder.image, request.size, request.name)
        else:
            self._files.make(folder.folder)
        facts: VolumeFacts = {
            "slot": request.slot,
            "name": request.name,
            "size": request.size,
            "kind": kind,
            "attached_to": None,
            "attached_at": 0.0,
        }
        folder.save(facts)

    def _refuse_data(self, folder: VolumeFolder) -> None:
        """Raises ProviderError for data without a document. Only a folder that is being created may have a file."""
        creating = (folder.path / CREATING).exists()
        if not self._files.is_empty(folder.folder) or (folder.image.exists() and not creating):
            raise ProviderError(
                f"{folder.path} holds data, but {folder.path / DOCUMENT} is missing, so nothing says what it belongs "
                f"to; restore {DOCUMENT} or move the folder away"
            )

    def _prepare(self, folder: VolumeFolder, wanted: Mapping[str, DataMount]) -> None:
        """Make a volume ready for an instance that does not run yet."""
        self._clear_leftovers(folder)
        facts = folder.facts()
        if facts["name"] in wanted:
            settle_owner(folder, self._data(folder, facts), wanted[facts["name"]], self._files)

    def _data(self, folder: VolumeFolder, facts: VolumeFacts) -> Path:
        """The folder with the data, which exists and, in a file system, is mounted."""
        data = folder.data(facts["kind"])
        if facts["kind"] == IMAGE:
            loop_image.refuse_without_root(folder.id)
            loop_image.mount(folder.image, folder.mounted)
            self._files.make(data)
        elif not data.is_dir():
            raise ProviderError(f"the data of volume {folder.id} is missing: {data} (restore it, or remove the volume)")
        return data

    def _refuse_other_holder(self, folder: VolumeFolder, instance_id: str) -> None:
        volume = self._read(folder)
        if volume and volume.attached_to not in (None, instance_id):
            raise ProviderError(
                f"volume {volume.id} is attached to {volume.attached_to}, so it cannot be attached to {instance_id}"
            )
        users = [name for name in live_users(self._engine, folder.path) if name != instance_id]
        if users:
            raise ProviderError(
                f"volume {folder.id} is in use by the container {users[0]}, although {folder.path / DOCUMENT} does not "
                f"say so: stop that container before the volume is attached to {instance_id}"
            )

    def _refuse_use(self, folder: VolumeFolder) -> None:
        holder = folder.facts()["attached_to"]
        if holder and self._holder(folder.fleet, holder).running():
            raise ProviderError(f"volume {folder.id} is in use by {holder}, which is still running: stop it first")
        users = live_users(self._engine, folder.path)
        if users:
            raise ProviderError(f"volume {folder.id} is in use by the container {users[0]}: stop it first")

    def _check_change(self, folder: VolumeFolder, size: int, kind: Kind | None) -> None:
        facts, volume = folder.facts(), self._read(folder)
        if volume and volume.attached_to:
            raise ProviderError(f"volume {volume.id} is attached to {volume.attached_to}: detach it before changing it")
        self._refuse_use(folder)
        if IMAGE in (facts["kind"], kind):
            loop_image.refuse_without_root(folder.id)
        if size < facts["size"]:
            raise ProviderError(
                f"volume {folder.id} has {facts['size']} bytes and cannot shrink to {size}: it would lose data"
            )

    def _convert(self, folder: VolumeFolder) -> None:
        """Copy the data. The old kind counts until the document names the new one. Older copies are never used."""
        facts = folder.facts()
        if facts["kind"] == FOLDER:
            part = folder.image.with_name("disk.img.part")
            loop_image.create(part, facts["size"], facts["name"])
            loop_image.mount(part, folder.mounted)
            self._files.copy(folder.folder, folder.in_image)
            loop_image.unmount(folder.mounted)
            part.replace(folder.image)
            folder.update(kind=IMAGE)
            self._files.remove(folder.folder)
        else:
            folder_part = folder.folder.with_name("data.part")
            self._files.copy(self._data(folder, facts), folder_part)
            loop_image.unmount(folder.mounted)
            folder_part.replace(folder.folder)
            folder.update(kind=FOLDER)
            folder.image.unlink()

    def _clear_leftovers(self, folder: VolumeFolder) -> None:
        """Remove what an interrupted change left: everything but the data that the document names."""
        _unmount(folder)
        kind = folder.facts()["kind"]
        (folder.path / CREATING).unlink(missing_ok=True)
        folder.image.with_name("disk.img.part").unlink(missing_ok=True)
        for stale in (folder.folder.with_name("data.part"), *([folder.folder] if kind == IMAGE else [])):
            if stale.exists():
                self._files.remove(stale)
        if kind == FOLDER:
            folder.image.unlink(missing_ok=True)

    def _checked_kind(self, kind: str, volume_id: str) -> Kind | None:
        if kind == IMAGE:
            loop_image.refuse_without_root(volume_id)
        known = next((each for each in KINDS if each == kind), None)
        if kind and known is None:
            raise ProviderError(f"volume {volume_id}: unknown type {kind!r} (container has: {', '.join(KINDS)})")
        return known

    def _folder(self, volume_id: str) -> VolumeFolder:
        fleet, _slash, name = volume_id.partition("/")
        return VolumeFolder(self._root / fleet / name)

    def _folders(self, fleet: str) -> Sequence[VolumeFolder]:
        return [VolumeFolder(document.parent) for document in sorted((self._root / fleet).glob(f"*/{DOCUMENT}"))]

    def _read(self, folder: VolumeFolder) -> Volume | None:
        try:
            facts = folder.facts()
        except ProviderError:
            return None  # another run removed it
        holder = facts["attached_to"]
        if holder and self._is_free(self._holder(folder.fleet, holder)):
            holder = None
        return Volume(
            id=folder.id,
            fleet=folder.fleet,
            slot=facts["slot"],
            name=facts["name"],
            size=facts["size"],
            attached_to=holder,
            attached_at=facts["attached_at"] if holder else 0.0,
            kind=facts["kind"],
        )

    @staticmethod
    def _is_free(holder: Holder) -> bool:
        """Whether a recorded holder cannot have written: it is gone, or an interrupted attach never started it."""
        return holder.removed() or holder.waiting()


def _unmount(folder: VolumeFolder) -> None:
    loop_image.unmount(folder.restricted)
    loop_image.unmount(folder.mounted)
