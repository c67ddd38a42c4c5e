# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether the files of an image are still those that were baked.

A record holds the SHA-256 of the image's disk, manifest and SBOM. A disk is read when an image is first used on a
controller, and again whenever its size, times or inode changed. What was seen is kept in this user's private folder,
so that a quiet run reads nothing. The time of the last change of an inode cannot be set back by who may write the disk.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from .._core.documents import parse_json
from .._core.errors import ImageError
from .._core.files import file_sha256, make_private_folder, write_atomically
from .._core.progress import Report, silent
from .._image_model import DISK_CHECKSUM, Image, digest_hex
from .._store.base import Store


def require_unchanged_disk(image: Image, store: Store, report: Report = silent) -> None:
    """Raise ImageError if the image's disk on this machine is not the one that was baked.

    The disk of an image that an earlier release baked has no checksum on record. It is taken as it is at its first use,
    which is reported, and must not change from then on. An image without a disk on this machine passes, and so does a
    missing disk, which the provider reports.
    """
    disk = Path(str(image.artifact.get("path", "")))
    if "path" not in image.artifact or not disk.is_file():
        return
    seen_file = store.local_path(f"cache/disks/{digest_hex(image.digest)}-{image.build}")
    try:
        seen = _read(seen_file)
        expected = image.checksums.get(DISK_CHECKSUM) or seen.get("sha256")
        identity = _identity(disk)
        if seen == {"path": str(disk), "sha256": expected, "identity": identity}:
            return
        found = file_sha256(disk)
        if expected and found != expected:
            raise _changed(image, f"disk {disk}", expected, found)
        if not expected:
            report(
                f"{image.name}: an earlier release baked it and recorded no checksum; its disk is taken as it is"
                f" (sha256:{found})"
            )
        make_private_folder(seen_file.parent)
        # The identity from before the disk was read: a change meanwhile is seen next time.
        document = {"path": str(disk), "sha256": found, "identity": identity}
        write_atomically(seen_file, json.dumps(document).encode())
    except OSError as error:
        raise ImageError(f"the disk of {image.name} cannot be checked: {error.filename}: {error.strerror}") from error


def require_unchanged_file(image: Image, name: str, data: bytes, location: str) -> None:
    """Raise ImageError if a file of the image in the store is not the one that was recorded.

    Args:
        name: of the file below the image's key.
        location: of the file, for messages.
    """
    expected, found = image.checksums.get(name), hashlib.sha256(data).hexdigest()
    if expected and found != expected:
        raise _changed(image, f"file {location}", expected, found)


def _changed(image: Image, what: str, expected: str, found: str) -> ImageError:
    return ImageError(
        f"the {what} of {image.name} changed since it was baked: its checksum is sha256:{found}, but the record says"
        f" sha256:{expected}. Find out who changed it, then bake the image again (force: true)"
    )


def _identity(disk: Path) -> list[int]:
    status = disk.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev]


def _read(file: Path) -> dict[str, Any]:
    try:
        seen = parse_json(file.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return seen if isinstance(seen, dict) else {}
