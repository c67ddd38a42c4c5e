# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Parses Packer's machine-readable output into events.

See https://developer.hashicorp.com/packer/docs/commands#machine-readable-output. A line is
``timestamp,target,type,data...``. In data, ``%!(PACKER_COMMA)`` stands for a comma, and ``\\n`` and ``\\r`` for a
newline and a carriage return. Backslashes are not escaped, so a literal ``\\n`` in a message looks like a newline.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_BUILDER = re.compile(r"^\s*(?:==>|-->|\s{3}) ([^\s:]+): ?(.*)$", re.DOTALL)
_ENDED = re.compile(
    r"^Build '(?P<name>[^']+)' (?P<outcome>finished|errored)(?: after (?P<span>[^:]+?))?(?:\.|: (?P<error>.*))?$",
    re.DOTALL,
)
_ARROW = re.compile(r"^\s*(?:==> )?")
_COLOR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Event:
    """One line of Packer's output.

    Attributes:
        timestamp: seconds since 1970, 0 if the line has none.
        target: the build that the line belongs to, or ''.
    """

    timestamp: int
    target: str


@dataclass(frozen=True)
class Ui(Event):
    """A message for the user. ``level`` is say, message or error. ``text`` may contain newlines."""

    level: str
    text: str

    @property
    def builder(self) -> str:
        """The build that the message belongs to, or ''."""
        found = _BUILDER.match(self.text)
        return found.group(1) if found else self.target

    @property
    def message(self) -> str:
        """The text without arrows and without the name of the build."""
        found = _BUILDER.match(self.text)
        return (found.group(2) if found else _ARROW.sub("", self.text)).rstrip("\n")


@dataclass(frozen=True)
class BuildEnded(Ui):
    """The message at the end of a build: it succeeded, failed or was cancelled."""

    build: str
    failed: bool


@dataclass(frozen=True)
class Cancelled(Ui):
    """Packer received a signal and cleans up."""


@dataclass(frozen=True)
class ArtifactCount(Event):
    """The build succeeded. ``count`` is the number of artifacts that follow."""

    count: int


@dataclass(frozen=True)
class Artifact(Event):
    """One property of an artifact. ``key`` is builder-id, id, string, files-count, file, nil or end."""

    index: int
    key: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class BuildError(Event):
    """The build ``target`` failed."""

    text: str


@dataclass(frozen=True)
class ErrorCount(Event):
    """The number of failed builds."""

    count: int


@dataclass(frozen=True)
class Version(Event):
    """The version of Packer."""

    version: str


@dataclass(frozen=True)
class TemplateVariable(Event):
    """A variable of a JSON template, reported by ``packer inspect``."""

    name: str
    default: str
    required: bool


@dataclass(frozen=True)
class TemplateBuilder(Event):
    """A builder of a JSON template, reported by ``packer inspect``."""

    name: str
    kind: str


@dataclass(frozen=True)
class TemplateProvisioner(Event):
    """A provisioner of a JSON template, reported by ``packer inspect``."""

    kind: str


@dataclass(frozen=True)
class Other(Event):
    """An event of any other type."""

    kind: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Raw(Event):
    """A line that is not machine-readable: a crash, the direct output of a plugin, or Packer's debug log."""

    text: str


def parse_line(line: str) -> Event | None:
    """Return the event in one line (without its newline), or None for an empty line."""
    line = _COLOR.sub("", line)
    if not line.strip():
        return None
    fields = line.split(",")
    if len(fields) < 3 or not fields[0].isdecimal() or not re.match(r"^[a-z][a-z0-9-]*$", fields[2]):
        return Raw(0, "", line)
    target, *values = (_plain(field) for field in [fields[1], *fields[3:]])
    try:
        return _event(int(fields[0]), target, fields[2], tuple(values))
    except (IndexError, ValueError):  # missing data, or text instead of a number
        return Raw(0, "", line)


def _plain(field: str) -> str:
    return field.replace("%!(PACKER_COMMA)", ",").replace("\\n", "\n").replace("\\r", "\r")


def _event(timestamp: int, target: str, kind: str, values: tuple[str, ...]) -> Event:
    if kind == "ui":
        return _ui(timestamp, target, values[0], values[1])
    if kind == "artifact":
        return Artifact(timestamp, target, index=int(values[0]), key=values[1], values=values[2:])
    if kind == "artifact-count":
        return ArtifactCount(timestamp, target, int(values[0]))
    if kind == "error":
        return BuildError(timestamp, target, values[0])
    if kind == "error-count":
        return ErrorCount(timestamp, target, int(values[0]))
    if kind == "version":
        return Version(timestamp, target, values[0])
    if kind == "template-variable":
        return TemplateVariable(timestamp, target, name=values[0], default=values[1], required=values[2] == "1")
    if kind == "template-builder":
        return TemplateBuilder(timestamp, target, values[0], values[1])
    if kind == "template-provisioner":
        return TemplateProvisioner(timestamp, target, values[0])
    return Other(timestamp, target, kind, values)


def _ui(timestamp: int, target: str, level: str, text: str) -> Ui:
    ended = _ENDED.match(text)
    if ended:
        return BuildEnded(
            timestamp,
            target,
            level=level,
            text=text,
            build=ended.group("name"),
            failed=ended.group("outcome") == "errored",
        )
    if level == "error" and text.startswith("Cancelling build after receiving"):
        return Cancelled(timestamp, target, level, text)
    return Ui(timestamp, target, level, text)
