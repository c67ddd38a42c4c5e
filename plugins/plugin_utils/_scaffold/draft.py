# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A definition while it is written. Every value is tried with the checks that a definition must pass."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .._core.errors import ImmutableError
from .._definition.checks.definition import check_definition
from .._definition.document import KeyPath, format_path, read_document
from .._definition.messages import check_schema
from .yaml_text import outside, yaml_of

_Problems = dict[tuple[KeyPath, str], str]  # of a definition: their texts, by key and text
PROVISION, VERIFY = "provision.yml", "verify.yml"
_ORDER = ("schema", "service", "version", "image", "data", "writable", "seal", "health", "fleet", "targets")


@dataclass(frozen=True)
class Finding:
    """Something that was found in a template or a group.

    Attributes:
        what: it, in words, without its value, which can be a secret.
        key: of the definition, or the playbook that has it now; "" if it was not taken over.
        note: why not and what to do, or what to check.
    """

    what: str
    key: str = ""
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {"what": self.what, "taken": bool(self.key), "key": self.key, "note": self.note}

    @property
    def line(self) -> str:
        return f"{self.what}: {self.note}" if self.note else self.what


@dataclass
class Draft:
    """A definition with its playbooks.

    Attributes:
        folder: where they will be.
        origin: what they are written from, in words.
        document: the definition.
        packages, tasks, imports: of the provision playbook. ``imports`` are playbooks that it imports.
        steps: what is still to be written there, as sentences.
        files: further files with their texts, by path below the folder.
    """

    folder: Path
    origin: str
    document: dict[str, Any] = field(default_factory=lambda: {"schema": 1})
    findings: list[Finding] = field(default_factory=list)
    packages: list[str] = field(default_factory=list)
    tasks: list[dict[str, Any]] = field(default_factory=list)
    imports: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    _checked: dict[str, _Problems] = field(default_factory=dict)  # by the text of a definition

    def require(self, keys: KeyPath, value: Any, option: str) -> None:
        """Set a value that the user gave. Raises ImmutableError, which names the option, if it is wrong."""
        problem = self._try(keys, value)
        if problem:
            raise ImmutableError(f"{option}: {problem}")

    def take(self, keys: KeyPath, value: Any, what: str, note: str = "") -> bool:
        """Set a value from outside if a definition accepts it. Records it, and returns whether it was set."""
        problem = self._try(keys, value)
        if problem:
            self.leave(what, problem)
        else:
            self.findings.append(Finding(outside(what), format_path(keys), note))
        return not problem

    def leave(self, what: str, note: str) -> None:
        """Record what is not taken over."""
        self.findings.append(Finding(outside(what), "", note))

    def moved(self, what: str, playbook: str, note: str = "") -> None:
        """Record what a playbook has now."""
        self.findings.append(Finding(outside(what), playbook, note))

    @property
    def left(self) -> list[str]:
        """What was not taken over, one line each."""
        return [finding.line for finding in self.findings if not finding.key]

    @property
    def to_check(self) -> list[str]:
        """What was taken over and should be checked, one line each."""
        return [f"{found.key}: {found.note} ({found.what})" for found in self.findings if found.key and found.note]

    def _try(self, keys: KeyPath, value: Any) -> str:
        """Set a value, unless the checks find a problem. Returns the problem, or ""."""
        tried = copy.deepcopy(self.document)
        part: Any = tried
        for key in keys[:-1]:
            part = part.setdefault(key, {})
        part[keys[-1]] = value
        tried = {key: tried[key] for key in _ORDER if key in tried}
        before = self._problems(self.document)  # known already, unless the document was changed otherwise
        new = [text for each, text in self._problems(tried).items() if each not in before]
        if not new:
            self.document = tried
        return outside("; ".join(new))

    def _problems(self, document: dict[str, Any]) -> _Problems:
        """The problems of a definition as it will be read."""
        text = yaml_of(document, flow=True)
        if text not in self._checked:
            read = read_document(text)
            check_schema(read)
            check_definition(read, self.folder)
            self._checked[text] = {(keys, problem): problem for _line, keys, problem in read.problems}
        return self._checked[text]
