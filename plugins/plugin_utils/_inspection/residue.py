# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What must not be left in an image, found by its files: keys, identities, histories, caches, and anything of Ansible."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .filesystem import FILE, FOLDER, LINK, Entry, FileSystem


@dataclass(frozen=True)
class Finding:
    """One thing that has to go. ``what`` is a kind of residue, or the name of a secret, never its value."""

    what: str
    where: str  # a path in the image, or a place on its disk ("byte 1234, in /etc/shop.conf")

    def __str__(self) -> str:
        return f"{self.what}: {self.where}"


def _glob(*patterns: str) -> re.Pattern[str]:
    """Like a shell's: ``*`` stays within a folder. ``~`` is anybody's home."""
    return re.compile(
        "|".join(
            re.escape(pattern).replace(r"\*", "[^/]*").replace(r"\~", "(?:/root|/home/[^/]+)") for pattern in patterns
        ),
        re.DOTALL,
    )


_TEMPORARY = ("/tmp/ansible*", "/tmp/.ansible*", "/var/tmp/ansible*", "/var/tmp/.ansible*")  # noqa: S108  # looked for, not used

# Kind, where, and the types that count. A folder that counts is reported itself, not all that is in it.
_RULES: tuple[tuple[str, re.Pattern[str], tuple[str, ...]], ...] = (
    ("SSH host key", _glob("/etc/ssh/ssh_host_*"), (FILE, LINK)),
    ("SSH authorized keys", _glob("~/.ssh/authorized_keys*"), (FILE, LINK)),
    ("SSH private key", _glob("~/.ssh/id_*"), (FILE,)),
    ("key of the build machine", _glob("/var/lib/systemd/credential.secret"), (FILE,)),
    ("history", _glob("~/.*_history", "~/.*history", "~/.lesshst", "~/.viminfo"), (FILE,)),
    (
        "package cache",
        _glob("/var/cache/apt/archives/*.deb", "/var/cache/apt/archives/partial/*", "/var/cache/apt/*.bin"),
        (FILE,),
    ),
    ("package lists", _glob("/var/lib/apt/lists/*", "/var/lib/apt/lists/partial/*"), (FILE,)),
    ("package cache", _glob("~/.cache/pip"), (FOLDER,)),
    ("Ansible's files", _glob("~/.ansible", *_TEMPORARY), (FILE, FOLDER)),
    (
        "Ansible itself",
        re.compile(r".*/(?:site|dist)-packages/(?:ansible|ansible_core-[^/]*|ansible_collections)", re.DOTALL),
        (FILE, FOLDER),
    ),
    ("cloud-init's state", _glob("/var/lib/cloud/instances/*", "/var/lib/cloud/seed/*/user-data"), (FILE, FOLDER)),
)
_MACHINE_IDS = ("/etc/machine-id", "/var/lib/dbus/machine-id")
_NO_MACHINE_ID = (b"", b"uninitialized")
_EMPTY_BY_NATURE = ("SSH authorized keys", "history")  # such files say nothing while they are empty


def residue_by_files(files: FileSystem) -> list[Finding]:
    """Look at names and types, and into the machine ids. Sorted by path."""
    found = [Finding(what, path) for path, entry in files.entries.items() if (what := _kind(path, entry))]
    ids = files.read(_MACHINE_IDS)
    found += [Finding("machine id", path) for path, content in ids.items() if content.strip() not in _NO_MACHINE_ID]
    return sorted(found, key=lambda finding: finding.where)


def _kind(path: str, entry: Entry) -> str | None:
    for what, pattern, types in _RULES:
        if entry.type in types and pattern.fullmatch(path) and not _harmless(what, path, entry):
            return what
    return None


def _harmless(what: str, path: str, entry: Entry) -> bool:
    if what in _EMPTY_BY_NATURE and entry.type == FILE and not entry.size:
        return True
    return path.endswith((".pub", "/lock")) and what in ("SSH private key", "package lists")
