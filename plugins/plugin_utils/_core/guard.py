# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Stop work once the controlling process is gone.

If ansible-playbook is killed, the worker that runs an action plugin can survive. Such a worker must change nothing any
more, so each changing call comes after a ``Guard.check``.
"""

from __future__ import annotations

import os

from .errors import AbandonedError


class Guard:
    """Remembers the parent process under which it was created."""

    def __init__(self) -> None:
        self._parent = os.getppid()

    def check(self) -> None:
        """Raises AbandonedError once another process is the parent."""
        if os.getppid() != self._parent:
            raise AbandonedError(
                "the controlling ansible-playbook is gone: stopped before the next change (run again to resume)"
            )
