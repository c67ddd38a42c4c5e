# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Writes the archive of a container image from the root file system that Packer exports.

The archive is an OCI layout and a docker archive at once, so that each engine loads it. It has one layer, which is not
compressed. Nothing in it depends on the engine or on time, so the same files give the same image. It is written as a
stream: the root file system is never in memory, and is written once.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from .._core.errors import BakeError

_CHUNK = 1024**2
_BLOCK = 512
_EPOCH = "1970-01-01T00:00:00Z"
_XATTR = "SCHILY.xattr."
_WHITEOUT = ".wh."
# Folders that an engine mounts something over. What is in them came from the engine, or was in memory.
MOUNTED = ("dev", "proc", "run", "sys", "tmp")
_MODES = {"tmp": 0o1777}
# Files that an engine creates or mounts. The image has its own.
_ENGINE_FILES = (".dockerenv", ".dockerinit")
_OWN_FILES = {
    "etc/hosts": b"127.0.0.1 localhost\n::1 localhost ip6-localhost\n",
    "etc/hostname": b"localhost\n",
    "etc/resolv.conf": b"",
}
_KINDS = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE)
_CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
_LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
_MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
_LAYOUT = re.compile(r"/+")


@dataclass(frozen=True)
class ImageConfig:
    """What an engine needs to know of an image.

    Attributes:
        command: the first process and its arguments.
        user: "user" or "user:group" by name, "" for root.
        environment: lines such as ``PATH=/usr/bin``.
        labels: by name.
    """

    command: Sequence[str]
    stop_signal: str
    user: str = ""
    environment: Sequence[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    architecture: str = "amd64"

    def as_dict(self, layer: str) -> dict[str, Any]:
        """Return the OCI configuration of an image with one layer, whose digest is ``sha256:<hex>``."""
        return {
            "created": _EPOCH,
            "architecture": self.architecture,
            "os": "linux",
            "config": {
                "Cmd": list(self.command),
                "Env": list(self.environment),
                "Labels": dict(self.labels),
                "StopSignal": self.stop_signal,
                "WorkingDir": "/",
                **({"User": self.user} if self.user else {}),
            },
            "rootfs": {"type": "layers", "diff_ids": [layer]},
            "history": [{"created": _EPOCH, "created_by": "immutable.infra"}],
        }


def write_image_archive(export: Path, archive: Path, config: ImageConfig) -> str:
    """Write the archive, and wait until it is on the disk. Returns the image's id, ``sha256:<hex>``.

    Args:
        export: tarball of a root file system, as an engine exports it.

    Raises BakeError if the export cannot be read or contains what no image may have, OSError.
    """
    with archive.open("xb") as file:
        _add(file, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        layer = _write_layer(export, file)
        data = _json(config.as_dict(f"sha256:{layer.digest}"))
        described = _descriptor(_CONFIG_TYPE, data)
        manifest = _json(
            {
                "schemaVersion": 2,
                "mediaType": _MANIFEST_TYPE,
                "config": described,
                "layers": [{"mediaType": _LAYER_TYPE, "digest": f"sha256:{layer.digest}", "size": layer.size}],
            }
        )
        for blob in (data, manifest):
            _add(file, _blob_name(hashlib.sha256(blob).hexdigest()), blob)
        index = {"schemaVersion": 2, "manifests": [_descriptor(_MANIFEST_TYPE, manifest)]}
        _add(file, "index.json", _json(index))
        image = str(described["digest"])
        docker = {"Config": _blob_name(image), "RepoTags": None, "Layers": [_blob_name(layer.digest)]}
        _add(file, "manifest.json", _json([docker]))
        file.write(bytes(2 * _BLOCK))
        file.flush()
        os.fsync(file.fileno())
    return image


def read_exported(export: Path, path: str) -> bytes | None:
    """Return the content of a file in an export, None if there is none.

    Args:
        path: absolute.

    Raises BakeError if the export cannot be read or the file is larger than a mebibyte.
    """
    with _reading(export) as source:
        for member in source:
            if _path(member.name) == path.lstrip("/") and member.isreg():
                if member.size > _CHUNK:
                    raise BakeError(f"the image has a file {path} of {member.size} bytes")
                file = source.extractfile(member)
                return file.read() if file else None
    return None


@dataclass(frozen=True)
class _Layer:
    digest: str
    size: int


class _Hashed:
    """A file that computes the checksum of what is written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.checksum = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self.checksum.update(data)
        self.size += len(data)
        return self._file.write(data)

    def tell(self) -> int:
        return self.size


def _write_layer(export: Path, file: IO[bytes]) -> _Layer:
    """Write the layer, whose name is its checksum: its header is written last."""
    header = file.tell()
    file.write(bytes(_BLOCK))
    hashed = _Hashed(file)
    with tarfile.open(fileobj=hashed, mode="w|", format=tarfile.PAX_FORMAT, bufsize=_CHUNK) as layer:  # type: ignore[call-overload]
        _copy(export, layer)
    end = file.tell()
    file.write(bytes(-hashed.size % _BLOCK))
    end = file.tell()
    file.seek(header)
    file.write(_header(_blob_name(hashed.checksum.hexdigest()), hashed.size))
    file.seek(end)
    return _Layer(hashed.checksum.hexdigest(), hashed.size)


def _copy(export: Path, layer: tarfile.TarFile) -> None:
    """Copy the entries that belong to the image, in their order, without what depends on the engine."""
    seen: set[str] = set()
    with _reading(export) as source:
        for member in source:
            name = _path(member.name)
            if not name or not _belongs(name, member):
                continue
            _check(name, member)
            seen.add(name)
            entry = _normal(name, member)
            if name in _OWN_FILES and member.isreg():
                entry.size = len(_OWN_FILES[name])
                layer.addfile(entry, BytesIO(_OWN_FILES[name]))
            else:
                layer.addfile(entry, source.extractfile(member) if member.isreg() else None)
    for name in MOUNTED:
        if name not in seen:
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, _MODES.get(name, 0o755)
            layer.addfile(folder)


@contextmanager
def _reading(export: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(export, "r|", bufsize=_CHUNK) as source:
            yield source
    except tarfile.TarError as error:
        raise BakeError(f"the root file system that Packer exported cannot be read: {error}") from error


def _path(name: str) -> str:
    """The path of an entry relative to the root, "" for the root. Raises BakeError if it leads out of the root."""
    parts = [part for part in _LAYOUT.split(name) if part not in ("", ".")]
    if ".." in parts:
        raise BakeError(f"the image has a file whose path leads out of it: {name!r}")
    return "/".join(parts)


def _belongs(name: str, member: tarfile.TarInfo) -> bool:
    top, slash, _rest = name.partition("/")
    if top in MOUNTED and (slash or not member.isdir()):
        return bool(not slash)  # such a folder may be a link
    return name not in _ENGINE_FILES


def _check(name: str, member: tarfile.TarInfo) -> None:
    if member.type not in _KINDS and not member.isreg():
        raise BakeError(
            f"the image has a device file outside of /dev: /{name} (allowed: files, folders, links and pipes)"
        )
    if name.rpartition("/")[2].startswith(_WHITEOUT):
        raise BakeError(
            f"the image has the file /{name}, and engines take a name that begins with {_WHITEOUT} for a removed file"
            " (allowed: another name)"
        )


def _normal(name: str, member: tarfile.TarInfo) -> tarfile.TarInfo:
    """The same entry by numbers instead of names of users, with its extended attributes."""
    entry = tarfile.TarInfo(name)
    # A file with holes is a plain one.
    entry.type = tarfile.REGTYPE if member.isreg() else member.type
    entry.mode = member.mode & 0o7777
    entry.uid, entry.gid = member.uid, member.gid
    entry.mtime = int(member.mtime)
    entry.size = member.size if member.isreg() else 0
    entry.linkname = _path(member.linkname) if member.islnk() else member.linkname
    entry.pax_headers = {key: value for key, value in member.pax_headers.items() if key.startswith(_XATTR)}
    return entry


def _add(file: IO[bytes], name: str, data: bytes) -> None:
    file.write(_header(name, len(data)) + data + bytes(-len(data) % _BLOCK))


def _header(name: str, size: int) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size = size
    return entry.tobuf(tarfile.GNU_FORMAT)  # one block, also for more than 8 GiB


def _blob_name(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def _descriptor(kind: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "digest": f"sha256:{hashlib.sha256(data).hexdigest()}", "size": len(data)}


def _json(document: Any) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
