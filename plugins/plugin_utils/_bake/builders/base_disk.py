# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A disk that images are baked from: a Debian base that was built here, a qcow2 file, or a URL."""

from __future__ import annotations

import hashlib
import json
import os
import time
import urllib.parse
from pathlib import Path
from typing import Any

from ansible.module_utils.urls import ConnectionError as ConnectionFailed
from ansible.module_utils.urls import open_url

from ..._core.errors import BakeError
from ..._core.files import file_sha256, make_private_folder, write_atomically
from ..._core.progress import Report, silent
from ..._core.qcow2 import why_refused
from ..._definition.model import Base
from ..._store.base import Store

ARCHITECTURE = "x86_64"
DISK = "disk.qcow2"
_CHUNK = 1024**2
_DOWNLOAD_TIMEOUT = 60  # seconds without any data
_LOCK_TIMEOUT = 3600.0  # seconds to wait for another run that downloads the same disk
_REPORT_INTERVAL = 2.0  # seconds between two lines about a download
_SCHEMES = ("file", "http", "https")


def resolve_disk(base: Base, store: Store, folder: Path) -> dict[str, Any] | None:
    """Return ``{"kind", "source", "sha256" (hexadecimal), "architecture", "python"}``, without using the network.

    Returns None for a Debian base that is not built yet. Raises BakeError for a qcow2 file that is missing or does not
    match its checksum.
    """
    if base.kind == "debian":
        built = _built(base, store)
        return built and {key: built[key] for key in ("kind", "source", "sha256", "architecture", "python")}
    sha256 = _expected(base) if base.kind == "url" else file_checksum(base, store, folder)
    return described_base(base, sha256)


def described_base(base: Base, sha256: str) -> dict[str, Any]:
    """Return a base that was not built here as it enters the digest."""
    return {
        "kind": base.kind,
        "source": base.source,
        "sha256": sha256,
        "architecture": ARCHITECTURE,
        "python": base.python,
    }


def disk_path(base: Base, store: Store, folder: Path) -> Path:
    """Return the path of the base's disk. The disk of a URL is there after ``fetch_disk``."""
    if base.kind == "debian":
        built = _built(base, store) or {"path": DISK}
        return store.local_path(f"bases/debian-{base.source}") / str(built["path"])
    if base.kind == "url":
        return store.local_path(f"bases/url-{_expected(base)}") / DISK
    return folder / base.source


def fetch_disk(base: Base, store: Store, folder: Path, report: Report = silent) -> Path:
    """Return the path of the base's disk.

    Downloads it first if it comes from a URL and is not in the store yet. Raises BakeError.
    """
    path = disk_path(base, store, folder)
    if base.kind == "url" and not path.exists():
        with store.lock(f"base-{_expected(base)[:12]}", f"download {base.source}", wait=_LOCK_TIMEOUT):
            if not path.exists():
                _download(base.source, _expected(base), path, report)
    if not path.exists():
        raise BakeError(f"the base's disk {path} does not exist; build it first (role immutable.infra.base_image)")
    return path


def open_base(base: Base, store: Store, folder: Path, report: Report = silent) -> Path:
    """Return the path of the base's disk for programs that open it, after ``fetch_disk``.

    Raises BakeError, also for a disk that is not qcow2 or names another file: its maker would choose a file of
    this machine, and the checksum in the definition is theirs.
    """
    path = fetch_disk(base, store, folder, report)
    try:
        refused = why_refused(path)
    except OSError as error:
        raise BakeError(f"cannot read the base {path}: {error.strerror}") from error
    if refused:
        raise BakeError(f"the base {path} {refused}")
    return path


def _built(base: Base, store: Store) -> dict[str, Any] | None:
    found = store.read(f"bases/debian-{base.source}/base.json")
    return dict(found[0]) if found else None


def _expected(base: Base) -> str:
    return (base.checksum or "").removeprefix("sha256:").lower()


def file_checksum(base: Base, store: Store, folder: Path) -> str:
    """Return the checksum of a base's file, read again only if its size, time or inode changed. Raises BakeError."""
    path = folder / base.source
    try:
        status = path.stat()
        key = f"cache/checksums/{hashlib.sha256(str(path.resolve()).encode()).hexdigest()}.json"
        state = [status.st_size, status.st_mtime_ns, status.st_ino]
        cached = store.read(key)
        if cached and isinstance(cached[0], dict) and cached[0].get("seen") == state and "sha256" in cached[0]:
            sha256 = str(cached[0]["sha256"])
        else:
            sha256 = file_sha256(path)
            store.write(key, {"path": str(path), "seen": state, "sha256": sha256})
    except OSError as error:
        raise BakeError(f"cannot read the base {path}: {error.strerror}") from error
    if base.checksum and sha256 != _expected(base):
        raise BakeError(f"the base {path} has the checksum sha256:{sha256}, but the definition says {base.checksum}")
    return sha256


def _download(url: str, expected: str, path: Path, report: Report) -> None:
    scheme = urllib.parse.urlsplit(url).scheme
    if scheme not in _SCHEMES:
        raise BakeError(
            f"cannot download the base {url}: {scheme or 'a URL without a scheme'} is not supported"
            f" (allowed: {', '.join(_SCHEMES)})"
        )
    make_private_folder(path.parent)
    part = path.with_suffix(".part")  # safe to overwrite, because the caller holds the lock
    try:
        sha256 = _stream(url, part, report)
        if sha256 != expected:
            raise BakeError(
                f"the base {url} has the checksum sha256:{sha256}, but the definition says sha256:{expected}"
            )
        part.chmod(0o444)
        os.replace(part, path)
        record = {"kind": "url", "source": url, "sha256": sha256, "path": path.name}
        write_atomically(path.parent / "base.json", json.dumps(record, indent=1).encode())
    except (OSError, ConnectionFailed) as error:
        raise BakeError(f"cannot download the base {url}: {error}") from error
    finally:
        part.unlink(missing_ok=True)


def _stream(url: str, part: Path, report: Report) -> str:
    """Write the content of ``url`` to ``part`` and return its checksum."""
    digest = hashlib.sha256()
    reported, received = time.monotonic(), 0
    # The scheme was checked. A redirect can only lead to http, https or ftp, and the checksum decides in any case.
    with open_url(url, timeout=_DOWNLOAD_TIMEOUT) as response, part.open("wb") as file:
        total = int(response.headers.get("Content-Length") or 0)
        while chunk := response.read(_CHUNK):
            file.write(chunk)
            digest.update(chunk)
            received += len(chunk)
            if time.monotonic() - reported >= _REPORT_INTERVAL:
                reported = time.monotonic()
                report(f"base: {received // _CHUNK} of {total // _CHUNK if total else '?'} MiB")
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()
