# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""openstacksdk, imported when it is first used."""

from __future__ import annotations

from typing import Any

from .._core.errors import ProviderError


def library() -> Any:
    """The package. Raises ProviderError if it is missing."""
    try:
        import openstack
    except ImportError as error:
        raise ProviderError(
            f"OpenStack needs the Python package openstacksdk on the controller: {error} (pip install openstacksdk)"
        ) from error
    return openstack
