# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A YAML document as plain data, with the line of everything in it."""
from __future__ import annotations

import difflib
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any

import yaml

from .model import Vaulted

Path = tuple[str | int, ...]
VAULT = "!vault"
_BOOLEANS = {"true": True, "false": False}


@dataclass
class Document:
    """``lines`` by path of a value; a key's own line by path with the key. ``problems`` are (line, path, text)."""

    data: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[tuple[int, Path, str]] = field(default_factory=list)

    def line(self, path: Path) -> int:
        """Of the value at ``path``, or of the nearest thing around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def problem(self, path: Path, text: str) -> None:
        self.problems.append((self.line(path), path, text))


class _Loader(yaml.SafeLoader):
    """Booleans are true and false, as in YAML 1.2: ``off`` stays a word, and so do ``yes`` and ``no``."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_document(text: str) -> Document:
    """Parse one YAML document. What is wrong with its form stands in ``problems``; nothing is raised."""
    document = Document()
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            document.problems.append((1, (), "the file is empty (allowed: a definition; see docs/reference/definition.md)"))
        else:
            document.data = _Reader(loader, document).read(node, (), ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        document.problems.append((mark.line + 1 if mark else 1, (), f"this is not YAML: {error.problem or error.context}"))
    except (yaml.YAMLError, ValueError) as error:
        document.problems.append((1, (), f"this is not YAML: {error}"))
    finally:
        loader.dispose()
    return document


class _Reader:
    def __init__(self, loader: _Loader, document: Document) -> None:
        self._loader = loader
        self._document = document

    def read(self, node: yaml.Node, path: Path, within: tuple[int, ...]) -> Any:
        self._document.lines.setdefault(path, node.start_mark.line + 1)
        if id(node) in within:
            self._document.problem(path, "an alias points at something that holds it")
            return None
        within = (*within, id(node))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, within)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*path, number), within) for number, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path, within: tuple[int, ...]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self._scalar(key_node, path) if isinstance(key_node, yaml.ScalarNode) else None
            line = key_node.start_mark.line + 1
            if not isinstance(key, Hashable) or not isinstance(key, str):
                self._document.problems.append((line, path, f"the key {key_node.value!r} is not text (allowed: text; put it in quotes)"))
                continue
            if key in found:
                first = self._document.line((*path, key))
                self._document.problems.append((line, (*path, key), f"the key is given twice, first in line {first}; remove one"))
                continue
            self._document.lines[(*path, key)] = line
            found[key] = self.read(value_node, (*path, key), within)
        return found

    def _scalar(self, node: yaml.Node, path: Path) -> Any:
        if node.tag == VAULT:
            return Vaulted(node.value)
        if node.tag == "tag:yaml.org,2002:str" and node.style is None and node.value.lower() in _BOOLEANS:
            return _BOOLEANS[node.value.lower()]
        if not node.tag.startswith("tag:yaml.org,2002:"):
            self._document.problem(path, f"the tag {node.tag} is not known here (allowed: {VAULT})")
            return None
        try:
            return self._loader.construct_object(node, deep=True)
        except (yaml.YAMLError, ValueError) as error:
            self._document.problem(path, f"this cannot be read: {error}")
            return None


def shown(path: Path) -> str:
    """Such as ``data[0].size``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def suggestion(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f'did you mean "{close[0]}"? ' if close else ""
