# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How Podman runs on this machine: with which runtime, storage and limits.

Running a small container shows what works here.

Podman's own choice is often wrong: rootless it may store images as plain copies, on hybrid cgroups its runtime fails,
and its limits may be above those of this process. So each configuration is tried, the best first. The result is
remembered for these versions of Podman and its runtimes.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import resource
import stat
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

from ...module_utils._program_source import source_of
from .._core.documents import mismatch, parse_json
from .._core.errors import ProviderError
from .._core.files import make_private_folder, write_atomically
from .._core.locked import FOLDER, Locked
from .._core.programs import child_environment, find_program
from . import container_tmpfs
from .container_process import Finished, run_client
from .container_seccomp import DEFAULT_FILTERS, without_namespaces

MEMORY = Path("/dev/shm")  # noqa: S108  a file system in memory, so that Podman notices that the machine was started again
MAX_PROCESSES = 32768  # more is refused in some containers and user namespaces, though the own limit is above it
MAX_LOG = 16 * 1024**2  # bytes of one container's log
RUNTIMES = ("crun", "runc")
_REMEMBERED = "runtime.json"
_PROBE_TIMEOUT = 120.0  # seconds
_FUSE = "fuse-overlayfs"
_ROOT_FOLDERS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr")
# systemd creates cgroups. In cgroups v1 it has a hierarchy of its own, which may be the machine's, so the name is
# unique and the cgroup is removed.
_CREATES_CGROUP = (
    "group=/sys/fs/cgroup; [ ! -d $group/systemd ] || group=$group/systemd; group=$group/$0; "
    "mkdir $group || exit 1; [ -e $group/cgroup.procs ]; found=$?; rmdir $group; exit $found"
)
NO_SYSTEMD = (
    "systemd cannot be the first process of a container here: without root it needs cgroups v2 that are delegated to "
    "this user; run as root, or declare image.command"
)
_NOT_INHERITED = (
    "CONTAINER_HOST",
    "CONTAINER_CONNECTION",
    "CONTAINERS_CONF_OVERRIDE",
    "STORAGE_DRIVER",
    "STORAGE_OPTS",
)


@dataclass(frozen=True)
class Found:
    """What was found out about this machine. Plain data: it is remembered as JSON."""

    key: str  # of which programs and kernel
    runtime: str
    manager: str
    storage: list[str]  # Podman's options
    systemd: bool  # whether systemd can be the first process of a container
    limits: list[str]
    warnings: list[str]


@dataclass(frozen=True)
class Podman:
    """How to call it."""

    options: tuple[str, ...]
    variables: Mapping[str, str]  # what its environment has beside this process's own
    found: Found

    @property
    def environment(self) -> dict[str, str]:
        inherited = child_environment(**self.variables)
        return {name: value for name, value in inherited.items() if name not in _NOT_INHERITED}

    @property
    def limits(self) -> Sequence[str]:
        return self.found.limits

    @property
    def warnings(self) -> Sequence[str]:
        return self.found.warnings


def prepare_podman(folder: Path, program: str) -> Podman:
    """Return how to call Podman with its store in a folder. Raises ProviderError if no container runs here.

    Args:
        program: its absolute path.
    """
    try:
        make_private_folder(folder / "tmp")
        state = state_folder(folder)
        _write_configuration(folder)
        key = _key(program)
        found = _remembered(folder, key)
        if found is None:
            with Locked(folder, FOLDER):
                found = _remembered(folder, key) or _find_out(folder, state, program, key)
    except OSError as error:
        raise ProviderError(f"podman's store cannot be used: {error.filename or folder}: {error.strerror}") from error
    return _podman(folder, state, found)


def state_folder(folder: Path) -> Path:
    """Return the folder of Podman's state while this machine runs, and create it if it is missing.

    It is in memory, and its path is short, because the addresses of sockets are. It is the same for each run of a user.
    Raises ProviderError if another user was there first.
    """
    digest = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:12]
    path = MEMORY / f"immutable-{os.geteuid()}-{digest}"
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        pass
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise ProviderError(f"{path} is in the way: it is not a private folder of this user (remove it)")
    return path


