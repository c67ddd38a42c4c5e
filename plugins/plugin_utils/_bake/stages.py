# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reports Packer's events to the user: its stages and the guest's tasks, with the seconds since the start."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from ...module_utils._bounded import shortened
from ...module_utils._packer.events import Event, Ui
from .._core.documents import parse_json
from .._core.progress import Report

_TASK = re.compile(r"^(TASK|PLAY|RUNNING HANDLER) \[(.*)\] \*+$")
_FAILED = re.compile(r"^(?:fatal|failed): \[[^\]]*\][^{]*? => (\{.*\})$")
_ERROR = re.compile(r"^(?:\[ERROR\]: |ERROR! )(.+)$")
_IGNORED = "...ignoring"
# Newer Packers report the guest's output like their own stages. After the first of these lines only the headlines are
# stages.
_OUTPUT_FOLLOWS = "Provisioning with "
_HEADLINE = re.compile(
    r"(?:Provisioning with|Uploading|Downloading|Pausing|Retrying|Gracefully|Forcibly|Build '"
    r"|Running post-processor|Deleting|Stopping) ?"
)
_MAX_RESULT = 500  # characters of a task's result that has no message


class StageReporter:
    """Handles Packer's events.

    Args:
        hide: text to remove from the names of plays and tasks.

    Attributes:
        failure: the error that ended the guest's play, or '' if it reported none.
    """

    def __init__(self, label: str, report: Report, hide: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        self._label = label
        self._send = report
        self._hide = hide
        self._clock = clock
        self._started = clock()
        self._task = ""
        self._in_guest = False
        self.failure = ""

    def handle(self, event: Event) -> None:
        """Report what the user needs to see of an event."""
        if not isinstance(event, Ui):
            return
        # Packer's protocol turns the escapes in a result's JSON into newlines, but a result is one line.
        escaped = event.message.replace("\n", "\\n").replace("\r", "\\r")
        if _FAILED.match(escaped):
            self._handle_line(escaped, is_stage=False)
            return
        if event.message.startswith(_OUTPUT_FOLLOWS):
            self._in_guest = True
        is_stage = event.level == "error" or (
            event.level == "say" and (not self._in_guest or bool(_HEADLINE.match(event.message)))
        )
        for line in event.message.splitlines():
            self._handle_line(line.rstrip(), is_stage=is_stage)

    def _handle_line(self, line: str, *, is_stage: bool) -> None:
        task = _TASK.match(line)
        if task:
            self._task = task[2].replace(self._hide, "").strip(" ()") if self._hide else task[2]
            self._report(f"{task[1].lower()}: {self._task}")
        elif line == _IGNORED:
            self.failure = ""
        elif failed := _FAILED.match(line):
            # The last failure counts: a play continues after a failed task only if a rescue handled it.
            self.failure = f"task {self._task!r} failed in the guest: {_summary(failed[1])}"
            self._report(self.failure)
        elif error := _ERROR.match(line):
            self.failure = self.failure or shortened(error[1])
            self._report(line)
        elif is_stage and line:
            self._report(line)

    def _report(self, text: str) -> None:
        self._send(f"{self._label} [{self._clock() - self._started:6.1f} s] {text}")


def _summary(text: str) -> str:
    """The message of a failed task's result, and the last line of its errors."""
    try:
        result = parse_json(text)
    except ValueError:
        return text[:_MAX_RESULT]
    message = str(result.get("msg") or "").strip()
    errors = str(result.get("stderr") or result.get("module_stderr") or "").strip().splitlines()
    last = errors[-1] if errors and errors[-1] not in message else ""
    return ": ".join(shortened(part) for part in (message, last) if part) or text[:_MAX_RESULT]
