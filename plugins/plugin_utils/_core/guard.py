# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Stop working once the controlling process is gone.

Killing ansible-playbook can leave the worker that runs an action plugin alive. Such a worker must not go on changing
things that nobody watches, so changing calls are made only after ``Guard.check``.
"""

from __future__ import annotations

import os

from .errors import AbandonedError


class Guard:
    """Remembers the parent process it was made under."""

    def __init__(self) -> None:
        self._parent = os.getppid()

    def check(self) -> None:
        """Raises AbandonedError once the parent has changed."""
        if os.getppid() != self._parent:
            raise AbandonedError(
                "the controlling ansible-playbook is gone: stopped before the next change (run again to go on)"
            )
