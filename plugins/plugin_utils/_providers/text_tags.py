# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Texts as the tags of a cloud, the only record of what an instance or a volume is. Pure.

A text that is longer than one tag's value takes several tags: ``immutable:health``, ``immutable:health#2``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from .tags import well_formed

PARTS = 8  # tags that one text may take at most


@dataclass(frozen=True)
class TagForm:
    """How a cloud writes tags. It is persisted, so it never changes."""

    prefix: str  # of the keys
    part_mark: str  # precedes the number of a further part; in no name of a text
    max_value: int  # characters of a tag's value

    @property
    def max_text(self) -> int:
        """Characters of one text. A longer one is cut; only reasons that people give can be that long."""
        return self.max_value * PARTS

    def key_of(self, name: str) -> str:
        """The key of the text's first part."""
        return self.prefix + name

    def keys_of(self, name: str) -> list[str]:
        """Every key that a text under this name can take."""
        return [self.key_of(name), *(self._part_key(name, number) for number in range(2, PARTS + 1))]

    def tags_of(self, texts: Mapping[str, str]) -> dict[str, str]:
        """Texts by name as values by key."""
        return {key: value for name, text in sorted(texts.items()) for key, value in self._parts(name, text)}

    def fitting(self, texts: Mapping[str, str], room: int) -> dict[str, str]:
        """Like ``tags_of``, with each text cut to one tag if all of them do not fit into ``room`` tags."""
        tags = self.tags_of(texts)
        return (
            tags if len(tags) <= room else self.tags_of({name: text[: self.max_value] for name, text in texts.items()})
        )

    def texts_of(self, tags: Iterable[tuple[str, str]]) -> dict[str, str]:
        """This project's texts by name, without tags of others and values that it cannot have written."""
        values = {key.removeprefix(self.prefix): value for key, value in tags if key.startswith(self.prefix)}
        firsts = {name: text for name, text in values.items() if self.part_mark not in name}
        return well_formed({name: text + "".join(self._further(values, name)) for name, text in firsts.items()})

    def _parts(self, name: str, text: str) -> Iterator[tuple[str, str]]:
        yield self.key_of(name), text[: self.max_value]
        for number, start in enumerate(range(self.max_value, min(len(text), self.max_text), self.max_value), 2):
            yield self._part_key(name, number), text[start : start + self.max_value]

    def _part_key(self, name: str, number: int) -> str:
        return f"{self.key_of(name)}{self.part_mark}{number}"

    def _further(self, values: Mapping[str, str], name: str) -> Iterator[str]:
        parts = (values.get(f"{name}{self.part_mark}{number}", "") for number in itertools.count(2))
        return itertools.takewhile(bool, parts)
