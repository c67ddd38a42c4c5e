# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The end of a console, for the message of a failure: a guest may have printed the secrets that it got."""

from __future__ import annotations

from collections.abc import Sequence

from ...module_utils._bounded import shortened
from ...module_utils._packer.redact import Redactor

MAX_CONSOLE = 65536  # characters of its end that are searched for secrets
# How the lines begin by which a guest explains a failure. Anything else in a guest may print such a line as well.
_REASONS = ("IMMUTABLE-DATA ", "IMMUTABLE-SERVICE ", "IMMUTABLE-UNSEALED ")
_EVIDENCE = "IMMUTABLE-SEALED "  # long, printed several times, and about what went well


def redacted_lines(console: str, redactor: Redactor) -> list[str]:
    """Return the last lines of a console without secrets, each shortened.

    ``redactor`` knows the secrets that the guest got.
    """
    return [shortened(line) for line in redactor.text(console[-MAX_CONSOLE:]).splitlines()]


def telling_lines(lines: Sequence[str], most: int) -> list[str]:
    """Return the last lines, at most ``most``, that are neither empty nor evidence of a seal, in their order.

    Half of them may be earlier ones that explain a failure: much may be printed after a service has failed.
    """
    present = [line.strip() for line in lines if line.strip() and not line.startswith(_EVIDENCE)]
    reasons = [at for at, line in enumerate(present) if line.startswith(_REASONS)][-max(1, most // 2) :]
    others = [at for at in range(len(present)) if at not in reasons]
    chosen = [*reasons, *others[max(0, len(others) - (most - len(reasons))) :]]
    return [present[at] for at in sorted(chosen)]
