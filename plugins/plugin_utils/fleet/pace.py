# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How long to wait between two looks. Pure."""
from __future__ import annotations

from collections.abc import Callable

from ..providers.base import Provider

Pace = Callable[[float], float]  # seconds since something moved last -> seconds until the next look, at most


def every_second(_idle: float) -> float:
    """Where a look costs nothing but work of this machine."""
    return 1.0


def pace_for(provider: Provider) -> Pace:
    """The provider's own pace where looks cost something, as calls of a cloud do."""
    own: Pace | None = getattr(provider, "pace", None)
    return own or every_second
