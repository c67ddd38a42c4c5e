# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One call of Packer: its inputs, and how it ended."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._supervised import StopReason
from .redact import Redactor
from .variables import MAX_TEXT, as_text

_SECRET_NAME = re.compile(r"key|token|secret|passw|credential", re.IGNORECASE)


@dataclass
class Call:
    """One call of Packer.

    Attributes:
        command: the subcommand.
        options: see ``flags.arguments``.
        returncode: set by the run, like ``stopped_for`` and ``shown`` (the redacted command line).
    """

    command: str
    template: str
    options: Mapping[str, Any] = field(default_factory=dict)
    vars: Mapping[str, Any] = field(default_factory=dict)
    var_files: Sequence[str | os.PathLike[str]] = ()
    secrets: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    redact: Sequence[str] = ()
    cwd: str = ""
    timeout: float | None = None
    remove: Sequence[str] = ()
    hold: Sequence[int] = ()
    returncode: int = 0
    stopped_for: StopReason = ""
    shown: list[str] = field(default_factory=list)

    def redactor(self) -> Redactor:
        """Return what redacts the secrets of this call.

        A longer text than the environment can hold never reaches Packer, and all its forms would take long to find.
        """
        of_environment = [value for name, value in self.environment.items() if _SECRET_NAME.search(name)]
        texts = (*_secret_texts(self.secrets), *of_environment, *self.redact)
        return Redactor([text for text in texts if len(text) < MAX_TEXT])

    def stop_reason(self) -> str:
        """Return why the call was stopped, as text."""
        if self.stopped_for == "timeout":
            return f"its timeout of {self.timeout:g} s expired"
        return "the process that ran it no longer exists"


def _secret_texts(value: Any) -> Iterator[str]:
    """Every text in a secret, and the complete value as Packer gets it."""
    if isinstance(value, Mapping):
        for part in value.values():
            yield from _secret_texts(part)
    elif isinstance(value, (list, tuple)):
        yield as_text(value)
        for part in value:
            yield from _secret_texts(part)
    elif value is not None and not isinstance(value, bool):
        yield as_text(value)
