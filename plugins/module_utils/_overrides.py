# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Finds files in /run that override the configuration of the image.

/run is not part of the image, but systemd, udev and other programs read configuration there, and it has precedence
over the image. Some of these files are normal: what generators make of /etc/fstab and /etc/init.d at each boot, and
what a login session leaves.
"""

from __future__ import annotations

import os
import posixpath
import re
from typing import Collection, Iterator, List, Tuple

from ._unit_files import programs_of_unit, read_unit, settings

GENERATED = ("/run/systemd/generator.early", "/run/systemd/generator", "/run/systemd/generator.late")
TRANSIENT = "/run/systemd/transient"
# fmt: off
FOLDERS = (
    "/run/systemd/system", "/run/systemd/system.control", "/run/systemd/system.attached", TRANSIENT, *GENERATED,
    "/run/systemd/user", "/run/systemd/user.control",
    "/run/systemd/system-generators", "/run/systemd/user-generators",
    "/run/systemd/system-environment-generators", "/run/systemd/user-environment-generators",
    "/run/systemd/system.conf.d", "/run/systemd/user.conf.d", "/run/systemd/journald.conf.d",
    "/run/systemd/logind.conf.d", "/run/systemd/networkd.conf.d", "/run/systemd/resolved.conf.d",
    "/run/systemd/timesyncd.conf.d", "/run/systemd/coredump.conf.d", "/run/systemd/sleep.conf.d",
    "/run/systemd/network", "/run/systemd/nspawn", "/run/systemd/dnssd", "/run/systemd/ntp-units.d",
    "/run/udev/rules.d", "/run/udev/hwdb.d", "/run/tmpfiles.d", "/run/sysusers.d", "/run/sysctl.d",
    "/run/modprobe.d", "/run/modules-load.d", "/run/depmod.d", "/run/binfmt.d", "/run/environment.d",
    "/run/extensions", "/run/confexts", "/run/portables", "/run/credstore", "/run/credstore.encrypted",
    "/run/dbus-1/system-services", "/run/dbus-1/system.d", "/run/polkit-1/rules.d",
    "/run/NetworkManager/conf.d", "/run/NetworkManager/system-connections",
)
# fmt: on
USERS = "/run/user"
USER_FOLDERS = ("systemd/user", "systemd/user.control", "systemd/transient", "environment.d")
MAX_ENTRIES = 5000
# Units of these types group processes that something else started.
_GROUPS = (".scope", ".slice")
_STATIC_NODES = "/run/tmpfiles.d/static-nodes.conf"
_VOLUMES = "/run/udev/rules.d/70-immutable-volumes.rules"
_STATIC_NODE = re.compile(r"(?:[cb]!? /dev/\S+ [0-7]+ - - - \d+:\d+|d /dev/\S+ [0-7]+ - - -)?")
_VOLUME = re.compile(
    r'SUBSYSTEM=="block", ENV\{DEVTYPE\}=="disk", ATTRS\{serial\}=="[\w-]*", SYMLINK\+="disk/immutable/[\w-]+"'
)
# NetworkManager describes the loopback interface, which it found configured, in a file.
_LOOPBACK = "/run/NetworkManager/system-connections/lo.nmconnection"
_OF_LOOPBACK = re.compile(
    r"|\[(?:connection|loopback|ipv4|ipv6|proxy|\.nmmeta)\]|id=lo|uuid=[0-9a-f-]{36}|type=loopback|autoconnect=false"
    r"|interface-name=lo|timestamp=\d{1,12}|address1=(?:127\.0\.0\.1/8|::1/128)|method=(?:manual|ignore|disabled)"
    r"|addr-gen-mode=[a-z0-9-]{1,20}|(?:nm-generated|volatile|external)=true"
)
# Written by a generator of the image, but its content is not checked: name of the file, program that writes it.
_UNCHECKED = (
    (re.compile(r"/run/systemd/(?:system/(?:[^/]+/)?netplan-|network/\d+-netplan-)[^/]*"), "/usr/sbin/netplan"),
    (re.compile(r"/run/udev/rules\.d/\d+-netplan-?[^/]*"), "/usr/sbin/netplan"),
)

Override = Tuple[str, str]  # a path, and what is there


def find_overrides(image: Collection[str], root: str = "/") -> Tuple[List[Override], List[Override]]:
    """Return the files that are not normal, and files that could not be checked, each with a description.

    Args:
        image: the paths of the image.
        root: folder that contains ``run`` and the image.
    """
    found: List[Override] = []
    unchecked: List[Override] = []
    search = _Search(root)
    for path in search:
        what = _describe(path, image, root)
        if not what:
            continue
        if any(name.fullmatch(path) and program in image for name, program in _UNCHECKED):
            unchecked.append((path, f"{what}; it has a name that netplan uses"))
        else:
            found.append((path, what))
    return found, unchecked + search.skipped


class _Search:
    """Iterates over the entries in the folders that are not folders themselves."""

    def __init__(self, root: str) -> None:
        self._root = root
        self.skipped: List[Override] = []

    def __iter__(self) -> Iterator[str]:
        count = 0
        folders = list(FOLDERS)
        try:
            users = sorted(os.listdir(self._full(USERS)))[:MAX_ENTRIES]
        except OSError:
            users = []
        folders += [self._without_links(f"{USERS}/{user}", name) for user in users for name in USER_FOLDERS]
        pending = [folder for folder in dict.fromkeys(folders) if os.path.lexists(self._full(folder))]
        while pending:
            path = pending.pop()
            full = self._full(path)
            if os.path.islink(full) or not os.path.isdir(full):
                yield path
                continue
            try:
                names = sorted(os.listdir(full), reverse=True)
            except OSError as error:
                self.skipped.append((path, f"cannot be read: {error.strerror}"))
                continue
            count += len(names)
            if count > MAX_ENTRIES:
                self.skipped.append((path, f"there are more than {MAX_ENTRIES} files in /run that override the image"))
                return
            pending += [f"{path}/{name}" for name in names]

    def _without_links(self, home: str, name: str) -> str:
        """The path of a folder of a user, or of the first link in it: only the user knows where that leads."""
        path = home
        for part in name.split("/"):
            path = f"{path}/{part}"
            if os.path.islink(self._full(path)):
                return path
        return path

    def _full(self, path: str) -> str:
        return os.path.join(self._root, path.lstrip("/"))


def _describe(path: str, image: Collection[str], root: str) -> str:
    """What an entry is, or '' if it is normal on an unchanged host."""
    full = os.path.join(root, path.lstrip("/"))
    folder, name = posixpath.split(path)
    in_transient = path.startswith(TRANSIENT + "/") or "/systemd/transient/" in path
    if in_transient and (name.endswith(_GROUPS) or _of_group(folder)):
        return ""
    generated = any(path.startswith(each + "/") for each in GENERATED)
    if os.path.islink(full):
        target = posixpath.normpath(posixpath.join(folder, os.readlink(full)))
        if generated and _is_expected_link(folder, target, image, root):
            return ""
        return f"a link to {target}"
    text = read_unit(full, follow=False)
    if text is None:
        return "no file, not readable, or too long"
    if path == _LOOPBACK and all(_OF_LOOPBACK.fullmatch(line) for line in text.splitlines()):
        return ""
    if path == _STATIC_NODES and all(_STATIC_NODE.fullmatch(line.strip()) for line in text.splitlines()):
        return ""
    if path == _VOLUMES and all(_VOLUME.fullmatch(line) for line in text.splitlines()):
        return ""
    if generated:
        return _unexplained(text, image)
    return "overrides the image"


def _of_group(folder: str) -> bool:
    """Whether drop-ins in this folder are for a scope or a slice."""
    return folder.endswith(tuple(f"{kind}.d" for kind in _GROUPS))


def _is_expected_link(folder: str, target: str, image: Collection[str], root: str) -> bool:
    """Whether a link of a generator starts a unit of the image or is another name of a generated unit."""
    if any(target.startswith(each + "/") for each in GENERATED):
        return True  # that file is checked itself
    if not folder.endswith((".wants", ".requires")):
        return False  # it would replace a unit
    resolved = os.path.realpath(os.path.join(root, target.lstrip("/")))
    inside = resolved[len(os.path.realpath(root).rstrip("/")) :]
    return inside in image or target in image


def _unexplained(text: str, image: Collection[str]) -> str:
    """What a generated unit does that its type or its script in /etc/init.d does not explain, or ''."""
    programs = programs_of_unit(text)
    if not programs:
        return ""
    scripts = [value for section, key, value in settings(text) if (section, key) == ("Unit", "SourcePath")]
    if len(scripts) == 1 and re.fullmatch(r"/etc/init\.d/[\w.@+-]+", scripts[0]) and scripts[0] in image:
        expected = re.compile(
            rf"Exec(?:Start|Stop|Reload)={re.escape(scripts[0])} (?:start|stop|reload)"
            r"|(?:Type|Restart|TimeoutSec|IgnoreSIGPIPE|KillMode|GuessMainPID|RemainAfterExit|SysVStartPriority"
            r"|SuccessExitStatus|PIDFile)=[\w/.@+ -]*"
        )
        programs = [program for program in programs if not expected.fullmatch(program)]
    return f"runs or changes a program: {programs[0]}" if programs else ""
