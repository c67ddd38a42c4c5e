# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads what the units of an image say. Units in /run are not part of the image."""

from __future__ import annotations

import glob
import os
import posixpath
import re
import stat
from typing import Dict, List, Optional, Set, Tuple

IMAGE_FOLDERS = (
    "/etc/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
MAX_BYTES = 256 * 1024  # of one unit file
# Sections without programs. A path of a mount unit is checked once it is mounted.
_WITHOUT_PROGRAMS = ("Unit", "Install", "Mount", "Swap", "Automount")
# What the manager replaces in a value, apart from the names of the unit.
_FOLDERS = {"t": "/run", "S": "/var/lib", "C": "/var/cache", "L": "/var/log", "E": "/etc", "h": "/root", "%": "%"}


def declared_binds(unit: str, root: str = "/") -> Set[Tuple[str, str]]:
    """Return the source and the target of each bind mount that the image declares for a service.

    Args:
        unit: such as ``shop.service`` or ``shop@1.service``.
    """
    binds: Set[Tuple[str, str]] = set()
    for path in _files_of(unit, root):
        for section, key, value in settings(read_unit(path) or ""):
            if section == "Service" and key in ("BindPaths", "BindReadOnlyPaths"):
                binds.update(_pairs(_expanded(value, unit)))
    return binds


def settings(text: str) -> List[Tuple[str, str, str]]:
    """Return section, key and value of each setting of a unit file, in order."""
    found = []
    section = ""
    for line in re.sub(r"\\\n", " ", text).splitlines():
        line = line.strip()
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
        elif line and line[0] not in "#;" and "=" in line:
            key, _equals, value = line.partition("=")
            found.append((section, key.strip(), value.strip()))
    return found


def read_unit(path: str, follow: bool = True) -> Optional[str]:
    """Return the text of a unit file, or None if it is no file, cannot be read or is too long.

    Args:
        follow: whether ``path`` may be a link.
    """
    try:
        # An unprivileged user can create a pipe in a folder of their own. Opening it must not wait for a writer.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW))
        with open(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                return None
            data = file.read(MAX_BYTES + 1) or b""
    except OSError:
        return None
    return data.decode("utf-8", "surrogateescape") if len(data) <= MAX_BYTES else None


def programs_of_unit(text: str) -> List[str]:
    """Return what a unit file can run or change: its settings outside of sections that only order and mount."""
    return [f"{key}={value}" for section, key, value in settings(text) if section not in _WITHOUT_PROGRAMS]


def _files_of(unit: str, root: str) -> List[str]:
    stem, _dot, kind = unit.rpartition(".")
    prefix, at, _instance = stem.partition("@")
    names = [unit, *([f"{prefix}@.{kind}"] if at else [])]
    drop_ins = [*names, kind]
    parts = prefix.split("-")
    drop_ins += ["-".join(parts[:count]) + f"-.{kind}" for count in range(1, len(parts))]
    found = []
    # /lib is usually a link to /usr/lib.
    folders = [os.path.realpath(os.path.join(root, folder.lstrip("/"))) for folder in IMAGE_FOLDERS]
    for base in dict.fromkeys(folders):
        found += [os.path.join(base, name) for name in names if os.path.isfile(os.path.join(base, name))]
        for name in drop_ins:
            found += sorted(glob.glob(os.path.join(glob.escape(os.path.join(base, name + ".d")), "*.conf")))
    return found


def _expanded(value: str, unit: str) -> str:
    stem = unit.rpartition(".")[0]
    prefix, _at, instance = stem.partition("@")
    names: Dict[str, str] = {**_FOLDERS, "n": unit, "N": stem, "p": prefix, "i": instance, "I": instance}
    return re.sub(r"%(.)", lambda found: names.get(found.group(1), found.group(0)), value)


def _pairs(value: str) -> Set[Tuple[str, str]]:
    pairs = set()
    for word in value.split():
        source, _colon, rest = word.strip("\"'").lstrip("-").partition(":")
        target = rest.partition(":")[0] or source
        if source.startswith("/") and target.startswith("/"):
            pairs.add((posixpath.normpath(source), posixpath.normpath(target)))
    return pairs
