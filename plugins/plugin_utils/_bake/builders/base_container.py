# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A root file system that container images are baked from: built here, from a registry, or from an archive.

The engine keeps each one as an image, with the id of its content. So a base is imported once.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..._core.documents import mismatch, parse_json
from ..._core.errors import BakeError, ProviderError
from ..._core.files import file_sha256
from ..._core.progress import Report, silent
from ..._definition.model import Base
from ..._images.engine_copies import BASES, IMPORTED, USED
from ..._providers.container_engine import PODMAN, ContainerEngine
from ..._providers.container_images import has_image
from ..._store.base import Store
from .base_disk import described_base, file_checksum

NAME = "localhost/immutable-base"  # of bases in the engine; the tag is the start of a base's checksum
ROOT = "root.tar"
_TIMEOUT = 1800.0  # seconds to import or pull a base
_LOCK_TIMEOUT = 3600.0  # seconds to wait for another run that imports the same base
_MAX_BYTES = 64 * 1024**3  # of all files in an archive
_MAX_FILES = 4_000_000
_MAX_HEADER = 1024**2  # bytes of one header that describes the next file; the kernel's own limits allow less
_DESCRIBING = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
_MAX_DOCUMENTS = 256 * 1024**2  # bytes of everything in an archive that may be such JSON
_MAX_DOCUMENT = 4 * 1024**2  # bytes of JSON in the archive of an image
_LOOPBACK = re.compile(r"(localhost|127(\.[0-9]{1,3}){3})(:[0-9]+)?/")
_MANIFEST, _INDEX = "manifest.json", "index.json"
_ID: Final = re.compile(r"[0-9a-f]{64}")


def resolve_container_base(base: Base, store: Store, folder: Path) -> dict[str, Any] | None:
    """Return ``{"kind", "source", "sha256" (hexadecimal), "architecture", "python"}``, without using the network.

    Returns None for a Debian base that is not built yet. Raises BakeError for an archive that is missing or does not
    match its checksum, and for a base whose Python is not known.
    """
    if base.kind == "debian":
        found = store.read(f"{_folder(base)}/base.json")
        return found and {key: found[0][key] for key in ("kind", "source", "sha256", "architecture", "python")}
    if not base.python:
        raise BakeError(
            f"the version of Python in the base {base.source} is not known: set image.base.python, such as "
            '"3.11" (python3 has to be installed in the base)'
        )
    sha256 = base.source.rpartition("@sha256:")[2] if base.kind == "container" else file_checksum(base, store, folder)
    return described_base(base, sha256)


@dataclass(frozen=True)
class LoadedBase:
    """A base in the engine.

    Attributes:
        image: its id in the engine, hexadecimal.
        environment: lines such as ``PATH=/usr/bin``.
    """

    image: str
    environment: tuple[str, ...]


def load_base(
    engine: ContainerEngine, base: Base, store: Store, *, sha256: str, folder: Path, report: Report = silent
) -> LoadedBase:
    """Return the base as an image of the engine. Imports or pulls it if the engine does not have it.

    Args:
        sha256: of the resolved base, hexadecimal.
        folder: of the definition.

    Raises BakeError, ProviderError, StoreError.
    """
    name = f"{NAME}:{sha256[:24]}"
    key = f"{BASES}/{engine.name}-{sha256}.json"
    with store.lock(f"container-base-{sha256[:12]}", f"import the base {base.source}", wait=_LOCK_TIMEOUT):
        known = store.read(key)
        image = str(known[0].get(IMPORTED, "")) if known and isinstance(known[0], dict) else ""
        if not _ID.fullmatch(image) or not has_image(engine, image):
            report(f"importing the base {base.source}")
            path = store.local_path(_folder(base)) / ROOT if base.kind == "debian" else folder / base.source
            image = _pull(engine, base) if base.kind == "container" else _import(engine, base, path, sha256)
        store.write(key, {IMPORTED: image, USED: int(time.time())})
        engine.run("tag", image, name)
    found = engine.json("image", "inspect", image)
    return _described(engine, base, image, found)


def _described(engine: ContainerEngine, base: Base, image: str, found: Any) -> LoadedBase:
    config = found[0].get("Config") if isinstance(found, list) and found and isinstance(found[0], dict) else None
    config = config if isinstance(config, dict) else {}
    environment = config.get("Env") or []
    if mismatch(environment, list[str]) or len("".join(environment)) > _MAX_DOCUMENT:
        raise BakeError(f"the base {base.source} has an environment that cannot be read")
    if config.get("Volumes") and engine.name != PODMAN:
        raise BakeError(
            f"the base {base.source} declares volumes ({', '.join(sorted(config['Volumes']))}), and docker would keep "
            "their content out of the image (allowed: a base without volumes, or engine: podman)"
        )
    return LoadedBase(image, tuple(line for line in environment if "=" in line and "\n" not in line))


