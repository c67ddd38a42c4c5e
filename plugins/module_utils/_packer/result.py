# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a run of Packer came to: artifacts, builds and errors, collected from its events."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from .build_names import Rename, as_said
from .events import Artifact, ArtifactCount, BuildError, Cancelled, Ended, ErrorCount, Event, Raw, Ui

SUCCEEDED, FAILED, CANCELLED = "succeeded", "failed", "cancelled"
# The error of a build that was stopped, as later Packers tell it; before, such a build simply finished.
_CANCELLED = re.compile(r"context canceled|was cancell?ed", re.IGNORECASE)
KEPT_LINES = 1000  # results have to stay small; the log has everything


@dataclass(frozen=True)
class PackerArtifact:
    """One artifact. ``builder`` is the build's name in the template, ``builder_id`` names the kind of builder."""

    builder: str
    builder_id: str
    id: str
    string: str
    files: tuple[str, ...]


@dataclass
class Build:
    """One build. ``status`` is succeeded, failed or cancelled; ``error`` is Packer's own, '' without one."""

    name: str
    status: str
    error: str = ""


@dataclass
class BuildResult:
    """A whole run of ``packer build``.

    Attributes:
        artifacts: each once, in Packer's order.
        builds: those that ran, sorted by name.
        errors: error of each failed build, by its name.
        error_count: what Packer counted.
        cancelled: Packer was stopped and cleaned up.
        output: what it said, a line each, secrets replaced; the last ``KEPT_LINES`` only.
        last_error: Packer's last line of level error, or else what was said outside of the protocol, as a crash is.
        last_words: the last line before Packer was stopped.
        returncode: Packer's. A cancelled run can end with 0.
        command, packer_version, duration: set by the runner; seconds.
    """

    artifacts: list[PackerArtifact] = field(default_factory=list)
    builds: list[Build] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    error_count: int = 0
    cancelled: bool = False
    output: list[str] = field(default_factory=list)
    last_error: str = ""
    last_words: str = ""
    returncode: int = 0
    command: list[str] = field(default_factory=list)
    packer_version: str = ""
    duration: float = 0.0

    @property
    def failed(self) -> bool:
        return bool(self.returncode or self.errors or self.error_count or self.cancelled)

    @property
    def reason(self) -> str:
        """Why it failed, Packer's own words: the error of each build, or the last thing it said."""
        if self.errors:
            return "; ".join(f"{name}: {error}" for name, error in sorted(self.errors.items()))
        return self.last_error or f"exit code {self.returncode}"

    def as_dict(self) -> dict[str, Any]:
        """Plain data (JSON types) for a task's result."""
        data = {
            name: value
            for name, value in asdict(self).items()
            if name not in ("last_error", "last_words", "returncode", "cancelled", "error_count")
        }
        data["artifacts"] = [dict(asdict(artifact), files=list(artifact.files)) for artifact in self.artifacts]
        return data


class Collector:
    """Takes events one by one; ``result`` is true to what came so far.

    Args:
        folder: relative paths of an artifact's files start here; left as they are without one.
        rename: gives builds the names that they are known by.
    """

    def __init__(self, folder: str | None = None, rename: Rename = as_said) -> None:
        self.result = BuildResult()
        self._folder = folder
        self._rename = rename
        self._open: dict[tuple[str, int], dict[str, list[str]]] = {}
        self._builds: dict[str, Build] = {}

    def take(self, event: Event) -> None:
        if isinstance(event, Artifact):
            self._artifact(event)
        elif isinstance(event, ArtifactCount):
            self._build(event.target).status = SUCCEEDED
        elif isinstance(event, BuildError):
            self._fail(event.target, event.text.strip())
        elif isinstance(event, ErrorCount):
            self.result.error_count = event.count
        elif isinstance(event, (Ui, Raw)):
            self._say(event)
        self.result.builds = sorted(self._builds.values(), key=lambda build: build.name)

    def _say(self, event: Ui | Raw) -> None:
        self.result.output.extend(event.text.strip("\n").split("\n"))
        del self.result.output[:-KEPT_LINES]
        if isinstance(event, Cancelled):
            self.result.cancelled = True
        if not self.result.cancelled:
            self.result.last_words = event.text.strip() or self.result.last_words
        if isinstance(event, Ended):
            self._ended(event)
        if (
            isinstance(event, Ui) and event.level == "error" and not event.builder
        ):  # with a builder it is a provisioner's stderr
            self.result.last_error = event.message.strip() or self.result.last_error
        elif isinstance(event, Raw):
            # A crash or a plugin's own words: better than nothing, where no line of level error comes.
            self.result.last_error = self.result.last_error or event.text.strip()

    def _ended(self, event: Ended) -> None:
        error = event.text.partition(": ")[2].strip()
        if event.failed and not (self.result.cancelled and _CANCELLED.search(error)):
            self._fail(event.build, error)
        else:
            self._build(event.build).status = CANCELLED if self.result.cancelled else SUCCEEDED

    def _fail(self, said: str, error: str) -> None:
        build = self._build(said)
        build.status, build.error = FAILED, error or build.error
        self.result.errors[build.name] = build.error

    def _build(self, said: str) -> Build:
        name = self._rename(said)
        return self._builds.setdefault(name, Build(name, SUCCEEDED))

    def _artifact(self, event: Artifact) -> None:
        parts = self._open.setdefault((event.target, event.index), {})
        if event.key != "end":
            # A file comes as its number and its path, everything else as one value.
            parts.setdefault(event.key, []).extend(event.values[-1:])
            return
        del self._open[event.target, event.index]
        if "nil" in parts:
            return
        files = tuple(os.path.join(self._folder, path) if self._folder else path for path in parts.get("file", []))
        builder_id, name, string = (" ".join(parts.get(key, [])) for key in ("builder-id", "id", "string"))
        artifact = PackerArtifact(self._rename(event.target), builder_id, name, string, files)
        if artifact not in self.result.artifacts:  # post-processors such as manifest hand the same artifact on
            self.result.artifacts.append(artifact)


def collect(events: Iterable[Event], folder: str | None = None, rename: Rename = as_said) -> BuildResult:
    """The result of a whole run; arguments as with ``Collector``."""
    collector = Collector(folder, rename)
    for event in events:
        collector.take(event)
    return collector.result
