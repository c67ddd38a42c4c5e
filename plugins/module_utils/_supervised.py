# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A child process that ends with its caller, cleans up first, and is read line by line."""

from __future__ import annotations

import inspect
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import final

from . import _supervisor as supervisor

GRACE = 60.0
_GONE = select.POLLERR | select.POLLHUP | select.POLLNVAL
_STDOUT = 1
_LOOK_AGAIN = 1.0  # seconds after which the parent is looked at again, when the child is silent


@final
class Supervised:
    """Runs ``argv`` under the supervisor; a context manager.

    Args:
        argv: the command, never with a secret in it.
        env: the whole environment of the child, or None for the caller's own.
        cwd: the child's folder.
        grace: seconds the child has to clean up after the first request to end.
        remove: folders that the supervisor removes after the child's end, even when the caller is dead by then.
        hold: descriptors that stay open until all that is over, such as a lock's: whoever gets it next finds nobody at work.
        watch_output: True in a module: when nobody reads the module's standard output any more (its task has timed out, or its
            connection is gone), the child is ended. That the caller's parent died is watched in any case.
        errors: a file that the child's errors are written to, apart from its output.
        meanwhile: called from ``lines`` about once a second at least, for what must go on while the child runs. What it raises
            comes out of ``lines``, and leaving the context ends the child.

    Attributes:
        stopped_for: '' or the reason for which the child was asked to end: 'timeout', 'abandoned' or 'request'.
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
    ) -> None:
        self.stopped_for = ""
        self._config = {"argv": list(argv), "cwd": cwd, "grace": grace, "remove": list(remove), "errors": errors}
        self._env = env
        self._hold = tuple(hold)
        self._watch_output = watch_output
        self._meanwhile = meanwhile
        self._parent = os.getppid()

    def __enter__(self) -> Supervised:
        """Raises OSError where the supervisor cannot be started."""
        lifeline, self._lifeline = os.pipe()
        self._output, output = os.pipe()
        self._config.update(lifeline=lifeline, output=self._output)
        program = _pipe_with(inspect.getsource(supervisor).encode())
        command = [sys.executable, "-I", "-c", f"exec(open({program}).read())", json.dumps(self._config)]
        handed = (program, lifeline, self._output)
        try:
            self._process = subprocess.Popen(
                command,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(*handed, *self._hold),
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
        for _line in self.lines():  # an unread pipe would hold the child up
            pass
        self.wait()
        os.close(self._lifeline)
        os.close(self._output)

    @property
    def pid(self) -> int:
        """Process id of the supervisor."""
        return self._process.pid

    def stop(self, reason: str = "request") -> None:
        """Ask for the child's orderly end; returns at once. A second call changes nothing."""
        if self.stopped_for or self._process.poll() is not None:
            return
        self.stopped_for = reason
        try:
            os.write(self._lifeline, b"s")
        except BrokenPipeError:
            pass

    def wait(self) -> int:
        """The child's return code: 128 + n where signal n ended it, 127 where it could not be started."""
        return self._process.wait()

    def lines(self, timeout: float | None = None) -> Iterator[str]:
        """Output and errors of the child, a line each, as they come, to the end of the child and its process group.

        Args:
            timeout: seconds from now after which the child is asked to end. What it says from then on is still told.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        pending = b""
        while True:
            chunk = self._read(deadline)
            if not chunk:
                break
            *whole, pending = (pending + chunk).split(b"\n")
            for line in whole:
                yield line.decode("utf-8", "replace").rstrip("\r")
        if pending:
            yield pending.decode("utf-8", "replace").rstrip("\r")

    def _read(self, deadline: float | None) -> bytes:
        poll = select.poll()
        poll.register(self._output, select.POLLIN)
        if self._watch_output and not self.stopped_for:
            poll.register(_STDOUT, 0)
        while True:
            if self._meanwhile and not self.stopped_for:
                self._meanwhile()
            ended = self._process.poll() is not None
            patience = _LOOK_AGAIN
            if deadline is not None and not self.stopped_for:
                patience = min(patience, max(0.0, deadline - time.monotonic()))
            ready = dict(poll.poll(patience * 1000))
            if deadline is not None and time.monotonic() >= deadline:
                self.stop("timeout")
            if os.getppid() != self._parent:
                self.stop("abandoned")
            if self._output in ready:
                return os.read(self._output, 65536)
            if ended:  # with its group; whoever holds the pipe now went out of it
                return b""
            for descriptor, event in ready.items():
                if event & _GONE:
                    poll.unregister(descriptor)
                    self.stop("abandoned")


def _pipe_with(content: bytes) -> int:
    """The read end of a pipe that holds ``content``, which has to fit into one (64 KiB on Linux, 16 on others)."""
    reader, writer = os.pipe()
    os.write(writer, content)
    os.close(writer)
    return reader
