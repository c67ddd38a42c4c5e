# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Texts as AWS tags. Pure. See ``_providers/text_tags``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..._aws.tags import MAX_VALUE, NAME_KEY, PREFIX, key_of
from ..tags import BAKE, FLEET, STORE, VOLUME
from ..text_tags import TagForm

FLEET_KEY, STORE_KEY, VOLUME_KEY, BAKE_KEY = key_of(FLEET), key_of(STORE), key_of(VOLUME), key_of(BAKE)
FORM = TagForm(PREFIX, part_mark="#", max_value=MAX_VALUE)


def to_aws(texts: Mapping[str, str]) -> list[dict[str, str]]:
    """Texts by tag name as AWS's list of tags."""
    return _listed(FORM.tags_of(texts))


def with_own(tags: Sequence[Mapping[str, str]], own: Mapping[str, str]) -> list[dict[str, str]]:
    """Add a target's own tags to AWS's list of tags. An own tag replaces only the name that people see."""
    keys = {tag["Key"] for tag in tags if tag["Key"] != NAME_KEY or NAME_KEY not in own}
    kept = [dict(tag) for tag in tags if tag["Key"] in keys]
    return [*kept, *({"Key": key, "Value": value} for key, value in sorted(own.items()) if key not in keys)]


def fitting(texts: Mapping[str, str], room: int) -> list[dict[str, str]]:
    """Like ``to_aws``, with each text cut to one tag if all of them do not fit into ``room`` tags."""
    return _listed(FORM.fitting(texts, room))


def keys_of_text(name: str) -> list[dict[str, str]]:
    """Every tag that a text under this name can take, to delete them."""
    return [{"Key": key} for key in FORM.keys_of(name)]


def from_aws(tags: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """This project's texts by tag name, without tags of others and values that it cannot have written."""
    return FORM.texts_of((tag["Key"], tag["Value"]) for tag in tags)


def _listed(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
