# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Packer's machine-readable output as typed events.

A line is ``timestamp,target,type,data...``. In data a comma is written ``%!(PACKER_COMMA)``, a newline and a carriage return as two
characters each (``\\n``, ``\\r``). A backslash is not escaped, so a literal ``\\n`` in a message cannot be told from a newline.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_BUILDER = re.compile(r"^\s*(?:==>|-->|\s{3}) ([^\s:]+): ?(.*)$", re.DOTALL)
_ENDED = re.compile(
    r"^Build '(?P<name>[^']+)' (?P<how>finished|errored)(?: after (?P<span>[^:]+?))?(?:\.|: (?P<why>.*))?$", re.DOTALL
)
_ARROW = re.compile(r"^\s*(?:==> )?")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Event:
    """Something Packer said.

    Attributes:
        timestamp: seconds since 1970, 0 where the line has none.
        target: the build it is about, or ''.
    """

    timestamp: int
    target: str


@dataclass(frozen=True)
class Ui(Event):
    """A line for people. ``level`` is say, message or error; ``text`` may hold newlines."""

    level: str
    text: str

    @property
    def builder(self) -> str:
        """The build whose line it is, or ''."""
        found = _BUILDER.match(self.text)
        return found.group(1) if found else self.target

    @property
    def message(self) -> str:
        """The text without arrows and the name of the build."""
        found = _BUILDER.match(self.text)
        return (found.group(2) if found else _ARROW.sub("", self.text)).rstrip("\n")


@dataclass(frozen=True)
class Ended(Ui):
    """The line by which a build says that it is over: after success, after a failure, or after it was cancelled."""

    build: str
    failed: bool


@dataclass(frozen=True)
class Cancelled(Ui):
    """Packer was asked to stop and is cleaning up."""


@dataclass(frozen=True)
class ArtifactCount(Event):
    """The build succeeded; so many artifact events follow."""

    count: int


@dataclass(frozen=True)
class Artifact(Event):
    """One property of an artifact: ``key`` is builder-id, id, string, files-count, file, nil or end."""

    index: int
    key: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class BuildError(Event):
    """The build ``target`` failed."""

    text: str


@dataclass(frozen=True)
class ErrorCount(Event):
    """So many builds failed."""

    count: int


@dataclass(frozen=True)
class Version(Event):
    """Packer's own version."""

    version: str


@dataclass(frozen=True)
class TemplateVariable(Event):
    """A variable of a JSON template, told by ``packer inspect``."""

    name: str
    default: str
    required: bool


@dataclass(frozen=True)
class TemplateBuilder(Event):
    """A builder of a JSON template, told by ``packer inspect``."""

    name: str
    kind: str


@dataclass(frozen=True)
class TemplateProvisioner(Event):
    """A provisioner of a JSON template, told by ``packer inspect``."""

    kind: str


@dataclass(frozen=True)
class Other(Event):
    """A type that this parser has no class for."""

    kind: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Raw(Event):
    """A line that is not machine-readable: a crash, a plugin writing past Packer, or Packer's debug log."""

    text: str


def parse_line(line: str) -> Event | None:
    """The event in one line (without its newline), or None for an empty line."""
    line = _COLOUR.sub("", line)
    if not line.strip():
        return None
    fields = line.split(",")
    if len(fields) < 3 or not fields[0].isdecimal() or not re.match(r"^[a-z][a-z0-9-]*$", fields[2]):
        return Raw(0, "", line)
    target, *values = (_plain(field) for field in [fields[1], *fields[3:]])
    try:
        return _event(int(fields[0]), target, fields[2], tuple(values))
    except (IndexError, ValueError):  # fewer data than its type has, or no number where one belongs
        return Raw(0, "", line)


def _plain(field: str) -> str:
    return field.replace("%!(PACKER_COMMA)", ",").replace("\\n", "\n").replace("\\r", "\r")


def _event(timestamp: int, target: str, kind: str, values: tuple[str, ...]) -> Event:
    if kind == "ui":
        return _ui(timestamp, target, values[0], values[1])
    if kind == "artifact":
        return Artifact(timestamp, target, int(values[0]), values[1], values[2:])
    if kind == "artifact-count":
        return ArtifactCount(timestamp, target, int(values[0]))
    if kind == "error":
        return BuildError(timestamp, target, values[0])
    if kind == "error-count":
        return ErrorCount(timestamp, target, int(values[0]))
    if kind == "version":
        return Version(timestamp, target, values[0])
    if kind == "template-variable":
        return TemplateVariable(timestamp, target, values[0], values[1], values[2] == "1")
    if kind == "template-builder":
        return TemplateBuilder(timestamp, target, values[0], values[1])
    if kind == "template-provisioner":
        return TemplateProvisioner(timestamp, target, values[0])
    return Other(timestamp, target, kind, values)


def _ui(timestamp: int, target: str, level: str, text: str) -> Ui:
    ended = _ENDED.match(text)
    if ended:
        return Ended(timestamp, target, level, text, ended.group("name"), ended.group("how") == "errored")
    if level == "error" and text.startswith("Cancelling build after receiving"):
        return Cancelled(timestamp, target, level, text)
    return Ui(timestamp, target, level, text)
