# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a container is from outside: facts of the engine and of the kernel, which nothing in it can forge. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ....module_utils._container_processes import confinement
from .command import OWNER

MAX_FILE = 1024**2  # bytes of a file of /proc that are read


@dataclass(frozen=True)
class ProcessFacts:
    """What the kernel says of a container's first process: two files of /proc."""

    mountinfo: str
    status: str


@dataclass(frozen=True)
class EngineFacts:
    """What the engine says of a container."""

    id: str
    name: str
    owner: str  # see ``command.owner_of``; "" if it has no such label
    image: str  # "sha256:<hex>"
    pid: int  # of its first process, 0 if it does not run
    running: bool
    read_only: bool
    privileged: bool
    exit_status: int  # 0 while it runs
    published: Mapping[int, int]  # by port of the container, the port of this machine that the engine forwards to it


def engine_facts(document: Any) -> EngineFacts | None:
    """Read one entry of what the engine's ``inspect`` printed. None if it is not as an engine prints it."""
    try:
        state, host = document["State"], document["HostConfig"]
        image = str(document["Image"])
        ports = document["NetworkSettings"].get("Ports") or {}
        published = {
            int(port.partition("/")[0]): int(places[0]["HostPort"]) for port, places in ports.items() if places
        }
        labels = document["Config"].get("Labels") or {}
        return EngineFacts(
            id=str(document["Id"]),
            owner=str(labels.get(OWNER, "")),
            name=str(document["Name"]).lstrip("/"),
            image=image if image.startswith("sha256:") else f"sha256:{image}",
            pid=int(state["Pid"]),
            running=state["Running"] is True,
            read_only=host["ReadonlyRootfs"] is True,
            privileged=host["Privileged"] is not False,
            exit_status=int(state.get("ExitCode", 0)),
            published=published,
        )
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        return None


def created_problems(engine: EngineFacts, image: str) -> list[str]:
    """Return why a container, running or not, is not what was launched: empty if it is.

    Args:
        image: the id of the image in its record.
    """
    problems = []
    if engine.image != image:
        problems.append(f"it runs image {engine.image}, not {image}")
    if not engine.read_only:
        problems.append("its root file system is not read-only by its configuration")
    if engine.privileged:
        problems.append("it is privileged")
    return problems


def running_problems(process: ProcessFacts, capabilities: Collection[str]) -> list[str]:
    """Return why a running container is not sealed: empty if it is.

    Args:
        capabilities: what it may have, without the prefix.
    """
    problems = [] if _root_is_read_only(process.mountinfo) else ["its root file system is writable"]
    found = confinement(process.status, capabilities)
    problems += [f"it has the capabilities {', '.join(names)} ({name})" for name, names in found.more.items()]
    if found.gains_privileges:
        problems.append("its processes can gain privileges")
    if not found.is_filtered:
        problems.append("its system calls are not filtered")
    return problems


def ignores(status: str, number: int) -> bool:
    """Whether a first process neither handles nor waits for a signal. The kernel does not deliver it then.

    Args:
        status: its file ``status``.
        number: of the signal.
    """
    values = dict(line.partition(":")[::2] for line in status.splitlines())
    try:
        expected = int(values["SigCgt"], 16) | int(values["SigBlk"], 16)
    except (KeyError, ValueError):
        return False
    return not expected >> (number - 1) & 1


def _root_is_read_only(mountinfo: str) -> bool:
    """Whether each mount on / is read-only (format: proc_pid_mountinfo(5))."""
    rows = [line.split(" ") for line in mountinfo.splitlines()]
    options = [row[5].split(",") for row in rows if len(row) > 5 and row[4] == "/"]
    return bool(options) and all("ro" in each for each in options)