def configuration(limits: Mapping[str, int], seccomp: Path | None, hooks: Path) -> str:
    """Return Podman's configuration file, in place of the machine's and the user's.

    Args:
        limits: of the processes in containers, by the name of the limit.
        seccomp: the seccomp profile; None for the one that is built into Podman.
        hooks: the folder with what the runtime does when it creates a container.
    """
    chosen = f"seccomp_profile = {json.dumps(str(seccomp))}\n" if seccomp else ""
    ulimits = ", ".join(f'"{name}={number}:{number}"' for name, number in sorted(limits.items()))
    return f"""[containers]
log_driver = "k8s-file"
log_size_max = {MAX_LOG}
default_ulimits = [{ulimits}]
{chosen}
[engine]
events_logger = "none"
hooks_dir = [{json.dumps(str(hooks))}]
lock_type = "file"
pull_policy = "never"
"""


def own_limits() -> dict[str, int]:
    """Return the limits that processes in containers get: none is above the one of this process."""
    files, processes = (resource.getrlimit(each)[1] for each in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC))
    bounded = MAX_PROCESSES if processes == resource.RLIM_INFINITY else min(processes, MAX_PROCESSES)
    return {"nproc": bounded, **({} if files == resource.RLIM_INFINITY else {"nofile": files})}


def _write_configuration(folder: Path) -> None:
    seccomp = None
    default = next(filter(Path.is_file, map(Path, DEFAULT_FILTERS)), None)
    if default is not None:
        seccomp = folder / "seccomp.json"
        _write_changed(seccomp, json.dumps(without_namespaces(default.read_bytes())))
    _write_changed(folder / "containers.conf", configuration(own_limits(), seccomp, _write_hook(folder)))


def _write_hook(folder: Path) -> Path:
    """Write the hook that sets the owner and the mode of each tmpfs. Return the folder of hooks."""
    hooks, program = folder / "hooks", folder / "tmpfs.py"
    hooks.mkdir(mode=0o700, exist_ok=True)
    _write_changed(program, source_of(container_tmpfs))
    argv = [sys.executable, "-I", "-S", str(program)]
    hook = {
        "version": "1.0.0",
        "hook": {"path": argv[0], "args": argv},
        "when": {"annotations": {f"^{re.escape(container_tmpfs.ANNOTATION)}$": ".*"}},
        "stages": ["createContainer"],
    }
    _write_changed(hooks / "tmpfs.json", json.dumps(hook))
    return hooks


def _write_changed(path: Path, text: str) -> None:
    data = text.encode()
    if not path.exists() or path.read_bytes() != data:
        write_atomically(path, data)


