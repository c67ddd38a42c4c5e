# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads and changes XML answers."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree

from .answers import Answer

Element = ElementTree.Element


class Document:
    """An XML answer. Paths are written without the namespace."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.root = ElementTree.fromstring(answer.body)
        self.space = self.root.tag.partition("}")[0] + "}" if self.root.tag.startswith("{") else ""

    def find_all(self, path: str, within: Element | None = None) -> list[Element]:
        return (self.root if within is None else within).findall("/".join(self._full(part) for part in path.split("/")))

    def text(self, path: str, within: Element | None = None) -> str:
        found = self.find_all(path, within)
        return (found[0].text or "") if found else ""

    def set_text(self, path: str, value: str, within: Element) -> None:
        """Set the text of an element, and create the element if it is missing."""
        at = within
        for part in path.split("/"):
            below = at.find(self._full(part))
            at = ElementTree.SubElement(at, self._full(part)) if below is None else below
        at.text = value

    def with_parents(self, path: str) -> Iterator[tuple[Element, Element]]:
        """Each element at the path, with its parent before it."""
        outer, _slash, last = path.rpartition("/")
        for parent in self.find_all(outer):
            for child in self.find_all(last, parent):
                yield parent, child

    def to_answer(self) -> Answer:
        if self.space:
            ElementTree.register_namespace("", self.space[1:-1])
        return self.answer.with_text(ElementTree.tostring(self.root, encoding="unicode"))

    def _full(self, part: str) -> str:
        return part if part in (".", "") else self.space + part
