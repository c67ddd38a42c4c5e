# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Texts as AWS tags, the only record of what an instance or a volume is. Pure.

A text that is longer than one tag's value takes several tags: ``immutable:health``, ``immutable:health#2``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ..._aws.tags import MAX_TEXT, MAX_VALUE, NAME_KEY, PREFIX, key_of
from ..tags import BAKE, FLEET, STORE, VOLUME, well_formed

FLEET_KEY, STORE_KEY, VOLUME_KEY, BAKE_KEY = key_of(FLEET), key_of(STORE), key_of(VOLUME), key_of(BAKE)
PART_MARK = "#"  # precedes the number of a further part


def to_aws(texts: Mapping[str, str]) -> list[dict[str, str]]:
    """Texts by tag name as AWS's list of tags.

    A text longer than ``MAX_TEXT`` is cut. Only reasons that people give can be that long.
    """
    return [
        {"Key": key, "Value": value}
        for name, text in sorted(texts.items())
        for key, value in _parts(name, text[:MAX_TEXT])
    ]


def with_own(tags: Sequence[Mapping[str, str]], own: Mapping[str, str]) -> list[dict[str, str]]:
    """Add a target's own tags to AWS's list of tags. An own tag replaces only the name that people see."""
    keys = {tag["Key"] for tag in tags if tag["Key"] != NAME_KEY or NAME_KEY not in own}
    kept = [dict(tag) for tag in tags if tag["Key"] in keys]
    return [*kept, *({"Key": key, "Value": value} for key, value in sorted(own.items()) if key not in keys)]


def fitting(texts: Mapping[str, str], room: int) -> list[dict[str, str]]:
    """Like ``to_aws``, with each text cut to one tag if all of them do not fit into ``room`` tags."""
    tags = to_aws(texts)
    return tags if len(tags) <= room else to_aws({name: text[:MAX_VALUE] for name, text in texts.items()})


def keys_of_text(name: str) -> list[dict[str, str]]:
    """Every tag that a text under this name can take, to delete them."""
    further = range(2, MAX_TEXT // MAX_VALUE + 1)
    return [{"Key": key_of(name)}, *({"Key": key_of(f"{name}{PART_MARK}{number}")} for number in further)]


def from_aws(tags: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """This project's texts by tag name, without tags of others and values that it cannot have written."""
    values = {tag["Key"].removeprefix(PREFIX): tag["Value"] for tag in tags if tag["Key"].startswith(PREFIX)}
    return well_formed(
        {name: text + "".join(_further_parts(values, name)) for name, text in values.items() if PART_MARK not in name}
    )


def _parts(name: str, text: str) -> Iterator[tuple[str, str]]:
    yield key_of(name), text[:MAX_VALUE]
    for number, start in enumerate(range(MAX_VALUE, len(text), MAX_VALUE), 2):
        yield key_of(f"{name}{PART_MARK}{number}"), text[start : start + MAX_VALUE]


def _further_parts(values: Mapping[str, str], name: str) -> Iterator[str]:
    return itertools.takewhile(bool, (values.get(f"{name}{PART_MARK}{number}", "") for number in itertools.count(2)))
