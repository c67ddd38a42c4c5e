# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The arguments that create a container: sealed by the engine, and with no network of its own. Pure."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypedDict

from ....module_utils._container_processes import ALLOWED_CAPABILITIES
from ..._core.documents import mismatch
from ..._core.errors import ProviderError
from ..container_data import data_mounts
from ..container_engine import PODMAN
from ..container_images import image_id
from ..container_tmpfs import ANNOTATION, encoded
from ..machine_document import LAUNCH

SYSTEMD, COMMAND = "systemd", "command"  # what the first process of a container is
LAUNCH_PLACE = "/run/host/immutable/launch.tar"  # where the container sees it
LAUNCH_FOLDER = "launch"  # the same for a command, unpacked
SETTINGS_PLACE = "/run/immutable"
CONSOLE = "console.log"
PID_FILE = "container.pid"
MAX_LOG = 16 * 1024**2  # bytes of one container's log
MAX_PIDS = 4096
OWNER = "immutable.machine"  # label: what the container belongs to
_CPU_PERIOD = 100000  # microseconds
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SIGNAL = re.compile(r"SIG[A-Z0-9+]{2,12}")
_SIZE = re.compile(r"[0-9]{1,15}[kKmMgG]?|[0-9]{1,3}%")
_MODE = re.compile(r"[0-7]{3,4}")


class _Writable(TypedDict):
    path: str
    size: str
    mode: str
    uid: int
    gid: int
    noexec: bool


class _Artifact(TypedDict):
    path: str
    image: str
    init: str
    writable: list[_Writable]
    stop_signal: str
    capabilities: list[str]


class VolumeMount(Protocol):
    """What a container mounts of a data volume."""

    @property
    def source(self) -> Path:
        """The folder of this machine."""

    @property
    def target(self) -> str:
        """The path in the container."""

    @property
    def options(self) -> tuple[str, ...]:
        """Such as ``nosuid``."""


@dataclass(frozen=True)
class ContainerSpec:
    """What a container is created from.

    Attributes:
        folder: of its machine.
        name: of the container.
        artifact: of the image's record.
        settings: of the launch.
        mounts: of the data volumes that are attached.
        memory: bytes, 0 for no limit.
        cpus: 0 for no limit.
        limits: which limits the engine can enforce.
        published: ports of the container that the engine itself forwards from this machine's loopback.
    """

    folder: Path
    name: str
    artifact: Mapping[str, Any]
    settings: Mapping[str, Any] = field(default_factory=dict)
    mounts: Sequence[VolumeMount] = ()
    memory: int = 0
    cpus: float = 0
    limits: Collection[str] = ()
    published: Sequence[str] = ()


def check_artifact(artifact: Mapping[str, Any]) -> None:
    """Raise ProviderError if an image's record does not describe a container: its values become arguments."""
    problem = mismatch(dict(artifact), _Artifact) or _problem(artifact)
    if problem:
        raise ProviderError(f"the image's record is no container's ({problem}): bake the image again", permanent=True)
    image_id(artifact)
    data_mounts(artifact)


def _problem(artifact: Mapping[str, Any]) -> str:
    if artifact["init"] not in (SYSTEMD, COMMAND):
        return f"init: {artifact['init']!r}"
    if not _SIGNAL.fullmatch(artifact["stop_signal"]):
        return f"stop_signal: {artifact['stop_signal']!r}"
    for capability in artifact["capabilities"]:
        if capability not in ALLOWED_CAPABILITIES:
            return f"capabilities: {capability!r}"
    for row in artifact["writable"]:
        if not row["path"].startswith("/") or ":" in row["path"] or "\0" in row["path"]:
            return f"writable: {row['path']!r}"
        if not _SIZE.fullmatch(row["size"]) or not _MODE.fullmatch(row["mode"]) or min(row["uid"], row["gid"]) < 0:
            return f"writable: size, mode or owner of {row['path']}"
    return ""


def owner_of(folder: Path) -> str:
    """Return what proves that a container is the one of a machine.

    Docker's containers are those of all stores on this machine, and of everybody else, so a name proves nothing.
    """
    return hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:32]


