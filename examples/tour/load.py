# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A steady load on the service, produced by hey, and its result."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tour.shell import BOUND, Failure


class Load:
    """Read and write at a steady rate. A status outside 2xx and a socket error count as failed requests."""

    def __init__(self, per_second: int) -> None:
        self.per_second = per_second  # requests of each of three clients
        self.sent = 0
        self.failed = 0
        self.failures: dict[str, int] = {}

    @contextmanager
    def running_against(self, endpoint: str) -> Iterator[None]:
        common = ["hey", "-z", "1h", "-t", "20", "-q", str(self.per_second)]
        readers = [*common, "-c", "2", f"{endpoint}/notes/count"]
        writers = [*common, "-c", "1", "-m", "POST", "-d", "written under load", f"{endpoint}/notes"]
        print(f"$ {shlex.join(readers)} &\n$ {shlex.join(writers)} &", flush=True)
        running = [
            subprocess.Popen([*BOUND, *argv], stdout=subprocess.PIPE, text=True, start_new_session=True)
            for argv in (readers, writers)
        ]
        try:
            yield
        finally:
            for process in running:
                process.send_signal(signal.SIGINT)
            for process in running:
                self.count(process.communicate(timeout=60)[0])

    def count(self, summary: str) -> None:
        """Add the numbers of a summary printed by hey, which lists responses by status and errors by text."""
        part = ""
        for line in summary.splitlines():
            if line.endswith(":") or line.startswith(("Status code", "Error")):
                part = line
            found = re.match(r"\s+\[(\d+)\]\s+(.*)", line)
            if found and part.startswith("Status code"):
                number = int(found[2].split()[0])
                self.sent += number
                if not found[1].startswith("2"):
                    self.fail(f"status {found[1]}", number)
            elif found and part.startswith("Error"):
                self.sent += int(found[1])
                self.fail(found[2], int(found[1]))

    def fail(self, what: str, number: int) -> None:
        self.failed += number
        self.failures[what] = self.failures.get(what, 0) + number

    def check(self) -> None:
        """Raises Failure if a request failed or none was sent."""
        if self.failed:
            raise Failure(f"{self.failed} of {self.sent} requests failed: {self.failures}")
        if self.sent == 0:
            raise Failure("no request was sent during the swap")
