# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""QEMU's process: how it starts, with which files, and how it ends.

QEMU gets every file as an open descriptor. So it needs no right to open files, and no file changes its owner.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from ..._core.errors import ProviderError
from ..._core.processes import end_process
from . import launcher, qmp

PID_FILE, QMP_SOCKET = "qemu.pid", "qmp.sock"
START_TIMEOUT = 120.0  # seconds until QEMU answers; an idle machine needs less than one
KILL_TIMEOUT = 10.0  # seconds
_MAX_OUTPUT = 65536  # bytes
# One end of a pipe for each QEMU that must not outlive this process. The kernel closes them when it ends.
_lifelines: list[int] = []


class PassedFiles:
    """Open files for one QEMU. A context manager that closes them.

    Attributes:
        options: QEMU's options that name the descriptors.
    """

    def __init__(self) -> None:
        self.options: list[str] = []
        self.numbers: list[int] = []
        self._paths: dict[str, Path] = {}
        self._open = ExitStack()

    def __enter__(self) -> PassedFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files here. QEMU has them by then, or does not start."""
        self._open.close()

    def disk(self, path: Path, *, writable: bool) -> str:
        """Open a disk and return the name by which QEMU opens it. Raises ProviderError."""
        return self._named(path, os.O_RDWR if writable else os.O_RDONLY)

    def output(self, path: Path) -> str:
        """Create an empty file for output of the guest and return its name for QEMU. Raises ProviderError."""
        return self._named(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW)

    def content(self, path: Path) -> str:
        """Copy a file that QEMU only reads, such as one with secrets, into memory. Return its name for QEMU."""
        number = self._kept(os.memfd_create(path.name, os.MFD_CLOEXEC))
        with os.fdopen(os.dup(number), "wb") as memory:
            try:
                memory.write(path.read_bytes())
            except OSError as error:
                raise ProviderError(f"{path} cannot be read: {error.strerror}") from error
        return f"/proc/self/fd/{number}"

    def listener(self, path: Path) -> int:
        """Listen at a socket that only this user can connect to. Return its descriptor. Raises ProviderError."""
        listening = self._open.enter_context(socket.socket(socket.AF_UNIX))
        try:
            path.unlink(missing_ok=True)
            # The address of a socket is limited to 107 bytes; an open folder makes any path short.
            folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
            try:
                listening.bind(f"/proc/self/fd/{folder}/{path.name}")
            finally:
                os.close(folder)
            path.chmod(0o600)
            listening.listen(1)
        except OSError as error:
            raise ProviderError(f"cannot listen at {path}: {error.strerror}") from error
        self.numbers.append(listening.fileno())
        return listening.fileno()

    def explained(self, output: str) -> str:
        """Replace the names that only QEMU knows by paths."""
        for name in sorted(self._paths, key=len, reverse=True):
            output = output.replace(name, str(self._paths[name]))
        return output

    def _named(self, path: Path, flags: int) -> str:
        number = self._kept(open_file(path, flags))
        name = f"/dev/fdset/{number}"
        self._paths[name] = path
        self.options += ["-add-fd", f"fd={number},set={number}"]
        return name

    def _kept(self, number: int) -> int:
        self._open.callback(os.close, number)
        self.numbers.append(number)
        return number


def open_file(path: Path, flags: int) -> int:
    """Open a file for QEMU. Raises ProviderError."""
    try:
        return os.open(path, flags | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ProviderError(f"{path} cannot be opened: {error.strerror}") from error


def start_qemu(
    folder: Path, argv: Sequence[str], files: PassedFiles, *, user: int | None, groups: Sequence[int], bound: bool
) -> str:
    """Start QEMU and return its errors once it runs the guest or has ended: empty if it runs.

    Args:
        folder: of the machine. It gets the pid file, and has the socket that ``files`` listens at.
        files: closed here, because a descriptor that stays open keeps the lock of its disk.
        user: number of the user and the group that QEMU runs as, or None for this process's own.
        groups: more groups of that user.
        bound: whether QEMU ends when this process ends.
    """
    config: dict[str, Any] = {"argv": list(argv), "pid_file": PID_FILE, "user": user, "groups": list(groups)}
    lifeline, held = os.pipe() if bound else (None, None)
    config["lifeline"] = lifeline
    reader, writer = os.pipe()
    with ExitStack() as ours:
        errors = ours.enter_context(os.fdopen(reader, "rb", buffering=0))
        inherited = list(files.numbers)
        if lifeline is not None and held is not None:
            _lifelines.append(held)
            inherited.append(lifeline)
        try:
            subprocess.run(
                [sys.executable, "-I", "-S", launcher.__file__, json.dumps(config)],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=writer,
                stderr=writer,
                pass_fds=inherited,
                start_new_session=True,
                check=False,
            )
        finally:
            os.close(writer)
            if lifeline is not None:
                os.close(lifeline)
            files.close()
        try:
            qmp.execute(folder / QMP_SOCKET, [("query-status", {})], START_TIMEOUT)
        except ProviderError as error:
            return _why_not_started(folder, errors.fileno(), files.explained) or error.message
    return ""  # what QEMU prints from now on, perhaps at the guest's will, has no reader and is nowhere stored


def _why_not_started(folder: Path, errors: int, explained: Callable[[str], str]) -> str:
    """End a QEMU that does not answer, and return what it printed."""
    with suppress(OSError, ValueError):
        pid = int((folder / PID_FILE).read_text(encoding="ascii"))
        if f"guest={folder.name}".encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
            end_qemu(pid)
    output = b""
    while len(output) < _MAX_OUTPUT and (part := os.read(errors, _MAX_OUTPUT)):
        output += part
    return explained(output.decode("utf-8", "replace").strip())


def end_qemu(pid: int) -> None:
    """Kill QEMU and wait until it can no longer write anything. Raises ProviderError if it does not end."""
    if not end_process(pid, (signal.SIGKILL, KILL_TIMEOUT)):
        raise ProviderError(f"QEMU's process {pid} was killed but does not end: its storage may hang")
