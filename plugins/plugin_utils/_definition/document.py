# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Read a YAML document as plain data, with the line of each value."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from .._core.bounded_yaml import MAX_VALUES, BoundedLoader, TooLargeError
from .model import Vaulted

KeyPath = tuple[str | int, ...]  # keys of mappings and indexes of lists, such as ("data", 0, "size")
VAULT = "!vault"
VARIABLES: KeyPath = ("image", "provision", "vars")  # only the values in here may be vaulted
OWN_PREFIX = "x-"  # of keys at the top that hold anchors and mean nothing by themselves
MAX_PROBLEMS = 100  # of a document; further ones are not searched for
_MERGE = "tag:yaml.org,2002:merge"
_COLLECTIONS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
_TEXT = "tag:yaml.org,2002:str"
_BOOLEAN = "tag:yaml.org,2002:bool"
_NOT_RESOLVED = (_BOOLEAN, "tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value")  # text, unless tagged
_TAG_TYPES = {"timestamp": "a date", "float": "a number", "int": "a number", "bool": "true or false", "binary": "bytes"}
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass
class Document:
    """The data of a file, and the problems found in it."""

    data: Any = None
    lines: dict[KeyPath, int] = field(default_factory=dict)  # the line of each value, from 1
    written: dict[KeyPath, str] = field(
        default_factory=dict
    )  # the text of each scalar that is plain or not read as text
    problems: list[tuple[int, KeyPath, str]] = field(default_factory=list)  # line, path and text of each

    def line(self, path: KeyPath) -> int:
        """Return the line of the value at ``path``, or of the closest value that contains it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    @property
    def full(self) -> bool:
        """Whether no further problem is added."""
        return len(self.problems) >= MAX_PROBLEMS

    def add_problem(self, path: KeyPath, text: str) -> None:
        """Add a problem of the value at ``path``, unless it already has one."""
        if all(path != known for _line, known, _text in self.problems):
            self.add_line(self.line(path), path, text)

    def add_line(self, line: int, path: KeyPath, text: str) -> None:
        """Add a problem on another line than that of the value at ``path``."""
        if not self.full:
            self.problems.append((line, path, text))


class _Loader(BoundedLoader):
    """Reads only true and false as booleans, as in YAML 1.2, so that ``off``, ``yes`` and ``no`` are text."""

    def meet_cycle(self, mark: yaml.Mark) -> None:
        """The reader reports it with its path."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _NOT_RESOLVED]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOLEAN, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))


def read_document(text: str) -> Document:
    """Parse one YAML document. Mistakes in its form are added to ``problems``; none is raised."""
    document = Document()
    try:
        nodes = list(yaml.compose_all(text, Loader=_Loader))
        if len(nodes) > 1:
            document.problems.append(
                (nodes[1].start_mark.line + 1, (), "a second document starts here (allowed: one document per file)")
            )
        elif not nodes:
            document.add_problem(
                (), "the file is empty (allowed: a definition, which is a mapping that starts with schema: 1)"
            )
        else:
            document.data = _Reader(document).read(nodes[0], (), ())
    except TooLargeError as error:
        document = Document()
        document.problems.append((error.line, (), f"the definition has {error.problem}"))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        document.problems.append(
            (mark.line + 1 if mark else 1, (), f"this is not YAML: {error.problem or error.context}")
        )
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        document.problems.append(
            (line, (), f"this is not YAML: it contains the control character U+{ord(text[error.position]):04X}")
        )
    except RecursionError:  # values that contain themselves
        document = Document()
        document.add_problem((), "the definition is nested too deeply")
    return document


