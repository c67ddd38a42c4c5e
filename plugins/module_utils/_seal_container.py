# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the image of a container records for the engine that runs it.

Nothing inside a container can mount anything, so the engine mounts every tmpfs. The seal knows where and with which
owner. It writes that into the image, where the builder reads it for the record of the image.
"""

from __future__ import annotations

import json
import os
import re
import stat
from dataclasses import asdict, dataclass
from typing import Any, Callable, Dict, Iterable, List, Sequence, Tuple

from ._seal_accounts import account
from ._seal_changes import Changes, Refused, owner
from ._seal_paths import resolved, within
from ._seal_tmpfs import LOG_FOLDER, LOG_SIZE, TEMPORARY

FACTS_PATH = "/usr/lib/immutable/container.json"
SYSTEMD, COMMAND = "systemd", "command"
RUN = "/run"
# The engine or systemd would mount these without a limit.
_LOCKS = "/run/lock"
SYSTEMD_MOUNTS = (RUN, _LOCKS, "/var/log/journal")
COMMAND_MOUNTS = (RUN, *TEMPORARY)
# The engine mounts files of its own over these.
COVERS = ("/etc/hostname", "/etc/hosts", "/etc/resolv.conf")
SIZE = "50%"  # of the memory of an instance, as the kernel's own default
MAX_FOLDERS = 32  # that are recreated as mounts of their own, as nothing else recreates them without systemd
SEARCHED = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
INIT = ("/sbin/init", "/usr/lib/systemd/systemd", "/lib/systemd/systemd")
# An argument of systemd. In a first boot, it would mount a machine id and enable units, neither of which it can here.
NO_FIRST_BOOT = "systemd.condition-first-boot=false"
STOP_SIGNALS = {SYSTEMD: "SIGRTMIN+3", COMMAND: "SIGTERM"}

_Owner = Callable[[str], Tuple[int, int, int]]
_PATH = re.compile(r"(/[^/\x00-\x1f\x7f,]+)+")
_SIZE = re.compile(r"[1-9][0-9]{0,8}[MG]|[1-9][0-9]?%")
_MODE = re.compile(r"[0-7]{4}")
_USER = re.compile(r"[0-9]{1,10}:[0-9]{1,10}")
_MAX_ID = 2**32 - 2


@dataclass(frozen=True)
class WritableMount:
    """A tmpfs that the engine mounts.

    Attributes:
        path: absolute, without links.
        size: the most that it holds: an integer with M or G, or a percentage of the memory of an instance, which is
            its limit, or otherwise that of the machine that it runs on.
        mode: of the folder, octal with four digits.
        uid: and ``gid``, of the folder. With systemd, they are also set inside, for an engine that cannot mount with
            them. With a command, they are root's or those of its user.
    """

    path: str
    size: str
    mode: str
    uid: int
    gid: int
    noexec: bool = True


@dataclass(frozen=True)
class ContainerFacts:
    """What an image of a container needs from the engine.

    Attributes:
        init: ``systemd`` or ``command``.
        command: the program, by its absolute path, and its arguments.
        user: "uid:gid" of the command; "" for root.
        writable: sorted by path, so that each one is mounted after those around it.
    """

    init: str
    command: Tuple[str, ...]
    user: str
    writable: Tuple[WritableMount, ...]

    @property
    def stop_signal(self) -> str:
        """The signal that begins an orderly stop."""
        return STOP_SIGNALS[self.init]

    def as_dict(self) -> Dict[str, Any]:
        return asdict(self)


def writable_mounts(
    tmpfs: Iterable[str], owner_of: _Owner, *, systemd: bool, log_size: str = LOG_SIZE
) -> List[WritableMount]:
    """Return the mounts for a list of paths, sorted by path. Pure apart from ``owner_of``.

    Args:
        tmpfs: what the seal wants to be a tmpfs, without links.
        owner_of: returns mode, uid and gid of a path in the image.
        systemd: whether systemd is the first process.
        log_size: the most that /var/log may hold.
    """
    fixed = {RUN: (0o755, 0, 0), _LOCKS: (0o1777, 0, 0), **dict.fromkeys(TEMPORARY, (0o1777, 0, 0))}
    mounts = []
    for path in sorted({*tmpfs, *(SYSTEMD_MOUNTS if systemd else COMMAND_MOUNTS)}):
        mode, uid, gid = fixed.get(path) or owner_of(path)
        size = log_size if within(path, LOG_FOLDER) else SIZE
        mounts.append(WritableMount(path, size, f"{mode:04o}", uid=uid, gid=gid))
    return mounts


def parse_facts(text: str) -> ContainerFacts:
    """Read what ``write_facts`` wrote. Raises ValueError if it is damaged: it comes out of an image."""
    try:
        found = json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(found, dict) or sorted(found) != ["command", "init", "user", "writable"]:
        raise ValueError("unexpected keys")
    if not isinstance(found["init"], str) or found["init"] not in STOP_SIGNALS:
        raise ValueError("init is neither systemd nor command")
    command, user, writable = found["command"], found["user"], found["writable"]
    if not isinstance(command, list) or not command or not all(isinstance(each, str) and each for each in command):
        raise ValueError("command is no list of texts")
    if not command[0].startswith("/") or any("\0" in each for each in command):
        raise ValueError("command names no program")
    if not isinstance(user, str) or (user and not _USER.fullmatch(user)):
        raise ValueError("user is no uid:gid")
    if not isinstance(writable, list):
        raise ValueError("writable is no list")
    return ContainerFacts(found["init"], tuple(command), user, tuple(_mount(each) for each in writable))


def _mount(row: Any) -> WritableMount:
    kinds = {"path": str, "size": str, "mode": str, "uid": int, "gid": int, "noexec": bool}
    if not isinstance(row, dict) or {name: type(value) for name, value in row.items()} != kinds:
        raise ValueError("a mount has unexpected values")
    if not _PATH.fullmatch(row["path"]) or {".", ".."} & set(row["path"].split("/")):
        raise ValueError(f"{row['path']!r} is no path of a mount")
    if not _SIZE.fullmatch(row["size"]) or not _MODE.fullmatch(row["mode"]):
        raise ValueError(f"{row['path']} has no valid size or mode")
    if not all(0 <= row[key] <= _MAX_ID for key in ("uid", "gid")):
        raise ValueError(f"{row['path']} has no valid owner")
    return WritableMount(**row)


def write_facts(changes: Changes, tmpfs: Iterable[str], command: Sequence[str], *, user: str, log_size: str) -> None:
    """Write the facts of the image. Raises Refused if it cannot run as a container, OSError.

    Args:
        command: the first process; empty for systemd.
        user: "user" or "user:group" of the command, by name; "" for root.
    """
    paths = {*tmpfs, *(_folders_below(changes, (RUN, *tmpfs)) if command else ())}
    for path in paths:
        if not _PATH.fullmatch(path):
            raise Refused(f"{path!r} cannot be mounted in a container (allowed: a path without commas)")
    mounts = writable_mounts(paths, lambda path: owner(changes.full_path(path)), systemd=not command, log_size=log_size)
    for mount in mounts:
        if not within(mount.path, RUN):
            os.makedirs(changes.full_path(mount.path), exist_ok=True)
    if command:
        program = find_program(changes, command[0])
        facts = ContainerFacts(COMMAND, (program, *command[1:]), _numbers(changes, user), tuple(mounts))
    else:
        facts = ContainerFacts(SYSTEMD, (_systemd(changes), NO_FIRST_BOOT), "", tuple(mounts))
    changes.write(FACTS_PATH, json.dumps(facts.as_dict(), indent=2, sort_keys=True) + "\n")


def _numbers(changes: Changes, user: str) -> str:
    """By numbers, because a secret belongs to the user before the engine has read the image's names."""
    if not user:
        return ""
    name, _colon, group = user.partition(":")
    uid, own_gid = account(changes, "passwd", name, "image.user")
    return f"{uid}:{account(changes, 'group', group, 'image.user')[0] if group else own_gid}"


