# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What killed bakes left at a provider: plain data and a small protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

LeftoverKind = Literal["build_instance", "security_group", "address", "key_pair", "build_volume", "image", "snapshot"]


@dataclass(frozen=True)
class Leftover:
    """One thing that a bake left at the provider."""

    kind: LeftoverKind
    id: str
    place: str  # the region
    bake: str  # name of the lock that a bake of this image holds
    why: str
    age: float | None = None  # seconds; None if the provider does not say


class Leftovers(Protocol):
    """What killed bakes left at a provider that bakes elsewhere than on this machine. Raises ProviderError."""

    def find(self, older_than: float, owned: Sequence[Mapping[str, Any]]) -> Sequence[Leftover]:
        """All leftovers, also of bakes that are still running: the caller knows which those are.

        Args:
            older_than: seconds; younger ones are ignored.
            owned: artifacts of all records of the store.
        """

    def remove(self, leftovers: Sequence[Leftover], check: Callable[[], None]) -> Sequence[Leftover]:
        """Remove leftovers. Returns those that are removed; what something else uses stays.

        Args:
            check: called before each changing call, may raise.
        """
