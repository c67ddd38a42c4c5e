# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How images get from the account or project that bakes them to the accounts of other targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class AccountPlace(Protocol):
    """The account and the region of a target. Raises ProviderError."""

    @property
    def account_id(self) -> str:
        """The ID of the account, or of the project. The first use may log in."""

    @property
    def region(self) -> str:
        """The region's name."""


class ImageShares(Protocol):
    """Lets the account of a target use the images of the account that bakes them. Raises ProviderError."""

    def require_shareable(self, artifact: Mapping[str, Any]) -> None:
        """Raise ProviderError if the artifact can never be shared. Changes nothing."""

    def hand_over(self, artifact: Mapping[str, Any], tags: Mapping[str, str]) -> Mapping[str, Any]:
        """Let the account launch the artifact, and return what its record has for that account and region."""

    def permit(self, artifact: Mapping[str, Any], allowed: bool) -> bool:
        """Give the permission to launch a shared artifact, or take it back. Returns whether that changed something."""
