# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The errors of the controller's rooms. ``_core/action`` turns them into a failed task in one place."""

from __future__ import annotations

from typing import Any

from ...module_utils._bounded import MAX_MESSAGE, shortened
from ...module_utils._plain_text import plain_data, plain_text


class ImmutableError(Exception):
    """A failure that the user can act on.

    Args:
        message: what is wrong, where, and what is allowed or what to do.
        details: plain data (JSON types) for the task's result, by key.
    """

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details

    def as_failure(self) -> dict[str, Any]:
        """Return the result of the task that failed. Its texts are for people and hold no control characters."""
        return {
            "changed": False,
            **plain_data(self.details),
            "failed": True,
            "msg": shortened(plain_text(self.message), MAX_MESSAGE),
        }


class DefinitionError(ImmutableError):
    """The definition, or a file that it names, has mistakes. ``details['problems']`` has one line for each."""


class StoreError(ImmutableError):
    """The store cannot be read or written."""


class ConflictError(StoreError):
    """Another run changed the document since it was read."""


class LockedError(StoreError):
    """Another run holds the lock. The message names it."""


class LeaseLostError(ImmutableError):
    """Another run took over the lease, or the store failed for too long. The message says what happened."""


class BakeError(ImmutableError):
    """An image could not be baked."""


class VerifyError(ImmutableError):
    """A candidate image did not pass its tests."""


class ImageError(ImmutableError):
    """An image cannot be used: it is unknown, unverified, not promoted, or revoked, for example."""


class ProviderError(ImmutableError):
    """A provider refused a call or failed. The message ends with the provider's own words.

    Callers decide by the attributes, never by ``details``, which belong to the user's result.

    Args:
        permanent: whether retrying cannot help, such as after a denied permission.
        token_spent: whether the launch token belongs to instances that no longer exist, so only a launch with
            another token can succeed.
        code: the provider's own error code, also in ``details``; "" if it gave none.
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
    """A load balancer refused a call or failed."""


class FleetError(ImmutableError):
    """A swap stopped. ``details`` has the reason and the timeline."""


class AbandonedError(ImmutableError):
    """The controlling process has ended, so nothing may be changed any more."""


class GateError(ImmutableError):
    """A playbook or a metric of a gate failed."""
