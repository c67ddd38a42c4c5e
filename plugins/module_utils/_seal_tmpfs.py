# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is in memory on a sealed host, and what each boot recreates there."""

from __future__ import annotations

import os
import stat
from typing import Iterable, Iterator

from ._seal_changes import Changes, Refused, owner
from ._seal_paths import SYSTEM_WRITABLE, within
from ._seal_text import systemd_word, tmpfiles_argument

LOG_FOLDER = "/var/log"
LOG_SIZE = "20%"  # of the host's memory
TEMPORARY = ("/tmp", "/var/tmp")
ROTATION_STATE = "/var/lib/logrotate"
ROTATION_TIMER = "logrotate.timer"
_ROTATION_PROGRAM = "/usr/sbin/logrotate"
_SKELETON = "/usr/lib/tmpfiles.d/immutable.conf"
_UNREADABLE = ("\n", "\r")  # no line of tmpfiles.d can have them in a path


def rotates_logs(changes: Changes) -> bool:
    """Return whether the image has logrotate."""
    return os.path.exists(changes.full_path(_ROTATION_PROGRAM))


def tmpfs_paths(changes: Changes, writable: Iterable[str], data: Iterable[str]) -> list[str]:
    """Return the paths to mount a tmpfs on, without those inside another one.

    Args:
        writable: the definition's, without links.
        data: mounts of data volumes.
    """
    wanted = {*SYSTEM_WRITABLE, *writable}
    if rotates_logs(changes) and not any(within(ROTATION_STATE, mount) for mount in data):
        wanted.add(ROTATION_STATE)
    paths: list[str] = []
    for path in sorted(wanted):
        # Logs have a size of their own.
        if path == LOG_FOLDER or not any(within(path, around) for around in (*paths, "/run")):
            paths.append(path)
    return paths


def write_skeleton(changes: Changes, tmpfs: Iterable[str], *, own: bool = False) -> None:
    """Recreate the folders and links below each tmpfs at boot, with their owners and modes. Raises Refused, OSError.

    Args:
        own: whether each tmpfs itself gets its owner at boot as well, because it is mounted without one.
    """
    lines = ["# Written at bake time from the folders and links that the mounted tmpfs hide.\n"]
    for path in tmpfs:
        if path not in TEMPORARY:
            lines += [_line(changes, path)] if own else []
            lines += _lines_below(changes, path)
    changes.write(_SKELETON, "".join([lines[0], *sorted(set(lines[1:]))]))


def _line(changes: Changes, path: str) -> str:
    _check_name(path)
    _check_owners(changes, path)
    mode, uid, gid = owner(changes.full_path(path))
    return f"d {systemd_word(path)} {mode:04o} {uid} {gid} -\n"


def _lines_below(changes: Changes, top: str) -> Iterator[str]:
    for parent, folders, files in os.walk(changes.full_path(top)):
        kept = False
        for name in sorted([*folders, *files]):
            full = os.path.join(parent, name)
            path = os.path.join("/", os.path.relpath(full, changes.root))
            info = os.lstat(full)
            if stat.S_ISDIR(info.st_mode):
                _check_name(path)
                yield f"d {systemd_word(path)} {stat.S_IMODE(info.st_mode):04o} {info.st_uid} {info.st_gid} -\n"
            elif stat.S_ISLNK(info.st_mode):
                _check_name(path)
                target = tmpfiles_argument(os.readlink(full))
                yield f"L {systemd_word(path)} - {info.st_uid} {info.st_gid} - {target}\n"
            else:
                continue
            kept = True
        if kept:
            _check_owners(changes, os.path.join("/", os.path.relpath(parent, changes.root)))


def _check_name(path: str) -> None:
    if any(char in path for char in _UNREADABLE):
        raise Refused(
            f"{path!r} cannot be recreated at boot, because its name has a line end (allowed: another name, or remove"
            " it while the image is provisioned)"
        )


def _check_owners(changes: Changes, folder: str) -> None:
    """Refuse a folder in which systemd-tmpfiles creates nothing.

    It does not follow a path from a user's folder to a folder of another user, who could be made to write elsewhere.
    """
    outer, outer_uid = "/", 0
    for part in folder.strip("/").split("/"):
        inner = os.path.join(outer, part)
        uid = os.lstat(changes.full_path(inner)).st_uid
        if outer_uid not in (0, uid):
            raise Refused(
                f"the content of {folder!r} cannot be recreated at boot: {outer!r} belongs to uid {outer_uid}, but"
                f" {inner!r} in it to uid {uid} (allowed: one owner for both, root for the outer one, or no content)"
            )
        outer, outer_uid = inner, uid
