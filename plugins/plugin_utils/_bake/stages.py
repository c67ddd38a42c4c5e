# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Packer's events as lines for a waiting person: its stages and the guest's tasks, with the time since the start."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable

from ...module_utils._packer.events import Event, Ui
from .._core.progress import Report

_TASK = re.compile(r"^(TASK|PLAY|RUNNING HANDLER) \[(.*)\] \*+$")
_FAILED = re.compile(r"^(?:fatal|failed): \[[^\]]*\][^{]*? => (\{.*\})$")
_ERROR = re.compile(r"^(?:\[ERROR\]: |ERROR! )(.+)$")
_IGNORED = "...ignoring"
# Later Packers tell what runs in the guest in the same way as their own stages. These are what they say while it runs.
_OUTPUT_FOLLOWS = "Provisioning with "
_HEADLINE = re.compile(
    r"(?:Provisioning with|Uploading|Downloading|Pausing|Retrying|Gracefully|Forcibly|Build '|Running post-processor|Deleting|Stopping) ?"
)
_LONGEST = 500  # characters of a result without a message


class Stages:
    """Takes events as they come. ``failure`` is the error that ended the guest's play, as far as it said one, or ''."""

    def __init__(self, label: str, report: Report, hide: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        self._label = label
        self._report = report
        self._hide = hide
        self._clock = clock
        self._began = clock()
        self._task = ""
        self._in_guest = False
        self.failure = ""

    def take(self, event: Event) -> None:
        if not isinstance(event, Ui):
            return
        # Packer's protocol makes newlines of the escapes in a result's JSON; a result is one line.
        as_sent = event.message.replace("\n", "\\n").replace("\r", "\\r")
        if _FAILED.match(as_sent):
            self._line(as_sent, stage=False)
            return
        if event.message.startswith(_OUTPUT_FOLLOWS):
            self._in_guest = True
        stage = event.level == "error" or (
            event.level == "say" and (not self._in_guest or bool(_HEADLINE.match(event.message)))
        )
        for line in event.message.splitlines():
            self._line(line.rstrip(), stage=stage)

    def _line(self, line: str, stage: bool) -> None:
        task = _TASK.match(line)
        if task:
            self._task = task[2].replace(self._hide, "").strip(" ()") if self._hide else task[2]
            self._tell(f"{task[1].lower()}: {self._task}")
        elif line == _IGNORED:
            self.failure = ""
        elif failed := _FAILED.match(line):
            # The last one counts: a play goes on after a failed task only where a rescue took care of it.
            self.failure = f"task {self._task!r} failed in the guest: {_message(failed[1])}"
            self._tell(self.failure)
        elif error := _ERROR.match(line):
            self.failure = self.failure or error[1]
            self._tell(line)
        elif stage and line:
            self._tell(line)

    def _tell(self, text: str) -> None:
        self._report(f"{self._label} [{self._clock() - self._began:6.1f} s] {text}")


def _message(text: str) -> str:
    """What a failed task's result says: its message, and the last line of its errors."""
    try:
        result = json.loads(text)
    except ValueError:
        return text[:_LONGEST]
    said = str(result.get("msg") or "").strip()
    errors = str(result.get("stderr") or result.get("module_stderr") or "").strip().splitlines()
    last = errors[-1] if errors and errors[-1] not in said else ""
    return ": ".join(part for part in (said, last) if part) or text[:_LONGEST]
