# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Data volumes as files.

``volumes/<fleet>/<slot>-<name>/`` contains ``disk.<kind>`` and ``volume.json``, which is written last. QEMU locks a
disk while a machine uses it.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypedDict

from ..._core.documents import mismatch, parse_json
from ..._core.errors import ProviderError, StoreError
from ..._core.files import make_private_folder, remove_documented, write_atomically
from ..._core.programs import run_to_end
from ..contract import BLANK, NEW, Volume, VolumeRequest, VolumeState
from ..volume_options import NO_OPTIONS, VolumeOptions, refuse_options
from .command import Disk
from .machine import MachineFolder

KINDS = ("qcow2", "raw")  # the first is the default
CREATED_BLANK = "created-blank"  # an empty file next to the disk
_LONG = {"convert", "resize"}  # commands of qemu-img that write as much as a disk holds
_MAX_FIRST_BLOCK = 1 << 20  # bytes
_SECTOR = 512  # bytes; the size of a disk is a multiple of it


class QemuVolumes:
    """See ``contract.Volumes``."""

    def __init__(self, root: Path, machines: Path) -> None:
        self._root = root / "volumes"
        self._machines = machines

    def fleets(self) -> Sequence[str]:
        """Names of all fleets that may have volumes."""
        return [folder.name for folder in self._root.glob("*/")]

    def list(self, fleet: str) -> list[Volume]:
        return [volume for volume in map(self._read, sorted((self._root / fleet).glob("*/volume.json"))) if volume]

    def create(self, requests: Sequence[VolumeRequest]) -> Sequence[Volume]:
        kinds = [
            _check_kind(request.kind, f"{request.fleet}/{request.slot}-{request.name}") or KINDS[0]
            for request in requests
        ]
        created = []
        for request, kind in zip(requests, kinds, strict=True):
            folder = self._root / request.fleet / f"{request.slot}-{request.name}"
            document = folder / "volume.json"
            if not document.exists():
                make_private_folder(folder)
                _refuse_data(folder)
                (folder / CREATED_BLANK).touch()
                _run(["qemu-img", "create", "-q", "-f", kind, str(_path(folder, kind)), str(request.size)])
                facts = {"slot": request.slot, "name": request.name, "size": request.size, "kind": kind}
                self._write(folder, {**facts, "attached_to": None, "attached_at": 0.0})
            volume = self._read(document)
            if volume:
                created.append(volume)
        return created

    def attach(self, volume_ids: Sequence[str], instance_id: str) -> None:
        folders = [self._folder(volume_id) for volume_id in volume_ids]
        if not folders:
            return
        for folder in folders:
            volume = self._read(folder / "volume.json")
            if volume and volume.attached_to not in (None, instance_id):
                raise ProviderError(
                    f"volume {volume.id} is attached to {volume.attached_to}, so it cannot be attached to {instance_id}"
                )
        machine = self._machine_of(folders[0], instance_id)
        if (machine.facts() or {"condemned": True}).get("condemned"):
            raise ProviderError(f"instance {instance_id} is removed or being removed, so no volume is attached to it")
        for folder in folders:
            _clear_leftovers(folder)
        if machine.pid() is not None:
            # Attach before recording it: the run after an interrupted one finds the disk attached and only records it.
            machine.plug(_disk(folder) for folder in folders)
        for folder in folders:
            self._write(folder, {**_load(folder), "attached_to": instance_id, "attached_at": time.time()})

    def detach(self, volume_ids: Sequence[str]) -> None:
        for volume_id in volume_ids:
            folder = self._folder(volume_id)
            holder = _load(folder).get("attached_to")
            if holder and self._machine_of(folder, holder).pid() is not None:
                raise ProviderError(f"volume {volume_id} is in use by {holder}, which is still running: stop it first")
            self._write(folder, {**_load(folder), "attached_to": None, "attached_at": 0.0})

    def modify(self, volume_ids: Sequence[str], size: int, kind: str, options: VolumeOptions = NO_OPTIONS) -> None:
        refuse_options(options)
        folders = [self._folder(volume_id) for volume_id in volume_ids]
        for folder in folders:  # check all before changing any
            _check_kind(kind, _id(folder))
            self._check_change(folder, size)
        for folder in folders:
            _clear_leftovers(folder)
            self._grow(folder, size)
            if kind:
                self._convert(folder, kind)

    def remove(self, volume_ids: Sequence[str]) -> None:
        for volume_id in volume_ids:
            folder = self._folder(volume_id)
            if (folder / "volume.json").exists():
                self.detach([volume_id])
                remove_documented(folder, "volume.json")

    def disks(self, fleet: str, instance_id: str) -> Sequence[Disk]:
        """The disks that are attached to an instance, for its next start."""
        return [_disk(self._folder(volume.id)) for volume in self.list(fleet) if volume.attached_to == instance_id]

    def created_blank(self, fleet: str, slot: int) -> Mapping[str, VolumeState]:
        """By name, the volumes of a slot that this provider created, with their states.

        Volumes of earlier releases are not among them, nor are disks that were put in place by hand.
        """
        states: dict[str, VolumeState] = {}
        for document in sorted((self._root / fleet).glob(f"{slot}-*/volume.json")):
            with suppress(ProviderError):  # another run removed it
                facts = _load(document.parent)
                if facts["slot"] == slot and (document.parent / CREATED_BLANK).exists():
                    kind = _kind(facts)
                    states[facts["name"]] = NEW if _holds_data(_path(document.parent, kind), kind) else BLANK
        return states

    def _check_change(self, folder: Path, size: int) -> None:
        facts = _load(folder)
        volume = self._read(folder / "volume.json")
        if volume and volume.attached_to:
            raise ProviderError(f"volume {volume.id} is attached to {volume.attached_to}: detach it before changing it")
        present = _size_of(_path(folder, _kind(facts)), _kind(facts))
        if _whole_sectors(size) < present:
            raise ProviderError(
                f"volume {_id(folder)} has {present} bytes and cannot shrink to {size}: it would lose data"
            )

    def _grow(self, folder: Path, size: int) -> None:
        """Grow the disk, then record its size. After an interruption in between, the next run only records it."""
        facts = _load(folder)
        path, kind = _path(folder, _kind(facts)), _kind(facts)
        if _whole_sectors(size) > _size_of(path, kind):
            _run(["qemu-img", "resize", "-q", "-f", kind, str(path), str(_whole_sectors(size))])
        if facts["size"] != size:
            _sync(path)
            self._write(folder, {**facts, "size": size})

    def _convert(self, folder: Path, kind: str) -> None:
        """Copy the disk. The old disk counts until ``volume.json`` names the new one. Older copies are never used."""
        facts = _load(folder)
        old, new = _path(folder, _kind(facts)), _path(folder, kind)
        if old == new:
            return
        copy = new.with_name(f"{new.name}.part")
        _run(["qemu-img", "convert", "-q", "-f", _kind(facts), "-O", kind, str(old), str(copy)])
        _sync(copy)
        copy.replace(new)
        self._write(folder, {**facts, "kind": kind})
        old.unlink()

    def _folder(self, volume_id: str) -> Path:
        fleet, _slash, name = volume_id.partition("/")
        return self._root / fleet / name

    def _machine_of(self, folder: Path, instance_id: str) -> MachineFolder:
        return MachineFolder(self._machines / folder.parent.name / instance_id)

    def _read(self, document: Path) -> Volume | None:
        folder = document.parent
        try:
            facts = _load(folder)
        except ProviderError:
            return None  # another run removed it
        holder = facts["attached_to"]
        if holder and self._machine_of(folder, holder).removed():
            holder = None
        return Volume(
            id=_id(folder),
            fleet=folder.parent.name,
            slot=facts["slot"],
            name=facts["name"],
            size=facts["size"],
            attached_to=holder,
            attached_at=facts["attached_at"] if holder else 0.0,
            kind=_kind(facts),
        )

    def _write(self, folder: Path, facts: Mapping[str, Any]) -> None:
        write_atomically(folder / "volume.json", json.dumps(facts, indent=1).encode())