def create_arguments(engine: str, spec: ContainerSpec) -> list[str]:
    """Return the arguments of the engine that create a container.

    Args:
        engine: its name.
    """
    arguments = ["create", "--pull=never", "--name", spec.name, f"--label={OWNER}={owner_of(spec.folder)}"]
    arguments += _confinement(spec.artifact)
    arguments += [
        f"--tmpfs={row['path']}:{_tmpfs_options(row, engine, spec.memory)}" for row in spec.artifact["writable"]
    ]
    arguments += _limits(spec)
    arguments += _launch(spec)
    for each in spec.mounts:
        # Docker has no such options for folders.
        more = each.options if engine == PODMAN else ()
        arguments.append(_mount(each.source, each.target, "bind-propagation=rprivate", *more))
    arguments += _podman_only(spec) if engine == PODMAN else _docker_only(spec)
    return [*arguments, image_id(spec.artifact)]


def _confinement(artifact: Mapping[str, Any]) -> list[str]:
    """What seals it. The engine's default filter of system calls applies as well."""
    capabilities = [f"--cap-add={name}" for name in artifact["capabilities"]]
    # A terminal makes /dev/console, to which systemd and the seal write.
    console = ["--tty"] if artifact["init"] == SYSTEMD else []
    return [
        "--read-only",
        "--cap-drop=all",
        *capabilities,
        "--security-opt=no-new-privileges",
        f"--stop-signal={artifact['stop_signal']}",
        *console,
    ]


def _tmpfs_options(row: Mapping[str, Any], engine: str, memory: int) -> str:
    options = ["rw", "nosuid", "nodev", "noexec" if row["noexec"] else "exec"]
    options += [f"size={_tmpfs_size(row['size'], memory)}", f"mode={row['mode']}"]
    if engine != PODMAN:
        options += [f"uid={row['uid']}", f"gid={row['gid']}"]
    else:
        # Podman would copy the image's files into it. On other hosts, they are hidden.
        options.append("notmpcopyup")
    return ",".join(options)


def _tmpfs_size(size: str, memory: int) -> str:
    """A percentage is one of the container's limit. The kernel would take it of the machine's memory."""
    return str(memory * int(size[:-1]) // 100) if size.endswith("%") and memory else size


def _limits(spec: ContainerSpec) -> list[str]:
    arguments = [f"--pids-limit={MAX_PIDS}"] if "pids" in spec.limits else []
    if spec.memory and "memory" in spec.limits:
        arguments += [f"--memory={spec.memory}", f"--memory-swap={spec.memory}"]
    if spec.cpus and "cpu" in spec.limits:
        arguments += [f"--cpu-period={_CPU_PERIOD}", f"--cpu-quota={round(spec.cpus * _CPU_PERIOD)}"]
    return arguments


def _launch(spec: ContainerSpec) -> list[str]:
    if spec.artifact["init"] == SYSTEMD:
        return [_mount(spec.folder / LAUNCH, LAUNCH_PLACE, "readonly")]
    variables = [
        f"--env={name}={value if isinstance(value, str) else json.dumps(value)}"
        for name, value in sorted(spec.settings.items())
        if _VARIABLE.fullmatch(name)
    ]
    return [_mount(spec.folder / LAUNCH_FOLDER, SETTINGS_PLACE, "readonly"), *variables]


def _podman_only(spec: ContainerSpec) -> list[str]:
    writable = spec.artifact["writable"]
    owners = [(row["path"], row["uid"], row["gid"], row["mode"]) for row in writable if row["uid"] or row["gid"]]
    return [
        *([f"--annotation={ANNOTATION}={encoded(owners)}"] if owners else []),
        "--network=none",
        "--read-only-tmpfs=false",
        "--image-volume=ignore",
        "--http-proxy=false",
        f"--systemd={'always' if spec.artifact['init'] == SYSTEMD else 'false'}",
        f"--pidfile={spec.folder / PID_FILE}",
        "--log-driver=k8s-file",
        f"--log-opt=path={spec.folder / CONSOLE}",
        f"--log-opt=max-size={MAX_LOG}b",
    ]


def _docker_only(spec: ContainerSpec) -> list[str]:
    published = [f"--publish=127.0.0.1::{port}" for port in spec.published]
    network = published or ["--network=none"]
    return [*network, "--log-driver=json-file", f"--log-opt=max-size={MAX_LOG}b", "--log-opt=max-file=1"]


def _mount(source: Path, place: str, *options: str) -> str:
    """An option that mounts a file or a folder. Values may contain commas, so it is a line of CSV."""
    line = io.StringIO()
    fields = ["type=bind", f"source={source}", f"destination={place}", *options]
    csv.writer(line, lineterminator="").writerow(fields)
    return f"--mount={line.getvalue()}"
