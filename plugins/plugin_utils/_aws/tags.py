# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keys of the tags that this project writes on AWS resources. They are persisted: a key never changes."""

from __future__ import annotations

PREFIX = "immutable:"
NAME_KEY = "Name"  # of the tag that AWS's console shows as a resource's name
MAX_TAGS = 50  # of one resource, without those that AWS itself sets
MAX_VALUE = 256  # characters of a tag's value
MAX_TEXT = MAX_VALUE * 8  # characters of one text, which may take several tags


def key_of(name: str) -> str:
    """The key under which AWS keeps the tag ``name`` (see ``_providers/tags``), such as ``immutable:fleet``."""
    return PREFIX + name
