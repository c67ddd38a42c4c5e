# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reports Packer's events to the user: its stages and the guest's tasks, with the time that each took and may take."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ...module_utils._bounded import shortened
from ...module_utils._packer.events import Event, Ui
from ...module_utils._plain_text import plain_line
from .._core.documents import parse_json
from .._core.progress import Report
from .._image_model import Image
from .._summary.text import duration

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
_PATHS = re.compile(r":? /.*")
# Of Packer's lines: the random path of an inline script, and a duration that the seconds before each line show.
_NOISE = re.compile(r": \S*/packer-shell\d+$|(?<= finished) after [\w ]+(?=\.?$)")
_MAX_RESULT = 500  # characters of a task's result that has no message
_SILENCE = 60.0  # seconds without a line after which a sign of life is reported
_MAX_STAGES = 100  # that a record keeps, the longest ones
_MAX_NAME = 100  # characters of the name of a stage
_SHORT = 1.0  # seconds; a shorter stage is not kept
_MAX_OUTPUT = 200  # characters of the last line of output


@dataclass(frozen=True)
class StageTimes:
    """How long a bake took, and each of its stages. Seconds.

    Attributes:
        total: of the whole bake, 0 if it is not known.
        stages: by name. One that took less than a second may be missing, and one that ran several times is missing.
    """

    total: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)


def times_of(image: Image | None) -> StageTimes:
    """Return the times of the bake of an image. Images of earlier releases have no times of stages."""
    if image is None:
        return StageTimes()
    stages: dict[str, list[float]] = {}
    recorded = image.provenance.get("stages")
    for each in recorded if isinstance(recorded, list) else ():
        # Others can write to a shared store.
        if isinstance(each, dict) and isinstance(each.get("seconds"), (int, float)):
            stages.setdefault(str(each.get("name", "")), []).append(each["seconds"])
    total = image.seconds if isinstance(image.seconds, (int, float)) else 0.0
    return StageTimes(total, {name: times[0] for name, times in stages.items() if len(times) == 1})


class StageReporter:
    """Handles Packer's events. Another thread may call ``sign_of_life``.

    Args:
        hide: text to remove from the names of plays and tasks.
        expected: the times of an earlier bake.
        console: returns the last line of the build machine's console, or "".

    Attributes:
        failure: the error that ended the guest's play, or '' if it reported none.
    """

    def __init__(
        self,
        label: str,
        report: Report,
        *,
        hide: str = "",
        clock: Callable[[], float] = time.monotonic,
        expected: StageTimes | None = None,
        console: Callable[[], str] = str,
    ) -> None:
        self._label = label
        self._expected = expected or StageTimes()
        self._console = console
        self._stages: list[tuple[str, float]] = []  # the names of the stages, each with the time of its beginning
        self._output = ""  # the last line since the last stage began
        self._console_seen = ""
        self._reported_at = clock()
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
        is_error = event.level == "error"
        is_stage = (is_error or event.level == "say") and (not self._in_guest or bool(_HEADLINE.match(event.message)))
        for line in event.message.splitlines():
            self._output = line.strip() or self._output
            self._handle_line(line.rstrip(), is_stage=is_stage, is_error=is_error)

    def _handle_line(self, line: str, *, is_stage: bool, is_error: bool = False) -> None:
        task = _TASK.match(line)
        if task:
            self._task = task[2].replace(self._hide, "").strip(" ()") if self._hide else task[2]
            self._begin(f"{task[1].lower()}: {self._task}")
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
            self._begin(_NOISE.sub("", line))
        elif is_error and line:  # of Packer, or of a program in the guest, such as a warning of sudo
            self._report(line)

    def _begin(self, name: str) -> None:
        """Report a stage, with the time that it took in the earlier bake."""
        stage = _stage_name(name)
        took = self._expected.stages.get(stage)
        self._report(name if took is None else f"{name} (last time {duration(took)})")
        self._stages.append((stage, self._reported_at))
        self._output = ""

    def sign_of_life(self) -> None:
        """Report a line if a stage has been silent for a minute."""
        now = self._clock()
        if now - self._reported_at < _SILENCE or not self._stages:
            return
        name, began = self._stages[-1]
        took = self._expected.stages.get(name)
        last = "" if took is None else f", last time {duration(took)}"
        line = self._output
        if not line:
            console = self._console()
            line, self._console_seen = ("" if console == self._console_seen else console), console
        output = f": {shortened(plain_line(line), _MAX_OUTPUT)}" if line else ""
        self._report(f"still {name} (for {duration(now - began)}{last}){output}")

    def record(self) -> list[dict[str, Any]]:
        """Return the stages that took longest, in their order, as ``{"name", "seconds"}``, for the image's record."""
        times = [*(began for _name, began in self._stages), self._clock()]
        took = [(name, times[number + 1] - began) for number, (name, began) in enumerate(self._stages)]
        kept = sorted((each for each in took if each[1] >= _SHORT), key=lambda each: -each[1])[:_MAX_STAGES]
        return [{"name": name, "seconds": round(seconds, 1)} for name, seconds in took if (name, seconds) in kept]

    def _report(self, text: str) -> None:
        self._reported_at = self._clock()
        total = self._expected.total
        about = f" of about {total:.0f}" if total else ""
        self._send(f"{self._label} [{self._reported_at - self._started:6.1f}{about} s] {text}")


def _stage_name(line: str) -> str:
    """Return the line without paths, some of which are random."""
    return shortened(_PATHS.sub("", plain_line(line)), _MAX_NAME)


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