class _Reader:
    """Turns YAML nodes into plain data."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._scalars = yaml.constructor.SafeConstructor()
        self._values = 0

    def read(self, node: yaml.Node, path: KeyPath, within: tuple[int, ...]) -> Any:
        """Return the value of ``node`` at ``path``. ``within``: the ``id`` of each node that contains it."""
        self._count(1, node)
        self._document.lines.setdefault(path, node.start_mark.line + 1)
        if id(node) in within:
            self._document.add_problem(
                path, "an alias refers to a value that contains it (allowed: aliases of complete values)"
            )
            return None
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if node.tag not in _COLLECTIONS:
            self._document.add_problem(
                path,
                f"the tag {node.tag} is not supported (allowed: {VAULT}, on a variable in {format_path(VARIABLES)})",
            )
        within = (*within, id(node))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, within)
        return [self.read(item, (*path, number), within) for number, item in enumerate(node.value)]

    def _count(self, steps: int, node: yaml.Node) -> None:
        """Count what is read or merged. The loader has bounded all but values that contain themselves."""
        self._values += steps
        if self._values > 2 * MAX_VALUES:  # a merge looks at each value before it reads it
            raise TooLargeError(f"more than {MAX_VALUES} values, counting those that are merged", node.start_mark)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath, within: tuple[int, ...]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                continue
            line = key_node.start_mark.line + 1
            if key_node.tag != _TEXT:
                what = _excerpt(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "a list or mapping"
                self._document.add_line(line, path, f"the key {what} is not text; put it in quotes")
                continue
            key = self._text(str(key_node.value), path)
            if key is None:
                continue
            if key in found:
                first = self._document.line((*path, key))
                self._document.add_line(
                    line, (*path, key), f"duplicate key, first on line {first} (allowed: each key once)"
                )
                continue
            self._document.lines[(*path, key)] = line
            # What holds anchors may be anything. Its values are read where an alias or a merge uses them.
            found[key] = None if is_own_key((*path, key)) else self.read(value_node, (*path, key), within)
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                self._merge(value_node, found, path, within)
        return found

    def _merge(self, node: yaml.Node, found: dict[str, Any], path: KeyPath, within: tuple[int, ...]) -> None:
        """Add the keys of the mappings that ``<<`` refers to, except those that the mapping has itself."""
        self._count(1 + len(node.value), node)
        if isinstance(node, yaml.SequenceNode):
            for item in node.value:
                self._merge(item, found, path, within)
        elif not isinstance(node, yaml.MappingNode) or id(node) in within:
            self._document.add_problem(
                path, "<< does not refer to a mapping (allowed: the alias of a mapping, or a list of them)"
            )
        else:
            pairs = [pair for pair in node.value if pair[0].tag == _MERGE or pair[0].value not in found]
            found.update(self._mapping(yaml.MappingNode(node.tag, pairs, node.start_mark), path, (*within, id(node))))

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> Any:
        if node.tag == VAULT:
            if path[:-1] == VARIABLES:
                return Vaulted(node.value)
            self._document.add_problem(
                path,
                f"{VAULT} is not supported here (allowed: as the whole value of a variable in "
                f"{format_path(VARIABLES)})",
            )
            return None
        if node.tag == _MERGE and node.style is None:  # << that is no key
            node = yaml.ScalarNode(_TEXT, node.value, node.start_mark, node.end_mark)
        if node.tag not in self._scalars.yaml_constructors or not node.tag.startswith("tag:yaml.org,2002:"):
            self._document.add_problem(
                path,
                f"the tag {node.tag} is not supported (allowed: {VAULT}, on a variable in {format_path(VARIABLES)})",
            )
            return None
        if node.style is None or node.tag != _TEXT:
            self._document.written[path] = node.value
        if node.tag == _TEXT:
            return self._text(node.value, path)
        try:
            value = self._scalars.construct_object(node)
        except (yaml.YAMLError, ValueError, LookupError, OverflowError, AttributeError):
            value = math.nan
        if value is None or isinstance(value, (bool, int)) or (isinstance(value, float) and math.isfinite(value)):
            return value
        kind = _TAG_TYPES.get(node.tag.rpartition(":")[2], node.tag)
        self._document.add_problem(
            path, f"{_excerpt(node.value)} is read as {kind}, which is not allowed here; put it in quotes"
        )
        return None

    def _text(self, text: str, path: KeyPath) -> str | None:
        """The text. Two escapes that JSON needs for one character, such as an emoji, become that character."""
        if text.isascii():
            return text
        whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
        half = next((char for char in whole if "\ud800" <= char <= "\udfff"), "")
        if not half:
            return whole
        self._document.add_problem(
            path, f"the text contains U+{ord(half):04X}, half of a character; write the whole character"
        )
        return None


def _excerpt(written: str) -> str:
    return written if written.isprintable() and len(written) <= 60 else json.dumps(written[:60])


def is_own_key(path: KeyPath) -> bool:
    """Whether a key is one of the user's own, at the top of a definition, whose value only holds anchors."""
    return len(path) == 1 and str(path[0]).startswith(OWN_PREFIX)


def format_path(path: KeyPath) -> str:
    """Format a path like ``data[0].size``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _PLAIN_KEY.fullmatch(part) else json.dumps(part))
    return text


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return ``did you mean "..."? `` with the known word that is most similar, or ""."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f'did you mean "{close[0]}"? ' if close else ""


def value_at(data: Any, keys: KeyPath) -> Any:
    """Return the value at a path, or None if there is none."""
    for key in keys:
        if isinstance(key, int):
            data = data[key] if isinstance(data, list) and key < len(data) else None
        else:
            data = data.get(key) if isinstance(data, Mapping) else None
    return data


def target_names(data: Any) -> list[str]:
    """Return the names of all targets that are mappings."""
    targets = value_at(data, ("targets",))
    return (
        [name for name, target in targets.items() if isinstance(target, Mapping)]
        if isinstance(targets, Mapping)
        else []
    )
