# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether other users could have written what a store holds: its keys, records, channels, machines and disks.

A file is trusted if it belongs to this user or root, and if other users cannot write to it. Permissions inside a folder
that others cannot enter do not matter, but owners do: a file may have been put there before the folder was closed.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path

from .._core.errors import StoreError

_ENTER = stat.S_IXGRP | stat.S_IXOTH
_ACL = "system.posix_acl_access"


class TrustedFolder:
    """Checks a store's folder and what is in it. Each folder is checked once in a run."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._closed: dict[Path, bool] = {}  # whether other users cannot enter a folder that was checked

    def check(self, path: Path) -> None:
        """Check a path and each folder between it and the root.

        What does not exist is not checked. Raises StoreError and OSError.
        """
        closed = False
        for folder in [*reversed(path.relative_to(self._root).parents), path.relative_to(self._root)]:
            place = self._root / folder
            if place in self._closed:
                closed = self._closed[place]
                continue
            try:
                status = self._checked(place, closed)
            except (FileNotFoundError, NotADirectoryError):
                return
            if not stat.S_ISDIR(status.st_mode):
                return
            closed = self._closed[place] = closed or not status.st_mode & _ENTER

    def check_tree(self, folder: Path) -> None:
        """Check a folder with everything in it. Raises StoreError and OSError."""
        self.check(folder)
        for name, folders, files in os.walk(folder):
            for entry in (*folders, *files):
                self.check(Path(name, entry))

    def check_status(self, path: Path, status: os.stat_result) -> None:
        """Check the status of a file that was opened at ``path``. Raises StoreError."""
        self._check_one(path, status, self._closed.get(path.parent, False), None)

    def _checked(self, path: Path, closed: bool) -> os.stat_result:
        link = path.lstat()
        if not stat.S_ISLNK(link.st_mode):
            self._check_one(path, link, closed, path)
            return link
        _check_owner(path, link)  # the mode of a link means nothing
        status = path.stat()
        self._check_one(path, status, False, path)
        return status

    def _check_one(self, path: Path, status: os.stat_result, closed: bool, place: Path | None) -> None:
        _check_owner(path, status)
        writers = 0 if closed else status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if writers == stat.S_IWGRP and _is_private_group(status.st_gid) and not _has_acl(place):
            return
        if writers:
            raise StoreError(
                f"other users can write to {path} (mode {stat.S_IMODE(status.st_mode):04o}) and could plant keys and "
                f"images in the store; if you trust its content, run: chmod -R go-w {self._root}"
            )


def _check_owner(path: Path, status: os.stat_result) -> None:
    if status.st_uid in (os.geteuid(), 0):
        return
    raise StoreError(
        f"{path} belongs to {_user_name(status.st_uid)}, who could plant keys and images in the store. Run as that "
        f"user, or if you trust its content, run: chown -hR {_user_name(os.geteuid())} {path} (a store that several "
        "users share belongs in S3)"
    )


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _is_private_group(gid: int) -> bool:
    """Whether this user is the only one in the group, as on systems that give each user a group and the umask 002."""
    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    return group.gr_name == user.pw_name and user.pw_gid == gid and set(group.gr_mem) <= {user.pw_name}


def _has_acl(path: Path | None) -> bool:
    """Whether an access control list may name other users. Its mask is shown as the permissions of the group."""
    if path is None:
        return False
    try:
        return bool(os.getxattr(path, _ACL))
    except OSError:
        return False
