# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The disk that an image is baked from: what it is without the network, and how it is fetched when a bake is due."""

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

from .._aws.clients import Account
from .._core.errors import BakeError
from .._core.files import write_atomically
from .._core.progress import Report, silent
from .._definition.model import Base
from .._store.base import Store
from .builders.ami import resolve_ami

ARCHITECTURE = "x86_64"
_CHUNK = 1024**2
_TOLD_EVERY = 2.0  # seconds between two lines of a download
_SCHEMES = ("file", "http", "https")


def resolve_base(base: Base, store: Store, folder: Path, account: Account | None = None) -> dict[str, Any] | None:
    """The base as it enters the digest, or None where it is not built yet. Uses the network for an AMI only.

    Returns ``{"kind", "source", "sha256" (hex), "architecture", "python"}``, or what ``resolve_ami`` does. Raises BakeError for a
    qcow2 that is missing or not what its checksum says.

    Args:
        account: where on AWS it is baked; see ``Target.build_account``.
    """
    if base.kind == "ami":
        return resolve_ami(base, account or Account())
    if base.kind == "debian":
        built = _built(base, store)
        return (
            None
            if built is None
            else {key: built[key] for key in ("kind", "source", "sha256", "architecture", "python")}
        )
    sha256 = _expected(base) if base.kind == "url" else _of_disk(base, store, folder)
    return {
        "kind": base.kind,
        "source": base.source,
        "sha256": sha256,
        "architecture": ARCHITECTURE,
        "python": base.python,
    }


def base_path(base: Base, store: Store, folder: Path) -> Path:
    """Where the base's disk is, or will be once it was fetched."""
    if base.kind == "debian":
        built = _built(base, store) or {"path": "disk.qcow2"}
        return store.local(f"bases/debian-{base.source}") / str(built["path"])
    if base.kind == "url":
        return store.local(f"bases/url-{_expected(base)}/disk.qcow2")
    return folder / base.source


def fetch_base(base: Base, store: Store, folder: Path, report: Report = silent) -> Path:
    """Return the disk's path, downloading it first where it comes from a URL and is not there yet. Raises BakeError."""
    path = base_path(base, store, folder)
    if base.kind == "url" and not path.exists():
        with store.lock(f"base-{_expected(base)[:12]}", f"download {base.source}", wait=3600.0):
            if not path.exists():
                _download(base.source, _expected(base), path, report)
    if not path.exists():
        raise BakeError(f"the base's disk {path} is not there; build it first (role immutable.infra.base_image)")
    return path


def _built(base: Base, store: Store) -> dict[str, Any] | None:
    found = store.read(f"bases/debian-{base.source}/base.json")
    return dict(found[0]) if found else None


def _expected(base: Base) -> str:
    return (base.checksum or "").removeprefix("sha256:").lower()


def _of_disk(base: Base, store: Store, folder: Path) -> str:
    path = folder / base.source
    try:
        status = path.stat()
        key = f"cache/checksums/{hashlib.sha256(str(path.resolve()).encode()).hexdigest()}.json"
        seen = [status.st_size, status.st_mtime_ns, status.st_ino]
        known = store.read(key)
        if known and known[0]["seen"] == seen:
            sha256 = str(known[0]["sha256"])
        else:
            sha256 = file_sha256(path)
            store.write(key, {"path": str(path), "seen": seen, "sha256": sha256})
    except OSError as error:
        raise BakeError(f"the base {path} cannot be read: {error.strerror}") from error
    if base.checksum and sha256 != _expected(base):
        raise BakeError(f"the base {path} has checksum sha256:{sha256}, but the definition says {base.checksum}")
    return sha256


def file_sha256(path: Path) -> str:
    """Hex digest of a file's bytes. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _download(url: str, expected: str, path: Path, report: Report) -> None:
    scheme = urllib.parse.urlsplit(url).scheme
    if scheme not in _SCHEMES:
        raise BakeError(
            f"the base {url} cannot be fetched: {scheme or 'no scheme'} is not supported (allowed: {', '.join(_SCHEMES)})"
        )
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_suffix(".part")  # under a lock, so it is nobody else's
    try:
        found = _stream(url, part, report)
        if found != expected:
            raise BakeError(f"the base {url} has checksum sha256:{found}, but the definition says sha256:{expected}")
        part.chmod(0o444)
        os.replace(part, path)
        facts = {"kind": "url", "source": url, "sha256": found, "path": path.name}
        write_atomically(path.parent / "base.json", json.dumps(facts, indent=1).encode())
    except (OSError, ConnectionFailed) as error:
        raise BakeError(f"the base {url} cannot be fetched: {error}") from error
    finally:
        part.unlink(missing_ok=True)


def _stream(url: str, part: Path, report: Report) -> str:
    digest = hashlib.sha256()
    told, done = time.monotonic(), 0
    # The scheme was checked; a redirect can only lead to http, https or ftp, and the checksum decides in any case.
    with open_url(url, timeout=60) as answer, part.open("wb") as file:
        total = int(answer.headers.get("Content-Length") or 0)
        while chunk := answer.read(_CHUNK):
            file.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            if time.monotonic() - told >= _TOLD_EVERY:
                told = time.monotonic()
                report(f"base: {done // _CHUNK} of {total // _CHUNK if total else '?'} MiB")
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()
