# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""XML answers, read and changed."""

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

    def every(self, path: str, within: Element | None = None) -> list[Element]:
        return (self.root if within is None else within).findall("/".join(self._full(part) for part in path.split("/")))

    def text(self, path: str, within: Element | None = None) -> str:
        found = self.every(path, within)
        return (found[0].text or "") if found else ""

    def put(self, path: str, value: str, within: Element) -> None:
        """The element's text, made where it is missing."""
        at = within
        for part in path.split("/"):
            below = at.find(self._full(part))
            at = ElementTree.SubElement(at, self._full(part)) if below is None else below
        at.text = value

    def parents(self, path: str) -> Iterator[tuple[Element, Element]]:
        """Each element at the path with the one around it."""
        outer, _slash, last = path.rpartition("/")
        for parent in self.every(outer):
            for child in self.every(last, parent):
                yield parent, child

    def done(self) -> Answer:
        if self.space:
            ElementTree.register_namespace("", self.space[1:-1])
        return self.answer.told(ElementTree.tostring(self.root, encoding="unicode"))

    def _full(self, part: str) -> str:
        return part if part in (".", "") else self.space + part
