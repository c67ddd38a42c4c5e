# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keys of the metadata that this project writes on servers, volumes and images. They are persisted: none ever changes.

Nova accepts letters, digits, ``- _ : .`` and spaces in a key, see https://docs.openstack.org/api-ref/compute/
"""

from __future__ import annotations

PREFIX = "immutable:"
PART_MARK = "."  # precedes the number of a further part of a long text
MAX_ITEMS = 128  # of one server, by Nova's default quota
MAX_VALUE = 255  # characters
MAX_TEXT = MAX_VALUE * 8  # characters of one text, which may take several items


def key_of(name: str) -> str:
    """The key under which OpenStack keeps the text ``name`` (see ``_providers/tags``), such as ``immutable:fleet``."""
    return PREFIX + name
