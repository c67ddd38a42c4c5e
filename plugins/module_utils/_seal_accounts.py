# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Removes the passwords of a root file system's accounts and groups, and whatever makes an account expire.

On a sealed host, nobody can change a password. One that expires would therefore refuse every login, also by key.
"""

from __future__ import annotations

from typing import Callable

from ._seal_changes import Changes, Refused

# Formats: man 5 shadow, passwd, gshadow, group.
_AGES = slice(2, 7)  # in shadow: last change, minimum, maximum, warning, inactivity
_EXPIRY = 7  # in shadow: the account's own date
_SHORTEST = 5  # fields of shadow that the C library reads as an entry
_NO_HASH = ("x", "*", "!")
_NO_LOGIN = ("nologin", "false", "sync", "halt", "shutdown")  # names of programs
_OLD_PASSWORDS = "/etc/security/opasswd"


def lock_accounts(changes: Changes) -> None:
    """Disable every password, and remove its hash and its age. Raises OSError.

    An account without a login shell stays locked if it was, and keeps its expiry date.
    """
    logins = {row[0] for row in map(_fields, changes.lines("/etc/passwd")) if _has_login(row)} | {"root"}
    _rewrite(changes, "/etc/shadow", lambda row: _shadow(row, row[0] in logins))
    # Hashes do not belong into these files, but they count there. In passwd, an empty field means no password at all.
    _rewrite(changes, "/etc/passwd", lambda row: _without_hash(row, _NO_HASH))
    _rewrite(changes, "/etc/group", lambda row: _without_hash(row, (*_NO_HASH, "")))
    _rewrite(changes, "/etc/gshadow", lambda row: _without_hash(row, (*_NO_HASH, "")))
    if any(changes.lines(_OLD_PASSWORDS)):
        changes.rewrite(_OLD_PASSWORDS, "")


class UnknownOwner(Refused):
    """The definition names a user or group that the image does not have."""


def account(changes: Changes, file: str, name: str, what: str) -> tuple[int, int]:
    """Return the two numbers of a user or group in the image. The second one is the user's group, for a group -1.

    Args:
        file: ``passwd`` or ``group``.
        what: whose user or group it is, for a message.

    Raises UnknownOwner if there is none, OSError.
    """
    with open(changes.full_path(f"/etc/{file}"), encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            fields = line.rstrip("\n").split(":")
            if fields[0] == name and len(fields) > 3 and fields[2].isdigit():
                return int(fields[2]), int(fields[3]) if file == "passwd" and fields[3].isdigit() else -1
    kind = "user" if file == "passwd" else "group"
    raise UnknownOwner(f"{what}: the image has no {kind} {name!r} (allowed: one of /etc/{file})")


def _fields(line: str) -> list[str]:
    return line.split(":")


def _has_login(row: list[str]) -> bool:
    return len(row) > 6 and row[6].rpartition("/")[2] not in _NO_LOGIN  # an empty field means /bin/sh


def _shadow(row: list[str], login: bool) -> list[str]:
    # sshd without PAM refuses an account whose field starts with "!", also by key.
    row[1] = "!" if row[1].startswith("!") and not login else "*"
    if len(row) >= _SHORTEST:
        row[_AGES] = [""] * len(row[_AGES])
    if login and len(row) > _EXPIRY:
        row[_EXPIRY] = ""
    return row


def _without_hash(row: list[str], allowed: tuple[str, ...]) -> list[str]:
    return row if row[1] in allowed else [row[0], "*", *row[2:]]


def _rewrite(changes: Changes, path: str, changed: Callable[[list[str]], list[str]]) -> None:
    lines = changes.lines(path)
    new = [
        line if ":" not in line or line.startswith(("#", "+", "-")) else ":".join(changed(_fields(line)))
        for line in lines
    ]
    if new != lines:
        changes.rewrite(path, "\n".join(new))
