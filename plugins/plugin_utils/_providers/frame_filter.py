# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Stands between a guest and QEMU's user network, and drops the frames that may not go out.

QEMU redirects each frame of the guest to one socket, and takes the frames that pass from another. If this process ends,
no frame passes.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue

from .._core.errors import ProviderError
from .guest_network import escaped

_LARGEST = 1 << 17  # bytes of a frame
_LONGEST_FOLDER = 90  # bytes
_WAITING = 20000  # frames
_END = b""  # ends the writer


class FrameFilter:
    """The sockets of one guest. ``options`` are for the QEMU whose ``-netdev`` has the given name."""

    def __init__(self, folder: Path, passes: Callable[[bytes], bool]) -> None:
        # A path of a socket is short. The other folder is empty, should this run be killed and leave it behind.
        long = len(os.fsencode(folder)) > _LONGEST_FOLDER
        self._temporary = Path(tempfile.mkdtemp(prefix="immutable-net-")) if long else None
        folder = self._temporary or folder
        self._paths = (folder / "net.out", folder / "net.in")
        self._passes = passes
        self._listening: list[socket.socket] = []
        self._connected: list[socket.socket] = []
        self._closed = False

    def options(self, netdev: str) -> list[list[str]]:
        """Return options of QEMU as pairs. Their order matters: the later filter is the first to see a frame."""
        outgoing, incoming = map(escaped, self._paths)
        return [
            ["-chardev", f"socket,id=net-out,path={outgoing}"],
            ["-chardev", f"socket,id=net-in,path={incoming}"],
            ["-object", f"filter-redirector,id=net-pass,netdev={netdev},queue=rx,indev=net-in"],
            ["-object", f"filter-redirector,id=net-look,netdev={netdev},queue=rx,outdev=net-out"],
        ]

    @contextmanager
    def running(self) -> Iterator[FrameFilter]:
        """Serve one QEMU in the background. Raises ProviderError if the sockets cannot be made."""
        try:
            for path in self._paths:
                one = socket.socket(socket.AF_UNIX)
                self._listening.append(one)
                path.unlink(missing_ok=True)
                one.bind(str(path))
                one.listen(1)
        except OSError as error:
            self._close()
            raise ProviderError(f"cannot make the build machine's network in {path.parent}: {error}") from error
        thread = threading.Thread(target=self._serve, name="frame filter", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._close()
            thread.join()

    def _serve(self) -> None:
        """Pass on the frames until either end closes. Fails closed."""
        waiting: SimpleQueue[bytes] = SimpleQueue()
        with suppress(OSError):
            for one in self._listening:
                self._connected.append(one.accept()[0])
            source, sink = self._connected
            writer = threading.Thread(target=_send, args=(sink, waiting), name="frame filter's writer", daemon=True)
            writer.start()
            with source.makefile("rb") as frames, suppress(OSError):
                while len(head := frames.read(4)) == 4:
                    length = int.from_bytes(head, "big")
                    if length > _LARGEST:
                        break
                    frame = frames.read(length)
                    # A network may lose a frame. It may never wait: QEMU reads nothing while it sends.
                    if len(frame) == length and waiting.qsize() < _WAITING and self._passes(frame):
                        waiting.put(head + frame)
            with suppress(OSError):
                source.shutdown(socket.SHUT_RDWR)
            waiting.put(_END)
            writer.join()
        for one in self._connected:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _close(self) -> None:
        for one in (*self._listening, *self._connected):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)  # ends a wait in the other thread
        for one in self._listening:
            one.close()
        for path in self._paths:
            path.unlink(missing_ok=True)
        if self._temporary:
            shutil.rmtree(self._temporary, ignore_errors=True)


def _send(sink: socket.socket, waiting: SimpleQueue[bytes]) -> None:
    with suppress(OSError):
        while frame := waiting.get():
            sink.sendall(frame)
