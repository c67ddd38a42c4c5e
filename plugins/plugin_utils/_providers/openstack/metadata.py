# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Texts as metadata and tags of OpenStack resources. Pure.

Metadata says what a server or a volume is. Nova lists servers by their tags alone, so two tags repeat which store and
which fleet a server belongs to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from ..._openstack.metadata import MAX_VALUE, PART_MARK, PREFIX
from ..tags import FLEET, STORE
from ..text_tags import TagForm

FORM = TagForm(PREFIX, part_mark=PART_MARK, max_value=MAX_VALUE)


def store_tag(store: str) -> str:
    """The tag of every server of a store. ``store``: the store's identity."""
    return f"{PREFIX}{STORE}:{store}"


def fleet_tag(fleet: str) -> str:
    """The tag of every server of a fleet. A tag has at most 60 characters, and the name of a fleet may have more."""
    return f"{PREFIX}{FLEET}:{hashlib.sha256(fleet.encode()).hexdigest()[:32]}"


def texts_of(described: Mapping[str, Any]) -> dict[str, str]:
    """This project's texts by name, from a resource as OpenStack describes it."""
    metadata = described.get("metadata")
    items = metadata.items() if isinstance(metadata, Mapping) else ()
    return FORM.texts_of((str(key), str(value)) for key, value in items)
