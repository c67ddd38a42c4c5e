# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Show progress lines of an action plugin while its task still runs.

The lines go to stderr, so they do not mix with callbacks that print JSON on stdout. One thread calls Display. It is
joined before the task returns, because a thread that still displays while the worker exits can hang the worker.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from types import TracebackType

from ansible import constants
from ansible.utils.display import Display

from ...module_utils._bounded import shortened
from ...module_utils._plain_text import plain_line
from .progress import LineLimit, Report, WithBar, silent
from .terminal import STDERR, terminal_columns


class LiveDisplay:
    """A context manager that provides a Report. It prefixes every line with the host and the task."""

    def __init__(self, prefix: str, quiet: bool) -> None:
        self._prefix = prefix
        self._quiet = quiet
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Report:
        if self._quiet:
            return silent
        self._thread = threading.Thread(target=self._pump, daemon=True)
        self._thread.start()
        return self._lines.put

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._lines.put(None)
            self._thread.join()

    def _pump(self) -> None:
        display, limit, prefix = Display(), LineLimit(), plain_line(self._prefix)
        terminal = terminal_columns() is not None and terminal_columns(STDERR) is not None
        explained = False
        while (line := self._lines.get()) is not None:
            shown = limit.next(shortened(plain_line(line)))
            if shown is None:
                continue
            if terminal and isinstance(line, WithBar):
                if line.legend and not explained:
                    display.display(f"{prefix}{plain_line(line.legend)}", stderr=True, screen_only=True)
                    explained = True
                display.display(f"{prefix}{plain_line(line.gauge)} {shown}", stderr=True, screen_only=True)
                display.display(f"{prefix}{shown}", log_only=True)
            else:
                display.display(f"{prefix}{shown}", stderr=True)


def show_lines(lines: Sequence[str]) -> None:
    """Show lines for people on stdout, beside what the callback prints. A first character of ``+-~!`` gives a color.

    If the callback prints JSON on stdout, the lines go to stderr.
    """
    colors = {
        "+": constants.COLOR_DIFF_ADD,
        "-": constants.COLOR_DIFF_REMOVE,
        "~": constants.COLOR_CHANGED,
        "!": constants.COLOR_ERROR,
    }
    to_stderr = "json" in constants.DEFAULT_STDOUT_CALLBACK
    display = Display()
    for line in lines:
        plain = shortened(plain_line(line))
        sign = plain.lstrip()[:2].rstrip()
        display.display(plain, color=colors.get(sign), stderr=to_stderr)
