# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An instance that died at its launch. Plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class EndedInstance:
    """An instance that died at its launch and no longer exists, as its provider still describes it.

    An instance that a person removed, or that the provider took back while it served, is none: that is not the fault of
    its image.
    """

    id: str
    fleet: str
    slot: int
    reason: str  # in the provider's words
    tags: Mapping[str, str] = field(default_factory=dict)