def _import(engine: ContainerEngine, base: Base, path: Path, sha256: str) -> str:
    """Give the engine a base that is a file, and return the id that it has there."""
    try:
        found = file_sha256(path)
    except OSError as error:
        raise BakeError(f"cannot read the base {path}: {error.strerror}") from error
    if found != sha256:
        raise BakeError(f"the base {path} changed: it has the checksum sha256:{found} instead of sha256:{sha256}")
    if base.kind == "archive" and (image := _image_in(path)):
        engine.run("load", "--quiet", "--input", str(path), timeout=_TIMEOUT)
        if not has_image(engine, image):
            raise BakeError(f"{engine.name} did not load the image sha256:{image} from {path}")
        return image
    printed = engine.run("import", str(path), timeout=_TIMEOUT)
    image = printed.strip().splitlines()[-1].removeprefix("sha256:") if printed.strip() else ""
    if not _ID.fullmatch(image):
        raise BakeError(f"{engine.name} did not name the image that it imported from {path}: {printed[-200:]!r}")
    return image


def _pull(engine: ContainerEngine, base: Base) -> str:
    """Pull an image by its digest, with the credentials that the user gave the engine."""
    # Docker takes a registry on loopback for one without TLS, too.
    plain = ["--tls-verify=false"] if engine.name == PODMAN and _LOOPBACK.match(base.source) else []
    try:
        engine.run("pull", "--quiet", *plain, base.source, timeout=_TIMEOUT)
    except ProviderError as error:
        raise BakeError(f"cannot pull the base {base.source}: {error.message}") from error
    image = engine.run("image", "inspect", "--format", "{{.Id}}", base.source).strip().removeprefix("sha256:")
    if not _ID.fullmatch(image):
        raise BakeError(f"{engine.name} does not name the image that it pulled: {image[:200]!r}")
    return image


class _BoundedHeaders(tarfile.TarInfo):
    """Headers of a tar archive. Those that describe the next file are read into memory, however long they say to be."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _BoundedHeaders:
        header = super().frombuf(buf, encoding, errors)
        if header.type in _DESCRIBING and header.size > _MAX_HEADER:
            raise tarfile.ReadError(f"a header has {header.size} bytes (allowed: {_MAX_HEADER})")
        return header


def _image_in(path: Path) -> str:
    """The id of the image in an archive, "" for the archive of a root file system. Reads its headers once.

    Raises BakeError if the archive is too large, leads out of its root or cannot be read.
    """
    size = files = described = 0
    documents: dict[str, bytes] = {}
    checksums: dict[str, str] = {}
    try:
        with tarfile.open(path, tarinfo=_BoundedHeaders) as archive:
            for member in archive:
                size, files = size + member.size, files + 1
                if size > _MAX_BYTES or files > _MAX_FILES:
                    raise BakeError(
                        f"the base {path} is too large (allowed: {_MAX_FILES} files with {_MAX_BYTES // 1024**3} GiB)"
                    )
                if ".." in member.name.split("/"):
                    raise BakeError(f"the base {path} has a file whose path leads out of it: {member.name!r}")
                if member.isreg() and member.size <= _MAX_DOCUMENT and _may_describe(member.name):
                    described += member.size
                    if described > _MAX_DOCUMENTS:
                        raise BakeError(
                            f"the base {path} has too many small blobs (allowed: {_MAX_DOCUMENTS // 1024**2} MiB)"
                        )
                    file = archive.extractfile(member)
                    documents[member.name] = file.read() if file else b""
                    checksums[member.name] = hashlib.sha256(documents[member.name]).hexdigest()
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise BakeError(f"the base {path} cannot be read as a tar archive: {error}") from error
    return _docker_image(path, documents, checksums) or _oci_image(path, documents)


def _may_describe(name: str) -> bool:
    """Whether a file can be a description of an image. A root file system has none at such places."""
    return name in (_MANIFEST, _INDEX) or name.startswith("blobs/sha256/") or bool(re.fullmatch(r"[^/]+\.json", name))


def _docker_image(path: Path, documents: dict[str, bytes], checksums: dict[str, str]) -> str:
    if _MANIFEST not in documents:
        return ""
    images = _parsed(path, documents[_MANIFEST], list[dict[str, Any]])
    config = str(images[0].get("Config", "")) if len(images) == 1 else ""
    if config not in checksums:
        raise BakeError(f"the base {path} does not hold exactly one image")
    return checksums[config]


def _oci_image(path: Path, documents: dict[str, bytes]) -> str:
    if _INDEX not in documents:
        return ""
    manifests = _parsed(path, documents[_INDEX], dict[str, Any]).get("manifests")
    if not isinstance(manifests, list) or len(manifests) != 1:
        raise BakeError(f"the base {path} does not hold exactly one image")
    manifest = _parsed(path, documents.get(_blob(manifests[0]), b""), dict[str, Any])
    config = _blob(manifest.get("config"))
    if config not in documents:
        raise BakeError(f"the base {path} does not hold the configuration of its image")
    return config.rpartition("/")[2]


def _blob(descriptor: Any) -> str:
    digest = descriptor.get("digest") if isinstance(descriptor, dict) else None
    return f"blobs/sha256/{str(digest).removeprefix('sha256:')}"


def _parsed(path: Path, document: bytes, kind: Any) -> Any:
    try:
        found = parse_json(document)
    except ValueError as error:
        raise BakeError(f"the base {path} cannot be read: {error}") from error
    if problem := mismatch(found, kind):
        raise BakeError(f"the base {path} cannot be read: {problem}")
    return found


def _folder(base: Base) -> str:
    return f"bases/debian-{base.source}-container"
