# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""OpenStack's errors as errors of this project."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from .._core.errors import ImmutableError, ProviderError
from .library import library

UNAUTHENTICATED, FORBIDDEN = 401, 403  # HTTP statuses
# Nova says 403 of an exceeded quota as well, which others may free again.
QUOTA = re.compile(r"quota|maximum number", re.IGNORECASE)
NOT_FOUND, CONFLICT = "404", "409"
MAX_WORDS = 500  # characters of a service's own message


@contextmanager
def openstack_errors(error_type: type[ImmutableError] = ProviderError, doing: str = "") -> Iterator[None]:
    """Turn an error of openstacksdk or keystoneauth into ``error_type``.

    The details carry ``code``: the HTTP status as text, or the name of the exception if no service answered.
    A ProviderError has its typed attributes as well.

    Args:
        doing: what the call was for, such as "launching 2 instances"; the message begins with it.
    """
    openstack = library()
    from keystoneauth1.exceptions import ClientException

    before = f"{doing}: " if doing else ""
    try:
        yield
    except (openstack.exceptions.SDKException, ClientException) as error:
        status = getattr(error, "status_code", None) or getattr(error, "http_status", None) or 0
        attributes = {"permanent": _permanent(status, error)} if issubclass(error_type, ProviderError) else {}
        code = str(status) if status else type(error).__name__
        raise error_type(f"{before}OpenStack: {words_of(error)} ({code})", code=code, **attributes) from error


def _permanent(status: int, error: Exception) -> bool:
    """Whether no retry helps: the credentials are wrong, or their owner lacks a right."""
    return status == UNAUTHENTICATED or (status == FORBIDDEN and not QUOTA.search(words_of(error)))


def words_of(error: Exception) -> str:
    """What the service said, without the request's address and the HTML of a proxy, bounded."""
    details = getattr(error, "details", None)
    text = str(details or getattr(error, "message", None) or error)
    return " ".join(text.split())[:MAX_WORDS] or type(error).__name__
