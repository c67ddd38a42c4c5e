# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The error for everything that can go wrong with Packer."""

from __future__ import annotations

from typing import Any


class PackerError(Exception):
    """Packer is missing, failed or was stopped.

    Args:
        message: Packer's own last error, or what to do.
        details: plain data (JSON types) for a task's result, such as the ``artifacts``, ``builds`` and ``output`` of a
            failed build.
    """

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details
