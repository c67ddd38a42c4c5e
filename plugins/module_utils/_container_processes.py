# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Compares the processes of a container with what it was launched with, as the kernel of the machine shows them."""

from __future__ import annotations

import os
import time
from typing import Callable, Collection, Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

MAX_BYTES = 4 * 1024 * 1024  # of one file in /proc
# Their names, in the order of their numbers (source: linux/capability.h).
# fmt: off
CAPABILITIES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)
# Nothing here lets root change the image or leave the container.
ALLOWED_CAPABILITIES = (
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "IPC_LOCK", "KILL", "NET_BIND_SERVICE", "NET_RAW",
    "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
)
# fmt: on
_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
_FILTERED = "2"
_GRACE = 0.5  # seconds: what an engine starts in a container is confined a moment after it entered

# Kind of the difference, path, what was found.
Problem = Tuple[str, str, str]


class Confinement(NamedTuple):
    """What a process may do, as the kernel says."""

    more: Dict[str, List[str]]  # by set of capabilities, those beyond what it may have; only sets that have any
    gains_privileges: bool
    is_filtered: bool  # its system calls are


def confinement(status: str, capabilities: Collection[str]) -> Confinement:
    """Read the file ``status`` of a process (format: proc_pid_status(5)). What is missing there confines nothing.

    Args:
        capabilities: that it may have.
    """
    values = dict(line.partition(":")[::2] for line in status.splitlines())
    fields = {name: value.strip() for name, value in values.items()}
    found = {name: sorted(_names(fields.get(name, "")) - set(capabilities)) for name in _SETS}
    more = {name: names for name, names in found.items() if names}
    return Confinement(more, fields.get("NoNewPrivs") != "1", fields.get("Seccomp") == _FILTERED)


def confinement_problems(status: str, capabilities: Collection[str]) -> List[Tuple[str, str]]:
    """Return what a process may do beyond what was launched, as kinds of differences with descriptions.

    Args:
        status: content of its file ``status``.
        capabilities: that it may have.
    """
    found = confinement(status, capabilities)
    more = sorted({name for names in found.more.values() for name in names})
    problems = [("capabilities", ", ".join(more))] if more else []
    if found.gains_privileges:
        problems.append(("confinement", "it can gain privileges (no no_new_privs)"))
    if not found.is_filtered:
        problems.append(("confinement", "its system calls are not filtered (no seccomp)"))
    return problems


def _names(text: str) -> Set[str]:
    try:
        number = int(text, 16)
    except ValueError:
        return {"UNKNOWN"}
    known = {name for bit, name in enumerate(CAPABILITIES) if number >> bit & 1}
    return known | ({"UNKNOWN"} if number >> len(CAPABILITIES) else set())


class ContainerProcesses:
    """The processes of one container: those in its process or mount namespace.

    Args:
        pid: of its first process.
        capabilities: that its processes may have.
        is_program: whether a path is a file of the image.
        is_own: whether a path belongs to the service: on its data volumes or in its ``writable`` paths.
    """

    def __init__(
        self,
        pid: int,
        capabilities: Collection[str],
        is_program: Callable[[str], bool],
        is_own: Callable[[str], bool],
        proc: str = "/proc",
    ) -> None:
        self._first = pid
        self._capabilities = capabilities
        self._is_program = is_program
        self._is_own = is_own
        self._proc = proc
        self.unchecked: List[Tuple[str, str]] = []  # path, and what could not be compared there

    def problems(self) -> List[Problem]:
        """Compare them all. Raises OSError if the first process has ended."""
        namespaces = {name: os.readlink(self._path(self._first, f"ns/{name}")) for name in ("pid", "mnt", "user")}
        suspicious = {pid: found for pid in self._members(namespaces) if (found := self._check(pid, namespaces))}
        if suspicious:
            time.sleep(_GRACE)
            present = self._members(namespaces)
            suspicious = {
                pid: again for pid in suspicious if pid in present and (again := self._check(pid, namespaces))
            }
        found = [problem for problems in suspicious.values() for problem in problems]
        return list(dict.fromkeys(found))

    def _members(self, namespaces: Dict[str, str]) -> Set[int]:
        members = set()
        for name in os.listdir(self._proc):
            if name.isdecimal():
                links = [self._link(int(name), f"ns/{each}") for each in ("pid", "mnt")]
                if namespaces["pid"] == links[0] or namespaces["mnt"] == links[1]:
                    members.add(int(name))
        return members

    def _check(self, pid: int, namespaces: Dict[str, str]) -> List[Problem]:
        status, program = self._read(pid, "status"), self._link(pid, "exe")
        if status is None or not program:
            return []  # it has ended
        who = f"process {pid} ({_printable(self._read(pid, 'comm') or b'')})"
        found = [
            (kind, program, f"{who}: {what}")
            for kind, what in confinement_problems(status.decode("utf-8", "replace"), self._capabilities)
        ]
        if self._link(pid, "ns/mnt") not in ("", namespaces["mnt"]):
            found.append(("process_mount", "/", f"{who} has mounts of its own"))
        if self._link(pid, "ns/user") not in ("", namespaces["user"]):
            found.append(("confinement", program, f"{who} has a user namespace of its own"))
        return found + self._programs(pid, program, who)

    def _programs(self, pid: int, program: str, who: str) -> List[Problem]:
        """Compare the program of a process, and what it has mapped to execute, with the files of the image."""
        found: List[Problem] = []
        for path, what in [(program, f"executed by {who}"), *self._mapped(pid, program, who)]:
            if self._is_program(path):
                continue
            elsewhere = path != program and path.startswith(("/tmp/", "/memfd:", "/dev/"))  # noqa: S108  compared only
            if self._is_own(path) or elsewhere:
                self.unchecked.append((path, f"{what}, outside of the image"))
            else:
                found.append(("program", path, what))
        return found

    def _mapped(self, pid: int, program: str, who: str) -> Iterator[Tuple[str, str]]:
        table = self._read(pid, "maps") or b""
        paths = set()
        for line in table.split(b"\n"):
            fields = line.split(None, 5)
            if len(fields) == 6 and b"x" in fields[1] and fields[5].startswith(b"/"):
                paths.add(fields[5].decode("utf-8", "surrogateescape"))
        for path in sorted(paths - {program}):
            yield path, f"code mapped by {who}"

    def _path(self, pid: int, name: str) -> str:
        return os.path.join(self._proc, str(pid), name)

    def _link(self, pid: int, name: str) -> str:
        try:
            return os.readlink(self._path(pid, name))
        except OSError:
            return ""

    def _read(self, pid: int, name: str) -> Optional[bytes]:
        try:
            with open(self._path(pid, name), "rb") as file:
                return file.read(MAX_BYTES)
        except OSError:
            return None


def _printable(name: bytes) -> str:
    text = name.decode("utf-8", "replace").strip("\n")[:100]
    return "".join(letter if letter.isprintable() else "?" for letter in text)
