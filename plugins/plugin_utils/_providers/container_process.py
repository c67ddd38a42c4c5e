# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run a container engine's client: bounded in time and in what it may print."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from .._core.errors import ProviderError

MAX_OUTPUT = 16 * 1024**2  # bytes of standard output; an engine that prints more is ended
MAX_ERRORS = 4096  # bytes of standard error that are kept, from its end
_PIECE = 65536
_DRAINED = 0.2  # seconds to wait for the rest of the output of a client that has ended


@dataclass(frozen=True)
class Finished:
    """A client that has ended."""

    code: int
    output: str
    errors: str  # its last words

    @property
    def last_words(self) -> str:
        """Why it failed, for a message."""
        return (self.errors.strip() or self.output.strip()[-MAX_ERRORS:] or f"exit code {self.code}")[-MAX_ERRORS:]


def run_client(argv: Sequence[str], env: Mapping[str, str], *, timeout: float, input: bytes | None = None) -> Finished:
    """Run a client to its end.

    Its output may stay open after its end: what monitors a container inherits it. So the client's end counts, not the
    end of its output.

    Args:
        timeout: seconds after which it is ended with everything in its process group.
        input: its standard input. None for an empty one.

    Raises ProviderError if it cannot be started, takes longer, or prints more than ``MAX_OUTPUT``.
    """
    source = subprocess.DEVNULL if input is None else os.memfd_create("input", os.MFD_CLOEXEC)
    try:
        if input is not None:
            with os.fdopen(os.dup(source), "wb") as memory:
                memory.write(input)
            os.lseek(source, 0, os.SEEK_SET)
        with subprocess.Popen(
            list(argv),
            env=dict(env),
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as client:
            return _read_to_end(client, argv[0], timeout)
    except OSError as error:
        raise ProviderError(f"cannot start {argv[0]}: {error.strerror}") from error
    finally:
        if input is not None:
            os.close(source)


def _read_to_end(client: subprocess.Popen[bytes], name: str, timeout: float) -> Finished:
    output, errors = bytearray(), bytearray()
    pipes = ((client.stdout, output), (client.stderr, errors))
    buffers = {pipe.fileno(): buffer for pipe, buffer in pipes if pipe is not None}
    deadline, ended = time.monotonic() + timeout, os.pidfd_open(client.pid)
    try:
        with selectors.DefaultSelector() as selector:
            for number in (*buffers, ended):
                selector.register(number, selectors.EVENT_READ)
            running = True
            while len(selector.get_map()) > (1 if running else 0):
                ready = [key.fd for key, _events in selector.select(max(0.0, deadline - time.monotonic()))]
                for number in ready:
                    if number != ended and not _read(number, buffers[number]):
                        selector.unregister(number)
                _bound(client, name, output, errors)
                if ended in ready:
                    running, deadline = False, time.monotonic() + _DRAINED
                    selector.unregister(ended)
                elif not ready and running:
                    _end(client)
                    raise ProviderError(f"{os.path.basename(name)} did not answer within {timeout:.0f} seconds")
                elif not ready:
                    break
        left = max(0.0, deadline - time.monotonic())
        try:
            code = client.wait(left + _DRAINED)
        except subprocess.TimeoutExpired:
            _end(client)
            raise ProviderError(f"{os.path.basename(name)} did not end within {timeout:.0f} seconds") from None
    finally:
        os.close(ended)
        if client.poll() is None:
            _end(client)
    return Finished(code, output.decode("utf-8", "replace"), errors.decode("utf-8", "replace"))


def _read(number: int, into: bytearray) -> bool:
    data = os.read(number, _PIECE)
    into += data
    return bool(data)


def _bound(client: subprocess.Popen[bytes], name: str, output: bytearray, errors: bytearray) -> None:
    del errors[:-MAX_ERRORS]
    if len(output) > MAX_OUTPUT:
        _end(client)
        raise ProviderError(f"{os.path.basename(name)} printed more than {MAX_OUTPUT // 1024**2} MiB, so it was ended")


def _end(client: subprocess.Popen[bytes]) -> None:
    """Kill a client with what it started in its group."""
    with suppress(ProcessLookupError):
        os.killpg(client.pid, signal.SIGKILL)
    client.wait()
