# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tags on AWS: the only memory of what an instance or a volume is. A text longer than a tag's value takes several tags. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping

PREFIX = "immutable:"
FLEET_TAG, STORE_TAG = f"{PREFIX}fleet", f"{PREFIX}store"
VOLUME_TAG = f"{PREFIX}volume"  # a data volume's name in the definition; root volumes have none
LONGEST = 256  # characters of a value
MOST = 50  # tags of a resource
MORE = "#"  # before the number of a further part: "immutable:health", "immutable:health#2"
LIMIT = LONGEST * 8  # characters of a text that is worth so many tags


def written(texts: Mapping[str, str]) -> list[dict[str, str]]:
    """Texts by our names as AWS's list of tags. What is longer than LIMIT is cut: only people's words can be."""
    return [
        {"Key": key, "Value": value}
        for name, text in sorted(texts.items())
        for key, value in _parts(name, text[:LIMIT])
    ]


def keys_of(name: str) -> list[dict[str, str]]:
    """Every tag that a text under this name can take, to delete them."""
    return [
        {"Key": PREFIX + name},
        *({"Key": f"{PREFIX}{name}{MORE}{number}"} for number in range(2, LIMIT // LONGEST + 1)),
    ]


def read(tags: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Our texts by our names; tags of others are passed over."""
    raw = {tag["Key"].removeprefix(PREFIX): tag["Value"] for tag in tags if tag["Key"].startswith(PREFIX)}
    return {name: text + "".join(_further(raw, name)) for name, text in raw.items() if MORE not in name}


def _parts(name: str, text: str) -> Iterable[tuple[str, str]]:
    yield PREFIX + name, text[:LONGEST]
    for number, start in enumerate(range(LONGEST, len(text), LONGEST), 2):
        yield f"{PREFIX}{name}{MORE}{number}", text[start : start + LONGEST]


def _further(raw: Mapping[str, str], name: str) -> Iterable[str]:
    return itertools.takewhile(bool, (raw.get(f"{name}{MORE}{number}", "") for number in itertools.count(2)))
