# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Finds residue of a bake by its files: keys, identities, histories, caches and Ansible's own files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from ...module_utils._manifest import EntryType
from ...module_utils._residue import (
    ANSIBLE_FOLDERS,
    APT_INDEXES,
    APT_LISTS,
    DBUS_MACHINE_ID,
    HISTORY,
    MACHINE_ID,
    SSH_AUTHORIZED_KEYS,
    SSH_HOST_KEYS,
)
from .filesystem import FILE, FOLDER, LINK, Entry, FileTree

ResidueKind = Literal[
    "SSH host key",
    "SSH authorized keys",
    "SSH private key",
    "key of the build machine",
    "history",
    "package cache",
    "package lists",
    "Ansible's files",
    "Ansible itself",
    "cloud-init's state",
]


@dataclass(frozen=True)
class Finding:
    """One piece of residue.

    Attributes:
        what: the kind of residue, or the name of a secret, never its value.
        where: a path in the image, or a position on its disk such as ``byte 1234, in /etc/shop.conf``.
    """

    what: str
    where: str

    def __str__(self) -> str:
        return f"{self.what}: {self.where}"


def _pattern(*patterns: str) -> re.Pattern[str]:
    """A regular expression for patterns in the syntax of ``module_utils/_residue``."""
    return re.compile(
        "|".join(
            re.escape(pattern).replace(r"\*", "[^/]*").replace(r"\~", "(?:/root|/home/[^/]+)") for pattern in patterns
        ),
        re.DOTALL,
    )


_TEMPORARY = ("/tmp/ansible*", "/tmp/.ansible*", "/var/tmp/ansible*", "/var/tmp/.ansible*")  # noqa: S108  # not written

# The kind, the paths, and the types of entries that count. A matching folder is reported without its content.
_RULES: tuple[tuple[ResidueKind, re.Pattern[str], tuple[EntryType, ...]], ...] = (
    ("SSH host key", _pattern(*SSH_HOST_KEYS), (FILE, LINK)),
    ("SSH authorized keys", _pattern(*SSH_AUTHORIZED_KEYS), (FILE, LINK)),
    ("SSH private key", _pattern("~/.ssh/id_*"), (FILE,)),
    ("key of the build machine", _pattern("/var/lib/systemd/credential.secret"), (FILE,)),
    ("history", _pattern(*HISTORY), (FILE,)),
    (
        "package cache",
        _pattern("/var/cache/apt/archives/*.deb", "/var/cache/apt/archives/partial/*", *APT_INDEXES),
        (FILE,),
    ),
    ("package lists", _pattern(*APT_LISTS, "/var/lib/apt/lists/partial/*"), (FILE,)),
    ("package cache", _pattern("~/.cache/pip"), (FOLDER,)),
    ("Ansible's files", _pattern(*ANSIBLE_FOLDERS, *_TEMPORARY), (FILE, FOLDER)),
    (
        "Ansible itself",
        re.compile(r".*/(?:site|dist)-packages/(?:ansible|ansible_core-[^/]*|ansible_collections)", re.DOTALL),
        (FILE, FOLDER),
    ),
    ("cloud-init's state", _pattern("/var/lib/cloud/instances/*", "/var/lib/cloud/seed/*/user-data"), (FILE, FOLDER)),
)
_MACHINE_IDS = (MACHINE_ID, DBUS_MACHINE_ID)
_NO_MACHINE_ID = (b"", b"uninitialized")
_HARMLESS_IF_EMPTY: tuple[ResidueKind, ...] = ("SSH authorized keys", "history")


def residue_by_files(files: FileTree) -> list[Finding]:
    """Return the residue that names, types and the content of the machine ids show, sorted by path."""
    found = [Finding(kind, path) for path, entry in files.entries.items() if (kind := _kind(path, entry))]
    ids = files.read(_MACHINE_IDS)
    found += [Finding("machine id", path) for path, content in ids.items() if content.strip() not in _NO_MACHINE_ID]
    return sorted(found, key=lambda finding: finding.where)


def _kind(path: str, entry: Entry) -> ResidueKind | None:
    for kind, pattern, types in _RULES:
        if entry.type in types and pattern.fullmatch(path) and not _is_harmless(kind, path, entry):
            return kind
    return None


def _is_harmless(kind: ResidueKind, path: str, entry: Entry) -> bool:
    if kind in _HARMLESS_IF_EMPTY and entry.type == FILE and not entry.size:
        return True
    return path.endswith((".pub", "/lock")) and kind in ("SSH private key", "package lists")
