# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Typed errors of the controller's rooms.

Rooms raise them; ``plugin_utils.action`` turns them into a task's failure in one place.
"""

from __future__ import annotations

from typing import Any


class ImmutableError(Exception):
    """A failure that the user can act on.

    Args:
        message: one clear message: what was wrong, where, and what to do.
        details: plain data (JSON types) for the task's result, under the keys given.
    """

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


class DefinitionError(ImmutableError):
    """The definition (or a file it names) is wrong. ``details['problems']`` lists every mistake as a line."""


class StoreError(ImmutableError):
    """The store cannot be read or written."""


class ConflictError(StoreError):
    """Somebody else changed the document since it was read."""


class LockedError(StoreError):
    """Another run holds the lock. The message says who."""


class LeaseLostError(ImmutableError):
    """Another run took over what this one held, or the store failed for too long. The message says which."""


class BakeError(ImmutableError):
    """An image could not be baked."""


class VerifyError(ImmutableError):
    """A candidate image did not pass its tests."""


class ImageError(ImmutableError):
    """An image is unknown, unverified, unpromoted or otherwise not fit for what was asked."""


class ProviderError(ImmutableError):
    """A provider refused a call or failed. The message ends with the provider's own words.

    Callers decide by the attributes, never by ``details``, which belong to the user's result.

    Args:
        permanent: whether retrying cannot help, such as after a denied permission.
        token_spent: whether the launch token belongs to instances that no longer exist, so only a launch with
            another token can succeed.
        code: the provider's own error code, also in ``details``; "" where it gave none.
    """

    def __init__(
        self,
        message: str,
        *,
        permanent: bool = False,
        token_spent: bool = False,
        code: str = "",
        **details: Any,
    ) -> None:
        super().__init__(message, **({"code": code} if code else {}), **details)
        self.permanent = permanent
        self.token_spent = token_spent
        self.code = code


class TrafficError(ProviderError):
    """The load balancer refused or failed."""


class FleetError(ImmutableError):
    """A swap stopped. ``details`` carries the reason and the timeline."""


class AbandonedError(ImmutableError):
    """The controlling process is gone, so nothing may be changed any more."""


class GateError(ImmutableError):
    """A playbook or a metric that a swap asks says no."""
