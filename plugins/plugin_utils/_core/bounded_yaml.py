# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Read YAML whose size is bounded before any of it is built.

A small file can describe an enormous document, by aliases of lists of aliases, or by merges (``<<``) of mappings that
merge others. The loader counts what a file stands for while it parses it, in one step for each node of the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from .files import open_regular

MAX_BYTES = 2 * 1024**2
MAX_VALUES = 20_000  # counting the values behind each use of an alias
MAX_DEPTH = 100  # mappings and lists inside each other
MAX_NUMBER_LENGTH = 100  # characters of a plain scalar that is not text
_NUMBER_TAGS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float", "tag:yaml.org,2002:timestamp")


class TooLargeError(yaml.MarkedYAMLError):
    """The document stands for more than is allowed.

    Attributes:
        line: from 1.
        problem: what it has too much of, and how much is allowed.
    """

    def __init__(self, problem: str, mark: yaml.Mark | None = None) -> None:
        super().__init__(problem=problem, problem_mark=mark)
        self.line = mark.line + 1 if mark else 1

    def __str__(self) -> str:
        return f"line {self.line}: it has {self.problem}"


class BoundedLoader(yaml.SafeLoader):
    """A safe loader that raises TooLargeError for a node that is too large, before it builds anything."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._extents: dict[int, tuple[int, int]] = {}  # values and levels of each complete node, by its id
        self._nodes = 0
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        mark: yaml.Mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        self._nodes += 1
        self._depth += 1
        if self._nodes > 2 * MAX_VALUES:  # keys are nodes, too
            raise _too_many(mark)
        if self._depth > MAX_DEPTH + 1:
            raise _too_deep(mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if isinstance(node, yaml.Node):
            self._measure(node, mark)
        return node

    def scan_flow_scalar_non_spaces(self, double: bool, start_mark: yaml.Mark) -> list[str]:
        """Raise YAMLError, as for every other mistake, for an escape whose number belongs to no character."""
        try:
            chunks: list[str] = super().scan_flow_scalar_non_spaces(double, start_mark)
            return chunks
        except (ValueError, OverflowError):
            raise yaml.scanner.ScannerError(
                problem="an escape in a text in double quotes is no character", problem_mark=start_mark
            ) from None

    def _measure(self, node: yaml.Node, mark: yaml.Mark) -> None:
        """Note how many values and levels a node stands for. All parts of it have been noted before."""
        if isinstance(node, yaml.ScalarNode):
            if node.tag in _NUMBER_TAGS and len(node.value) > MAX_NUMBER_LENGTH:
                found = f"a number of {len(node.value)} characters"
                raise TooLargeError(f"{found} (allowed: {MAX_NUMBER_LENGTH}); put text in quotes", mark)
            self._extents[id(node)] = (1, 0)
        elif node.end_mark is None:
            self.meet_cycle(mark)
        elif id(node) not in self._extents:
            self._extents[id(node)] = self._extent_of(node.value, mark)

    def meet_cycle(self, mark: yaml.Mark) -> None:
        """Raise YAMLError for an alias of a value that contains it. A subclass may handle such values."""
        raise yaml.composer.ComposerError(problem="an alias refers to a value that contains it", problem_mark=mark)

    def _extent_of(self, parts: list[Any], mark: yaml.Mark) -> tuple[int, int]:
        values, levels = 1, 0
        for part in parts:
            key, value = part if isinstance(part, tuple) else (None, part)
            found, deep = self._extents.get(id(value), (1, 0))
            if isinstance(key, yaml.CollectionNode):
                found += self._extents.get(id(key), (1, 0))[0]
            values, levels = values + found, max(levels, deep)
        if values > MAX_VALUES:
            raise _too_many(mark)
        if levels >= MAX_DEPTH:
            raise _too_deep(mark)
        return values, levels + 1


def _too_many(mark: yaml.Mark) -> TooLargeError:
    return TooLargeError(f"more than {MAX_VALUES} values, counting those behind each use of an alias", mark)


def _too_deep(mark: yaml.Mark) -> TooLargeError:
    return TooLargeError(f"more than {MAX_DEPTH} mappings and lists inside each other", mark)


def read_bounded(path: Path) -> bytes:
    """Return the content of a regular file. Raises OSError, and TooLargeError for more than MAX_BYTES."""
    with open_regular(path) as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise TooLargeError(f"more than {MAX_BYTES} bytes")
    return data


def check_bounds(path: Path) -> None:
    """Raise TooLargeError for a YAML file that must not be handed to another loader.

    Any other mistake in it is left for that loader to report.
    """
    try:
        for _document in yaml.compose_all(read_bounded(path).decode(), Loader=BoundedLoader):
            pass
    except TooLargeError:
        raise
    except (OSError, ValueError, yaml.YAMLError):
        return
