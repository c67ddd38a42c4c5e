# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A child process that is read line by line, and that cleans up and ends if its caller ends."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, final

from . import _supervisor as supervisor
from ._program_source import source_of

GRACE = 60.0
MAX_LINE = 16 * 1024**2  # bytes of one line that are kept in memory
StopReason = Literal["", "timeout", "abandoned", "request"]
_CLOSED = select.POLLERR | select.POLLHUP | select.POLLNVAL
_STDOUT = 1
_PARENT_INTERVAL = 1.0  # seconds between two checks of the parent while the child is silent


@final
class Supervised:
    """Runs ``argv`` under the supervisor. A context manager.

    Args:
        argv: the command, without secrets.
        env: the complete environment of the child, or None for the caller's own.
        cwd: the child's folder.
        grace: seconds for the child to clean up after it was asked to end.
        remove: folders that the supervisor removes after the child's end, even if the caller is dead.
        hold: descriptors that stay open until the child has ended and the folders are removed, such as those of a lock.
        inherit: descriptors that the child inherits, by their own numbers.
        watch_output: True in a module: the child is stopped if the module's standard output has no reader, because the
            task timed out or the connection was closed. The child is always stopped if the caller's parent ends.
        errors: a file for the child's standard error. By default it is part of the output.
        meanwhile: called by ``lines`` at least about once a second. If it raises, ``lines`` raises the same error, and
            the end of the context ends the child.

    Attributes:
        stopped_for: why the child was asked to end, or ''.
    """

    def __init__(
        self,
        argv: Sequence[str],
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        grace: float = GRACE,
        remove: Sequence[str] = (),
        hold: Sequence[int] = (),
        watch_output: bool = False,
        errors: str | None = None,
        meanwhile: Callable[[], None] | None = None,
        inherit: Sequence[int] = (),
    ) -> None:
        self.stopped_for: StopReason = ""
        self._config: dict[str, Any] = {
            "argv": list(argv),
            "cwd": cwd,
            "grace": grace,
            "remove": list(remove),
            "errors": errors,
            "inherit": list(inherit),
        }
        self._env = env
        self._hold = (*hold, *inherit)
        self._watch_output = watch_output
        self._meanwhile = meanwhile
        self._parent = os.getppid()

    def __enter__(self) -> Supervised:
        """Start the child. Raises OSError if the supervisor cannot be started."""
        lifeline, self._lifeline = os.pipe()
        self._output, output = os.pipe()
        self._config.update(lifeline=lifeline, output=self._output)
        program = _pipe_with(source_of(supervisor).encode())
        command = [sys.executable, "-I", "-c", f"exec(open({program}).read())", json.dumps(self._config)]
        inherited = (program, lifeline, self._output)
        try:
            # This code has no AnsibleModule, so it cannot call run_command.
            self._process = subprocess.Popen(  # pylint: disable=ansible-bad-function
                command,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(*inherited, *self._hold),
                start_new_session=True,
            )
        except BaseException:
            os.close(self._lifeline)
            os.close(self._output)
            raise
        finally:
            for descriptor in (program, lifeline, output):
                os.close(descriptor)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._meanwhile = None
        self.stop()
        for _line in self.lines():  # an unread pipe would block the child
            pass
        self.wait()
        os.close(self._lifeline)
        os.close(self._output)

    @property
    def pid(self) -> int:
        """Process id of the supervisor."""
        return self._process.pid

    def stop(self, reason: StopReason = "request") -> None:
        """Ask the child to clean up and end, without waiting. Further calls have no effect."""
        if self.stopped_for or self._process.poll() is not None:
            return
        self.stopped_for = reason
        try:
            os.write(self._lifeline, b"s")
        except BrokenPipeError:
            pass

    def wait(self) -> int:
        """Wait for the child and return its exit code: 128 + n if signal n ended it, 127 if it could not be started."""
        return self._process.wait()

    def lines(self, timeout: float | None = None) -> Iterator[str]:
        """Yield the lines of the child's output and errors until the child and its process group have ended.

        A line of more than ``MAX_LINE`` bytes is replaced as a whole, because a part of it could be a part of a secret.

        Args:
            timeout: seconds from now after which the child is asked to end. Its output is still yielded.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        pending: list[bytes] = []
        size = 0
        while True:
            chunk = self._read(deadline)
            if not chunk:
                break
            first, *others = chunk.split(b"\n")
            size += len(first)
            if size <= MAX_LINE:
                pending.append(first)
            if others:
                yield _line(pending, size)
                for line in others[:-1]:
                    yield _line([line], len(line))
                pending, size = [others[-1]], len(others[-1])
        if size:
            yield _line(pending, size)

    def _read(self, deadline: float | None) -> bytes:
        poll = select.poll()
        poll.register(self._output, select.POLLIN)
        if self._watch_output and not self.stopped_for:
            poll.register(_STDOUT, 0)
        while True:
            if self._meanwhile and not self.stopped_for:
                self._meanwhile()
            ended = self._process.poll() is not None
            wait = _PARENT_INTERVAL
            if deadline is not None and not self.stopped_for:
                wait = min(wait, max(0.0, deadline - time.monotonic()))
            ready = dict(poll.poll(wait * 1000))
            if deadline is not None and time.monotonic() >= deadline:
                self.stop("timeout")
            if os.getppid() != self._parent:
                self.stop("abandoned")
            if self._output in ready:
                return os.read(self._output, 65536)
            if ended:  # with its group; only a process that left the group can still have the pipe open
                return b""
            for descriptor, event in ready.items():
                if event & _CLOSED:
                    poll.unregister(descriptor)
                    self.stop("abandoned")


def _line(parts: Sequence[bytes], size: int) -> str:
    if size > MAX_LINE:
        return f"[a line of {size} bytes was left out]"
    return b"".join(parts).decode("utf-8", "replace").rstrip("\r")


def _pipe_with(content: bytes) -> int:
    """The read end of a pipe with ``content``, which must fit into its buffer (64 KiB on Linux, 16 KiB on others)."""
    reader, writer = os.pipe()
    os.write(writer, content)
    os.close(writer)
    return reader
