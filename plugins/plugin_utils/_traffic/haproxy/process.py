# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The HAProxy process of one folder: a daemon in its own session, which outlives the run that started it."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from ..._core.errors import TrafficError
from ..._core.processes import end_process
from ..._core.programs import find_program
from .config import SOCKET

CONFIG, PID = "haproxy.cfg", "haproxy.pid"
_STOP_TIMEOUT = 5.0  # seconds to end after a signal


class Process:
    """Raises TrafficError with HAProxy's own words."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.config = folder / CONFIG
        self.socket = folder / SOCKET

    def pid(self) -> int | None:
        """The pid of the running HAProxy, verified by the path of its configuration: pids are reused."""
        try:
            pid = int((self._folder / PID).read_text(encoding="ascii"))
            argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError, ValueError):
            return None
        return pid if os.fsencode(self.config) in argv else None

    def start(self) -> None:
        """Start it, or let a new process take over from the running one.

        The new process takes over the listening sockets, and the old one finishes requests in flight.
        """
        argv = [_binary(), "-D", "-C", str(self._folder), "-f", str(self.config), "-p", str(self._folder / PID)]
        running = self.pid()
        if running is not None:
            argv += ["-x", SOCKET, "-sf", str(running)]
        done = subprocess.run(
            argv,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            start_new_session=True,
            check=False,
        )
        if done.returncode != 0:
            raise TrafficError(f"HAProxy did not start: {_alerts(done.stderr)}")

    def stop(self) -> None:
        """End it, and the processes that it took over from, which may still finish requests. Return when all ended."""
        running = self.pid()
        for pid in dict.fromkeys([*([running] if running else []), *self._all()]):
            end_process(pid, (signal.SIGTERM, _STOP_TIMEOUT), (signal.SIGKILL, _STOP_TIMEOUT))

    def _all(self) -> list[int]:
        """The pids of all HAProxy processes with this configuration."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                program, *arguments = (process / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue  # it has just ended
            if os.path.basename(program) == b"haproxy" and os.fsencode(self.config) in arguments:
                found.append(int(process.name))
        return found


def version() -> str | None:
    """The version, such as ``2.6.12``, or None if it is not installed."""
    try:
        first = subprocess.run([_binary(), "-v"], capture_output=True, text=True, check=True).stdout.split()
    except (TrafficError, OSError, subprocess.CalledProcessError):
        return None
    return first[2].partition("-")[0] if len(first) > 2 else None


def _binary() -> str:
    # The path of ordinary users lacks the folders of daemons.
    found = find_program("haproxy", ("/usr/local/sbin", "/usr/sbin"))
    if found is None:
        raise TrafficError("HAProxy is not installed (Debian: apt install haproxy; 2.6 or newer is needed)")
    return found


def _alerts(text: str) -> str:
    """HAProxy's alerts without their prefixes and without notices."""
    alerts = [line.partition(" : ")[2].strip() for line in text.splitlines() if line.startswith("[ALERT]")]
    return "; ".join(alerts) or text.strip() or "it gave no reason"
