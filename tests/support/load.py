# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A steady load on a fleet's endpoint, produced by hey, and its result."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .waiting import PATIENCE, until

PER_SECOND = 10


class Load:
    """Counts requests. A status outside 2xx and a connection error count as failed."""

    def __init__(self) -> None:
        self.sent = 0
        self.failed = 0
        self.failures: dict[str, int] = {}

    @contextmanager
    def on(self, url: str) -> Iterator[None]:
        """Send requests until the block ends. Each has its own connection, like one of a new visitor."""
        rate = ["-c", "5", "-q", str(PER_SECOND // 5), "-t", f"{PATIENCE:.0f}"]
        argv = ["hey", "-z", "1h", *rate, "-disable-keepalive", url]
        running = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, start_new_session=True)
        try:
            until(lambda: running.poll() is not None or _waits_for_time(running.pid))
            yield
        finally:
            running.send_signal(signal.SIGINT)
            self._count(running.communicate(timeout=2 * PATIENCE)[0])

    def __str__(self) -> str:
        return f"{self.sent} requests, {self.failed} failed {self.failures or ''}".strip()

    def _count(self, summary: str) -> None:
        """hey prints one section of answers by status and one of errors by text."""
        section = ""
        for line in summary.splitlines():
            if line.startswith(("Status code", "Error")):
                section = line
            found = re.match(r"\s+\[(\d+)\]\s+(.*)", line)
            if not found or not section:
                continue
            status = section.startswith("Status code")
            number = int(found[2].split()[0]) if status else int(found[1])
            self.sent += number
            if not (status and found[1].startswith("2")):
                self.failed += number
                cause = f"status {found[1]}" if status else found[2]
                self.failures[cause] = self.failures.get(cause, 0) + number


def _waits_for_time(hey: int) -> bool:
    """Whether hey has begun: it handles signals, and then Go's runtime waits with epoll. Before, a signal ends it."""
    found = []
    for handle in Path(f"/proc/{hey}/fd").glob("*"):
        with suppress(FileNotFoundError):
            found.append(os.readlink(handle))
    return "anon_inode:[eventpoll]" in found
