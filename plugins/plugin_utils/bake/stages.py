# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Packer's events as lines for a waiting person: its stages and the guest's tasks, with the time since the start."""
from __future__ import annotations

import re
import time
from collections.abc import Callable

from ...module_utils.packer.events import Event, Ui
from ..progress import Report

_TASK = re.compile(r"^(TASK|PLAY|RUNNING HANDLER) \[(.*)\] \*+$")
_FAILED = re.compile(r"^(?:fatal: |\[ERROR\]: |ERROR! )(.*)$", re.DOTALL)


class Stages:
    """Takes events as they come. ``failure`` is the guest's own last error, where Ansible told one."""

    def __init__(self, label: str, report: Report, hide: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        self._label = label
        self._report = report
        self._hide = hide
        self._clock = clock
        self._began = clock()
        self._task = ""
        self.failure = ""

    def take(self, event: Event) -> None:
        if not isinstance(event, Ui):
            return
        for line in event.message.splitlines():
            self._line(line.rstrip(), stage=event.level != "message")

    def _line(self, line: str, stage: bool) -> None:
        task = _TASK.match(line)
        failed = _FAILED.match(line)
        if task:
            self._task = task[2].replace(self._hide, "").strip(" ()") if self._hide else task[2]
            self._tell(f"{task[1].lower()}: {self._task}")
        elif failed:
            self.failure = f"task {self._task!r} failed in the guest: {failed[1]}"
            self._tell(line)
        elif stage and line:
            self._tell(line)

    def _tell(self, text: str) -> None:
        self._report(f"{self._label} [{self._clock() - self._began:6.1f} s] {text}")
