# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the schema finds wrong, in words for the person who wrote the definition.

The schema says it itself: ``x-not`` completes the sentence that begins with the wrong value, ``x-allowed`` says what would be right.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .._core.errors import DefinitionError
from .document import Document, suggestion

try:
    import jsonschema
except ImportError:
    jsonschema = None  # type: ignore[assignment, unused-ignore]  # told when it is needed

SCHEMA = Path(__file__).with_name("schema.json")
_TYPE_NAMES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "a mapping",
    "array": "a list",
}


def check_schema(document: Document) -> None:
    """Add a problem for everything that does not fit the schema. Raises DefinitionError where jsonschema is missing."""
    for error in sorted(_validator().iter_errors(document.data), key=lambda each: bool(each.validator != "type")):
        _add_problem(document, error)


@functools.cache
def _validator() -> Any:
    if jsonschema is None:
        raise DefinitionError(
            "the Python package jsonschema is missing on the controller; install it beside ansible-core (pip install jsonschema)"
        )
    # Whole numbers written as 1.0 are not whole numbers here.
    checker = jsonschema.Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _checker, value: isinstance(value, int) and not isinstance(value, bool)
    )
    extend: Any = jsonschema.validators.extend
    kind = extend(jsonschema.Draft202012Validator, {"pattern": _check_pattern}, type_checker=checker)
    return kind(json.loads(SCHEMA.read_text(encoding="utf-8")))


def _check_pattern(_validator: Any, pattern: str, value: Any, _schema: Any) -> Iterator[Any]:
    """The schema's ``$`` is the very end; Python's own would let a newline follow."""
    if isinstance(value, str) and not re.search(re.sub(r"\$$", r"\\Z", pattern), value):
        yield jsonschema.ValidationError("pattern")


def _add_problem(document: Document, error: Any) -> None:
    path = tuple(error.absolute_path)
    schema, value = error.schema, error.instance
    if error.validator == "additionalProperties" and isinstance(error.validator_value, bool):
        known = list(schema["properties"])
        for key in [each for each in value if each not in known]:
            document.add_problem((*path, key), f"unknown key ({suggestion(key, known)}allowed: {', '.join(known)})")
    elif error.validator == "required":
        for key in [each for each in error.validator_value if each not in value]:
            document.add_problem((*path, key), f"the key is missing (allowed: {_allowed(schema['properties'][key])})")
    elif error.validator == "dependentRequired":
        for key, needed in error.validator_value.items():
            for missing in [each for each in needed if key in value and each not in value]:
                document.add_problem(
                    (*path, missing),
                    f"the key is missing, {key} needs it (allowed: {_allowed(schema['properties'][missing])})",
                )
    elif "propertyNames" in error.absolute_schema_path:
        document.add_problem((*path, value), f"{_describe(value)} {schema['x-not']} (allowed: {schema['x-allowed']})")
    else:
        document.add_problem(path, _mismatch(schema, value, document.written.get(path)))


def _mismatch(schema: Mapping[str, Any], value: Any, written: str | None) -> str:
    kind = schema.get("type")
    if value is None:
        return f"nothing stands here (allowed: {_allowed(schema)})"
    if (
        kind == "string"
        and "pattern" in schema
        and isinstance(value, (bool, int, float))
        and written
        and re.search(schema["pattern"], written)
    ):
        return f"{written} is read as {'' if isinstance(value, bool) else 'the number '}{json.dumps(value)} (allowed: put it in quotes: {json.dumps(written)})"
    if isinstance(kind, str) and isinstance(value, (dict, list)) is not (kind in ("object", "array")):
        return f"{_describe(value)} is not {_TYPE_NAMES[kind]} (allowed: {_allowed(schema)})"
    subject = written if written and not isinstance(value, str) else _describe(value)
    return f"{subject} {schema.get('x-not') or 'is not ' + _TYPE_NAMES[schema['type']]} (allowed: {_allowed(schema)})"


def _allowed(schema: Mapping[str, Any]) -> str:
    """What may stand there, in the schema's own words where it has some."""
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
