# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The end of a console, for the message of a failure: a guest may have printed the secrets that it got."""

from __future__ import annotations

from ...module_utils._bounded import shortened
from ...module_utils._packer.redact import Redactor

MAX_CONSOLE = 65536  # characters of its end that are searched for secrets


def redacted_lines(console: str, redactor: Redactor) -> list[str]:
    """Return the last lines of a console without secrets, each shortened.

    ``redactor`` knows the secrets that the guest got.
    """
    return [shortened(line) for line in redactor.text(console[-MAX_CONSOLE:]).splitlines()]
