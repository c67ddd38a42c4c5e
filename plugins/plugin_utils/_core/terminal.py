# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The terminal of the user who runs ansible-playbook.

A worker of ansible-core 2.19 and later has no terminal itself, so the one of its parent is asked.
"""

from __future__ import annotations

import os

STDOUT, STDERR = 1, 2
WITHOUT_TERMINAL = 120  # columns of a summary in a log
_NARROWEST = 40  # a terminal may say that it has no columns
# Set by ansible-runner, which gives ansible-playbook a terminal and stores what it prints, as AWX does.
_RECORDED = "AWX_ISOLATED_DATA_DIR"


def terminal_columns(descriptor: int = STDOUT) -> int | None:
    """Return the width of the terminal to which ansible-playbook writes, or None if it writes to something else.

    Args:
        descriptor: of ansible-playbook, ``STDOUT`` or ``STDERR``.
    """
    if _RECORDED in os.environ or os.environ.get("TERM") == "dumb":
        return None
    output = f"/proc/{os.getppid()}/fd/{descriptor}"
    try:
        if not os.readlink(output).startswith("/dev/"):
            return None
        # A terminal that is opened must not become that of a worker, which would then receive its signals.
        opened = os.open(output, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError:  # also where there is no /proc
        return None
    try:
        return max(os.get_terminal_size(opened).columns, _NARROWEST)
    except OSError:  # another device
        return None
    finally:
        os.close(opened)


def summary_width() -> int:
    """Return how many columns a summary may have."""
    return terminal_columns() or WITHOUT_TERMINAL
