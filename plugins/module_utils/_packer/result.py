# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The result of ``packer build``: artifacts, builds and errors, collected from its events."""

from __future__ import annotations

import os
import re
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from .._bounded import MAX_MESSAGE, LastLines, shortened
from .build_names import Rename, unchanged
from .events import Artifact, ArtifactCount, BuildEnded, BuildError, Cancelled, ErrorCount, Event, Raw, Ui

BuildStatus = Literal["succeeded", "failed", "cancelled"]
# The error of a cancelled build in newer Packers. In older ones such a build finishes without an error, unless its
# script dies from the signal before Packer has seen it: Go reports that as exit status -1.
_CANCELLED = re.compile(r"context canceled|was cancell?ed|exit status: -1\b", re.IGNORECASE)
MAX_OUTPUT_LINES = 1000  # in a result; the log is complete
MAX_OUTPUT_BYTES = 200_000  # of them, as JSON


@dataclass(frozen=True)
class PackerArtifact:
    """One artifact. ``builder`` is the build's name in the template, ``builder_id`` identifies the type of builder."""

    builder: str
    builder_id: str
    id: str
    string: str
    files: tuple[str, ...]


@dataclass
class Build:
    """One build. ``error`` is Packer's own error, '' if there is none."""

    name: str
    status: BuildStatus
    error: str = ""


@dataclass
class BuildResult:
    """The result of one run.

    Attributes:
        artifacts: each once, in Packer's order.
        builds: those that ran, sorted by name.
        errors: the error of each failed build by its name.
        error_count: Packer's count of failed builds.
        cancelled: whether Packer was stopped and cleaned up.
        output: the last lines, redacted and shortened, see ``last_lines``.
        last_error: Packer's last message of level error, or the first line outside of the protocol, such as a crash.
        last_line: the last line before Packer was stopped.
        returncode: Packer's exit code. A cancelled run can end with 0.
        command: the command line, redacted. Set by the runner, like ``packer_version`` and ``duration`` (seconds).
    """

    artifacts: list[PackerArtifact] = field(default_factory=list)
    builds: list[Build] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    error_count: int = 0
    cancelled: bool = False
    output: list[str] = field(default_factory=list)
    last_error: str = ""
    last_line: str = ""
    returncode: int = 0
    command: list[str] = field(default_factory=list)
    packer_version: str = ""
    duration: float = 0.0

    @property
    def failed(self) -> bool:
        """Whether the run failed or was cancelled."""
        return bool(self.returncode or self.errors or self.error_count or self.cancelled)

    @property
    def reason(self) -> str:
        """Packer's reason for the failure: the error of each build, or its last error."""
        if self.errors:
            return "; ".join(f"{name}: {error}" for name, error in sorted(self.errors.items()))
        return self.last_error or f"exit code {self.returncode}"

    def as_dict(self) -> dict[str, Any]:
        """Return plain data (JSON types) for a task's result."""
        data = {
            name: value
            for name, value in asdict(self).items()
            if name not in ("last_error", "last_line", "returncode", "cancelled", "error_count")
        }
        data["artifacts"] = [dict(asdict(artifact), files=list(artifact.files)) for artifact in self.artifacts]
        return data


class Collector:
    """Collects the result of a run from its events. ``result`` has what they reported so far.

    Args:
        folder: where relative paths of an artifact's files start. Without it they stay relative.
        rename: see ``build_renamer``.
    """

    def __init__(self, folder: str | None = None, rename: Rename = unchanged) -> None:
        self._result = BuildResult()
        self._folder = folder
        self._rename = rename
        self._output = last_lines()
        self._open: dict[tuple[str, int], dict[str, list[str]]] = {}
        self._builds: dict[str, Build] = {}

    def add(self, event: Event) -> None:
        """Add one event."""
        if isinstance(event, Artifact):
            self._add_artifact(event)
        elif isinstance(event, ArtifactCount):
            self._build(event.target).status = "succeeded"
        elif isinstance(event, BuildError):
            self._fail(event.target, event.text.strip())
        elif isinstance(event, ErrorCount):
            self._result.error_count = event.count
        elif isinstance(event, (Ui, Raw)):
            self._add_text(event)

    @property
    def result(self) -> BuildResult:
        """The result so far."""
        self._result.output = list(self._output)
        self._result.builds = sorted(self._builds.values(), key=lambda build: build.name)
        return self._result

    def _add_text(self, event: Ui | Raw) -> None:
        self._output.add(event.text.strip("\n").split("\n"))
        if isinstance(event, Cancelled):
            self._result.cancelled = True
        if not self._result.cancelled:
            self._result.last_line = shortened(event.text.strip()) or self._result.last_line
        if isinstance(event, BuildEnded):
            self._end_build(event)
        # With a builder it is the error output of a provisioner.
        if isinstance(event, Ui) and event.level == "error" and not event.builder:
            self._result.last_error = shortened(event.message.strip(), MAX_MESSAGE) or self._result.last_error
        elif isinstance(event, Raw):
            # A crash or the output of a plugin, in case that no message of level error follows.
            self._result.last_error = self._result.last_error or shortened(event.text.strip(), MAX_MESSAGE)

    def _end_build(self, event: BuildEnded) -> None:
        if event.failed:
            self._fail(event.build, event.text.partition(": ")[2].strip())
        else:
            self._build(event.build).status = "cancelled" if self._result.cancelled else "succeeded"

    def _fail(self, reported_name: str, error: str) -> None:
        build = self._build(reported_name)
        if self._result.cancelled and _CANCELLED.search(error):
            build.status = "cancelled"
            return
        build.status, build.error = "failed", shortened(error, MAX_MESSAGE) or build.error
        self._result.errors[build.name] = build.error

    def _build(self, reported_name: str) -> Build:
        name = self._rename(reported_name)
        return self._builds.setdefault(name, Build(name, "succeeded"))

    def _add_artifact(self, event: Artifact) -> None:
        parts = self._open.setdefault((event.target, event.index), {})
        if event.key != "end":
            # A file has a number and a path, everything else has one value.
            parts.setdefault(event.key, []).extend(event.values[-1:])
            return
        del self._open[event.target, event.index]
        if "nil" in parts:
            return
        files = tuple(os.path.join(self._folder, path) if self._folder else path for path in parts.get("file", []))
        builder_id, artifact_id, string = (" ".join(parts.get(key, [])) for key in ("builder-id", "id", "string"))
        artifact = PackerArtifact(
            builder=self._rename(event.target), builder_id=builder_id, id=artifact_id, string=string, files=files
        )
        if artifact not in self._result.artifacts:  # post-processors such as manifest report the same artifact again
            self._result.artifacts.append(artifact)


def last_lines() -> LastLines:
    """Return what keeps the lines of a result's ``output``."""
    return LastLines(MAX_OUTPUT_LINES, MAX_OUTPUT_BYTES)
