# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Check a definition against the schema, and describe each mistake in words.

The words are in the schema: ``x-not`` continues a sentence that starts with the wrong value, and ``x-allowed`` says
what is allowed instead.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .._core.errors import DefinitionError
from .document import MAX_PROBLEMS, OWN_PREFIX, Document, is_own_key, suggestion

try:
    import jsonschema
except ImportError:
    jsonschema = None  # type: ignore[assignment, unused-ignore]  # reported when it is needed

SCHEMA = Path(__file__).with_name("schema.json")
_TYPE_NAMES = {
    "string": "text",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "object": "a mapping",
    "array": "a list",
}


def check_schema(document: Document) -> None:
    """Add a problem for everything that does not match the schema. Raises DefinitionError if jsonschema is missing."""
    # The first problem of a value is kept, and a wrong type explains more than any other.
    for error in sorted(_validator().iter_errors(document.data), key=lambda error: bool(error.validator != "type")):
        if document.full:
            return
        _add_problem(document, error)


@functools.cache
def _validator() -> Any:
    if jsonschema is None:
        raise DefinitionError(
            "the Python package jsonschema is missing on the controller; "
            "install it in the environment of ansible-core (pip install jsonschema)"
        )
    # JSON Schema accepts 1.0 as an integer; a definition does not.
    checker = jsonschema.Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _checker, value: isinstance(value, int) and not isinstance(value, bool)
    )
    extend: Any = jsonschema.validators.extend
    validator = extend(
        jsonschema.Draft202012Validator, {"pattern": _check_pattern, "uniqueItems": _check_unique}, type_checker=checker
    )
    return validator(json.loads(SCHEMA.read_text(encoding="utf-8")))


def _check_pattern(_validator: Any, pattern: str, value: Any, _schema: Any) -> Iterator[Any]:
    """Match ``$`` at the very end only. In Python it also matches before a trailing newline."""
    if isinstance(value, str) and not re.search(re.sub(r"\$$", r"\\Z", pattern), value):
        yield jsonschema.ValidationError("pattern")


def _check_unique(_validator: Any, unique: bool, value: Any, _schema: Any) -> Iterator[Any]:
    """Compare the items by their checksums. jsonschema compares each pair of items that cannot be sorted."""
    if unique and isinstance(value, list) and len({json.dumps(item, sort_keys=True) for item in value}) < len(value):
        yield jsonschema.ValidationError("uniqueItems")


def _add_problem(document: Document, error: Any) -> None:
    path = tuple(error.absolute_path)
    schema, value = error.schema, error.instance
    if error.validator == "additionalProperties" and isinstance(error.validator_value, bool):
        known = list(schema["properties"])
        own = f", and {OWN_PREFIX}... for anchors" if "patternProperties" in schema else ""
        unknown = [key for key in value if key not in known and not is_own_key((*path, key))]
        for key in unknown[:MAX_PROBLEMS]:
            document.add_problem(
                (*path, key), f"unknown key ({suggestion(key, known)}allowed: {', '.join(known)}{own})"
            )
    elif error.validator == "required":
        for key in [key for key in error.validator_value if key not in value and not _misspelled(key, error)]:
            document.add_problem((*path, key), f"the key is missing (allowed: {_allowed(schema['properties'][key])})")
    elif error.validator == "dependentRequired":
        for key, required in error.validator_value.items():
            for missing in [name for name in required if key in value and name not in value]:
                document.add_problem(
                    (*path, missing),
                    f"the key is missing; {key} requires it (allowed: {_allowed(schema['properties'][missing])})",
                )
    elif "propertyNames" in error.absolute_schema_path:
        document.add_problem((*path, value), f"{_describe(value)} {schema['x-not']} (allowed: {schema['x-allowed']})")
    else:
        document.add_problem(path, _mismatch(schema, value, document.written.get(path)))


def _misspelled(key: str, error: Any) -> bool:
    """Whether another message about the same mapping asks if one of its unknown keys means this one."""
    schema = error.schema
    if schema.get("additionalProperties") is not False:
        return False
    path, known = tuple(error.absolute_path), list(schema["properties"])
    unknown = [each for each in error.instance if each not in known and not is_own_key((*path, each))]
    return any(suggestion(each, known) == suggestion(key, known) for each in unknown[:MAX_PROBLEMS])


def _mismatch(schema: Mapping[str, Any], value: Any, written: str | None) -> str:
    """Describe why ``value`` does not match ``schema``. ``written`` is the text of a plain scalar in the file."""
    kind = schema.get("type")
    if value is None:
        return f"the value is empty (allowed: {_allowed(schema)})"
    if (
        kind == "string"
        and "pattern" in schema
        and isinstance(value, (bool, int, float))
        and written
        and re.search(schema["pattern"], written)
    ):
        read = json.dumps(value) if isinstance(value, bool) else f"the number {json.dumps(value)}"
        return f"{written} is read as {read}; put it in quotes: {json.dumps(written)}"
    if isinstance(kind, str) and isinstance(value, (dict, list)) is not (kind in ("object", "array")):
        return f"{_describe(value)} is not {_TYPE_NAMES[kind]} (allowed: {_allowed(schema)})"
    subject = written if written and not isinstance(value, str) else _describe(value)
    if "not" in schema:
        return f"{subject} {schema['x-not']}; remove this key"
    return f"{subject} {schema.get('x-not') or 'is not ' + _TYPE_NAMES[schema['type']]} (allowed: {_allowed(schema)})"


def _allowed(schema: Mapping[str, Any]) -> str:
    """Describe the allowed values, in the schema's words if it has some."""
    if "x-allowed" in schema:
        return str(schema["x-allowed"])
    if "$ref" in schema:
        definitions: Mapping[str, Any] = _validator().schema["$defs"]
        return _allowed(definitions[schema["$ref"].rpartition("/")[2]])
    return (
        f"a mapping with {', '.join(schema['properties'])}" if "properties" in schema else _TYPE_NAMES[schema["type"]]
    )


def _describe(value: Any) -> str:
    if isinstance(value, (dict, list)):
        return f"{'a' if value else 'an empty'} {'mapping' if isinstance(value, dict) else 'list'}"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
