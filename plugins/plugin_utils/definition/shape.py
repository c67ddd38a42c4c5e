# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Compare a document with the JSON Schema, and say in words what does not fit.

The schema carries the words: ``x-not`` says what a wrong value is not, ``x-allowed`` what may stand in its place.
"""
from __future__ import annotations

import difflib
import functools
import json
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

from ..errors import ImmutableError
from .document import Document, Path, Problem

try:
    from jsonschema import Draft202012Validator, ValidationError
except ImportError:
    HAS_JSONSCHEMA = False
else:
    HAS_JSONSCHEMA = True

SCHEMA = FilePath(__file__).with_name("schema.json")
_KINDS = {"string": "text", "integer": "an integer", "number": "a number", "boolean": "true or false", "array": "a list", "object": "a mapping"}


def check_shape(document: Document) -> None:
    """Add to the document's problems whatever does not fit the schema, one for each place. Raises ImmutableError without jsonschema."""
    known = {problem.path for problem in document.problems}
    found: dict[Path, Problem] = {}
    for error in sorted(_validator().iter_errors(document.data), key=lambda each: [str(step) for step in each.absolute_path]):
        for path, text in _told(document, error):
            if path not in known:
                found.setdefault(path, Problem(path, text, document.line(path)))
    document.problems += found.values()


@functools.lru_cache(maxsize=None)
def _validator() -> Draft202012Validator:
    if not HAS_JSONSCHEMA:
        raise ImmutableError("checking a definition needs the Python package jsonschema (4.0 or later); install it where Ansible runs: pip install jsonschema")
    return Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))


def _told(document: Document, error: ValidationError) -> list[tuple[Path, str]]:
    path: Path = tuple(error.absolute_path)
    schema, value = error.schema, error.instance
    if error.validator == "additionalProperties":
        known = sorted(schema["properties"])
        return [((*path, key), _unknown(key, known)) for key in value if key not in known]
    if error.validator == "required" and "properties" in schema:
        return [((*path, key), f"missing (allowed: {_allowed(_property(schema, key))})") for key in schema["required"] if key not in value]
    if error.validator == "dependentRequired":
        wanted = {key: name for name, keys in schema["dependentRequired"].items() if name in value for key in keys if key not in value}
        return [((*path, key), f"missing, {name} needs it (allowed: {_allowed(_property(schema, key))})") for key, name in wanted.items()]
    if schema is False:
        return [(path, "does not go with debian, whose suite says it (allowed: leave it out)")]
    if "propertyNames" in error.absolute_schema_path:
        return [((*path, value), f"{json.dumps(value)} {schema['x-not']} (allowed: {schema['x-allowed']})")]
    return [(path, _unfit(document, path, schema, value))]


def _unknown(key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f"unknown key{f', did you mean {close[0]}?' if close else ''} (allowed: {', '.join(known)})"


def _unfit(document: Document, path: Path, schema: Mapping[str, Any], value: Any) -> str:
    written = document.written.get(path)
    types = schema.get("type", "string")
    if "string" in types and written and not isinstance(value, (str, list, Mapping)) and (value is not None) and isinstance(types, str):
        return f"{written} is read as {_read_as(value)} (allowed: write it in quotes: {json.dumps(written)})"
    if value is None:
        return f"nothing stands here (allowed: {_allowed(schema)})"
    wrong_type = isinstance(types, str) and types in ("object", "array") and not isinstance(value, {"object": Mapping, "array": list}[types])
    what = f"is not {_KINDS[types]}" if wrong_type else schema.get("x-not") or f"is not {_KINDS[types]}"
    return f"{_shown(value, written)} {what} (allowed: {_allowed(schema)})"


def _read_as(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"the number {value}"


def _shown(value: Any, written: str | None) -> str:
    if isinstance(value, Mapping):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if written is not None and not isinstance(value, str):
        return written
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:76] + '..."'


def _property(schema: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = schema["properties"][key]
    return found


def _allowed(schema: Mapping[str, Any]) -> str:
    if "x-allowed" in schema:
        return str(schema["x-allowed"])
    if "$ref" in schema:
        definitions: Mapping[str, Any] = _validator().schema["$defs"]
        return _allowed(definitions[schema["$ref"].rpartition("/")[2]])
    if "properties" in schema:
        return f"a mapping with {', '.join(sorted(schema['properties']))}"
    return _KINDS[schema["type"]]