def _folders_below(changes: Changes, tops: Iterable[str]) -> List[str]:
    """The folders that a tmpfs hides. In /run only those of a service: a program of root creates its own."""
    found = []
    for top in sorted(set(tops) - set(TEMPORARY)):
        for parent, folders, _files in os.walk(changes.full_path(top)):
            for full in (os.path.join(parent, name) for name in folders):
                if os.path.islink(full) or (top == RUN and not _of_a_service(full)):
                    continue
                found.append(os.path.join("/", os.path.relpath(full, changes.root)))
                if len(found) > MAX_FOLDERS:
                    raise Refused(
                        f"the writable paths of the image contain more than {MAX_FOLDERS} folders, and a container "
                        "without systemd recreates each of them by a mount of its own (allowed: fewer folders, which "
                        "the command creates when it starts)"
                    )
    return found


def _of_a_service(full: str) -> bool:
    info = os.lstat(full)
    return (info.st_uid, info.st_gid) != (0, 0)


def find_program(changes: Changes, name: str) -> str:
    """Return the absolute path of a program of the image. Raises Refused if there is none that can be executed."""
    paths = [name] if "/" in name else [f"{folder}/{name}" for folder in SEARCHED]
    for path in paths:
        full = changes.full_path(resolved(changes.root, path))
        if os.path.isfile(full) and stat.S_IMODE(os.stat(full).st_mode) & 0o111:
            return path
    where = "" if "/" in name else f" in {', '.join(SEARCHED)}"
    raise Refused(
        f"image.command: the image has no program {name!r}{where} that can be executed (allowed: one that the playbook "
        "installs)"
    )


def _systemd(changes: Changes) -> str:
    for path in INIT:
        full = changes.full_path(resolved(changes.root, path))
        if os.path.isfile(full) and os.access(full, os.X_OK):
            return path
    raise Refused(
        "the image has no systemd, which starts the services in a container (allowed: image.command with a program "
        "that is the first process, or a base or playbook that installs systemd-sysv)"
    )
