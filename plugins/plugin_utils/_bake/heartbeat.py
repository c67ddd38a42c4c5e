# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Calls a function at intervals while something else waits for Packer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

INTERVAL = 5.0  # seconds between two calls


@contextmanager
def heartbeat(beat: Callable[[], None], interval: float = INTERVAL) -> Iterator[None]:
    """Call ``beat`` every ``interval`` seconds until the block ends. No call is running when the block has ended."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(interval):
            beat()

    thread = threading.Thread(target=run, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
