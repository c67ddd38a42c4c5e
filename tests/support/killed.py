# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The sudden end of a controller."""

from __future__ import annotations


class ControllerKilled(BaseException):
    """The controller dies at this point. No handler of ordinary errors catches it."""