class _Facts(TypedDict):
    """What must be in ``volume.json``."""

    slot: int
    name: str
    size: int
    attached_to: str | None
    attached_at: float


def _id(folder: Path) -> str:
    return f"{folder.parent.name}/{folder.name}"


def _kind(facts: Mapping[str, Any]) -> str:
    kind: str = facts.get("kind", KINDS[0])  # volumes of earlier releases have no other kind
    return kind


def _check_kind(kind: str, volume_id: str) -> str:
    if kind and kind not in KINDS:
        raise ProviderError(f"volume {volume_id}: unknown type {kind!r} (qemu has: {', '.join(KINDS)})")
    return kind


def _path(folder: Path, kind: str) -> Path:
    return folder / f"disk.{kind}"


def _disk(folder: Path) -> Disk:
    facts = _load(folder)
    return Disk(_path(folder, _kind(facts)), facts["name"], _kind(facts))


def _clear_leftovers(folder: Path) -> None:
    """Remove copies that an interrupted change left: everything but the disk that ``volume.json`` names."""
    disk = _path(folder, _kind(_load(folder)))
    for file in folder.glob("disk.*"):
        if file != disk:
            file.unlink(missing_ok=True)


def _whole_sectors(size: int) -> int:
    """Bytes, rounded up to whole sectors."""
    return -(-size // _SECTOR) * _SECTOR


def _size_of(path: Path, kind: str) -> int:
    size: int = json.loads(_run(["qemu-img", "info", "--output=json", "-f", kind, str(path)]))["virtual-size"]
    return size


def _refuse_data(folder: Path) -> None:
    """Raise ProviderError if a folder without ``volume.json`` has a disk that anything was ever written to."""
    for kind in KINDS:
        path = _path(folder, kind)
        if not path.exists():
            continue
        try:
            used = _holds_data(path, kind)
        except ProviderError:  # no disk; an interrupted creation may have left it
            used = not (folder / CREATED_BLANK).exists()
        if used:
            raise ProviderError(
                f"{path} holds data, but {folder / 'volume.json'} is missing, so nothing says what it belongs to; "
                "restore volume.json or move the disk away"
            )


def _holds_data(path: Path, kind: str) -> bool:
    """Whether anything was ever written to the disk. It may be in use."""
    extents = json.loads(_run(["qemu-img", "map", "--output=json", "--force-share", "-f", kind, str(path)]))
    allocated = [(extent["start"], extent["length"]) for extent in extents if extent["data"]]
    if kind == "raw" and sum(length for _start, length in allocated) <= _MAX_FIRST_BLOCK:
        with open(path, "rb") as disk:  # qemu-img allocates the first block of a raw disk, full of zeros
            return any(any(os.pread(disk.fileno(), length, start)) for start, length in allocated)
    return bool(allocated)


def _sync(path: Path) -> None:
    """Write the file to disk: qemu-img does not wait for that."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _load(folder: Path) -> dict[str, Any]:
    try:
        facts = parse_json((folder / "volume.json").read_bytes())
        problem = mismatch(facts, _Facts)
    except (FileNotFoundError, NotADirectoryError):
        raise ProviderError(f"there is no volume {_id(folder)}") from None
    except ValueError as error:
        problem = str(error)
    if problem:  # not a ProviderError, which means that the volume is gone
        raise StoreError(
            f"{folder / 'volume.json'} is not the document of a volume ({problem}); restore it, the disk is untouched"
        )
    return dict(facts)


def _run(argv: Sequence[str]) -> str:
    """Run a program and return its standard output. Raises ProviderError with its error output."""
    try:
        done = (
            run_to_end(argv) if argv[1] in _LONG else subprocess.run(argv, capture_output=True, text=True, check=False)
        )
    except FileNotFoundError:
        raise ProviderError(f"{argv[0]} is not installed (Debian: apt install qemu-utils)") from None
    if done.returncode:
        raise ProviderError(f"{argv[0]} failed: {done.stderr.strip()}")
    return done.stdout