def _podman(folder: Path, state: Path, found: Found) -> Podman:
    options = ["--root", str(folder / "storage"), "--runroot", str(state / "run"), "--tmpdir", str(state / "tmp")]
    options += [*found.storage, "--cgroup-manager", found.manager, "--runtime", found.runtime]
    variables = {"CONTAINERS_CONF": str(folder / "containers.conf"), "TMPDIR": str(folder / "tmp")}
    if os.geteuid() != 0:
        # The runtime keeps the state of containers below it, so it must be the same for each run.
        variables["XDG_RUNTIME_DIR"] = str(state)
        bus = Path(f"/run/user/{os.geteuid()}/bus")
        if bus.exists():
            variables["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path={bus}"
    return Podman(tuple(options), variables, found)


def _key(program: str) -> str:
    """What the result depends on. Programs are identified by their files: no program is started for it."""
    programs = [program, *(path for path in map(find_program, (*RUNTIMES, _FUSE)) if path)]
    files = [f"{path}:{os.stat(path).st_mtime_ns}:{os.stat(path).st_size}" for path in programs]
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return " ".join([*files, os.uname().release, str(os.geteuid()), boot])


def _remembered(folder: Path, key: str) -> Found | None:
    document = _document(folder)
    return Found(**document) if document.get("key") == key else None


def _document(folder: Path) -> dict[str, Any]:
    """The remembered result. Empty if there is none or if it is damaged."""
    try:
        document = parse_json((folder / _REMEMBERED).read_bytes())
    except (OSError, ValueError):
        return {}
    return {} if mismatch(document, Found) else {name: document[name] for name in Found.__dataclass_fields__}


def _find_out(folder: Path, state: Path, program: str, key: str) -> Found:
    """Try each way to run a container, the best first. Remember the first that works."""
    probe = _Probe(folder, state, program)
    problems = []
    for storage, warnings in _storages(folder):
        for manager in _managers():
            for runtime in RUNTIMES:
                if find_program(runtime) is None:
                    continue
                trial = Found(key, runtime, manager, storage, systemd=False, limits=[], warnings=warnings)
                done = probe.run(trial, "true")
                if done.code == 0:
                    return _remember(folder, probe.completed(trial))
                problems.append(f"{runtime} with {manager} on {storage[1]}: {done.last_words.splitlines()[-1]}")
    if not problems:
        raise ProviderError("podman has no runtime: neither crun nor runc is installed (Debian: apt install crun)")
    raise ProviderError(f"podman cannot run a container on this machine: {'; '.join(problems)[-1500:]}")


def _remember(folder: Path, found: Found) -> Found:
    write_atomically(folder / _REMEMBERED, json.dumps(asdict(found), indent=1).encode())
    return found


def _managers() -> Sequence[str]:
    """The cgroup managers to try. Without root, systemd delegates cgroups if the user has an instance of systemd."""
    rootless_systemd = os.geteuid() != 0 and Path(f"/run/user/{os.geteuid()}/bus").exists()
    return ("systemd", "cgroupfs") if rootless_systemd else ("cgroupfs",)


def _storages(folder: Path) -> Sequence[tuple[list[str], list[str]]]:
    """Podman's storage options to try, each with its warnings. A store with images keeps its storage driver."""
    overlay = ["--storage-driver", "overlay"]
    fuse = find_program(_FUSE)
    through = [*overlay, "--storage-opt", f"overlay.mount_program={fuse}"]
    slow = (
        "container images are stored as plain copies, which is slow and needs much space: "
        "overlay file systems do not work here"
    )
    ways = [
        (overlay, []),
        *([(through, [f"containers run on {_FUSE}, which is slower than the kernel's overlay"])] if fuse else []),
        (["--storage-driver", "vfs"], [slow]),
    ]
    for driver in ("overlay", "vfs"):
        images = folder / "storage" / f"{driver}-images" / "images.json"
        if images.exists() and images.read_bytes().strip() not in (b"", b"[]"):
            return [way for way in ways if way[0][1] == driver]
    return ways


class _Probe:
    """Runs small containers whose files are this machine's own programs."""

    def __init__(self, folder: Path, state: Path, program: str) -> None:
        self._folder, self._state, self._program = folder, state, program
        self._root = folder / "probe"
        self._mounts: list[str] = []
        self._root.mkdir(exist_ok=True)
        for name in ("dev", "etc", "proc", "run", "sys", "tmp", "var"):
            (self._root / name).mkdir(exist_ok=True)
        for name in _ROOT_FOLDERS:
            self._add(Path("/", name), self._root / name)

    def _add(self, source: Path, target: Path) -> None:
        if source.is_symlink():
            if not target.is_symlink():
                target.symlink_to(os.readlink(source))
        elif source.is_dir():
            target.mkdir(exist_ok=True)
            self._mounts += ["--volume", f"{source}:{source}:ro"]

    def run(self, trial: Found, command: str, *options: str) -> Finished:
        """Run a command of the shell in a container as services run."""
        podman = _podman(self._folder, self._state, trial)
        argv = [self._program, *podman.options, "run", "--rm", "--network=none", "--read-only", "--pull=never"]
        argv += ["--security-opt", "no-new-privileges", *options, *self._mounts, "--rootfs", str(self._root)]
        return run_client(
            [*argv, "/bin/sh", "-c", command, f"probe-{token_hex(8)}"], podman.environment, timeout=_PROBE_TIMEOUT
        )

    def completed(self, trial: Found) -> Found:
        """Find out the rest once containers run."""
        systemd = self.run(trial, _CREATES_CGROUP, "--systemd=always")
        tries = {"memory": "--memory=64m", "cpu": "--cpus=1", "pids": "--pids-limit=100"}
        limits = [name for name, option in tries.items() if self._enforces(trial, option)]
        warnings = list(trial.warnings)
        if systemd.code != 0:
            warnings.append(NO_SYSTEMD)
        if self.run(trial, "unshare --user true").code == 0:
            warnings.append(
                "users in containers can create user namespaces, because podman's seccomp profile was not found "
                f"(searched: {', '.join(DEFAULT_FILTERS)})"
            )
        missing = [name for name in tries if name not in limits]
        if missing:
            warnings.append(
                f"limits of containers are not enforced here: {', '.join(missing)} (no cgroups for this user)"
            )
        values = {"systemd": systemd.code == 0, "limits": limits, "warnings": warnings}
        return Found(**{**asdict(trial), **values})

    def _enforces(self, trial: Found, option: str) -> bool:
        """Whether a limit works. Podman may ignore one with no more than a message."""
        done = self.run(trial, "true", option)
        return done.code == 0 and "ignored" not in done.errors.lower()
