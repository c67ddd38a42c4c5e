# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the schema finds wrong, in words for the person who wrote the definition.

The schema says it itself: ``x-not`` completes the sentence that begins with the wrong value, ``x-allowed`` says what would be right.
"""
from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from ..errors import DefinitionError
from .document import Document, suggestion
from .model import Vaulted

try:
    import jsonschema
except ImportError:
    jsonschema = None  # type: ignore[assignment, unused-ignore]  # told when it is needed

SCHEMA = Path(__file__).with_name("schema.json")
_KINDS = {"string": "text", "integer": "a whole number", "number": "a number", "boolean": "true or false", "object": "a mapping", "array": "a list"}


def check_schema(document: Document) -> None:
    """Add a problem for everything that does not fit the schema. Raises DefinitionError where jsonschema is missing."""
    for error in _validator().iter_errors(document.data):
        _tell(document, error)


@functools.lru_cache(maxsize=None)
def _validator() -> Any:
    if jsonschema is None:
        raise DefinitionError("the Python package jsonschema is missing on the controller; install it beside ansible-core (pip install jsonschema)")
    checker = jsonschema.Draft202012Validator.TYPE_CHECKER
    # A vaulted value stands for a text; whole numbers written as 1.0 are not whole numbers here.
    checker = checker.redefine("string", lambda _checker, value: isinstance(value, (str, Vaulted)))
    checker = checker.redefine("integer", lambda _checker, value: isinstance(value, int) and not isinstance(value, bool))
    kind = jsonschema.validators.extend(jsonschema.Draft202012Validator, type_checker=checker)
    return kind(json.loads(SCHEMA.read_text(encoding="utf-8")))


def _tell(document: Document, error: Any) -> None:
    path = tuple(error.absolute_path)
    schema = error.schema
    allowed = schema.get("x-allowed")
    if error.validator == "additionalProperties" and isinstance(error.validator_value, bool):
        known = list(schema["properties"])
        for key in error.instance:
            if key not in known:
                document.problem((*path, key), f"unknown key ({suggestion(key, known)}allowed: {', '.join(known)})")
    elif error.validator == "required":
        for key in error.validator_value:
            if key not in error.instance:
                what = schema["properties"].get(key, {}).get("description", "") if "properties" in schema else ""
                document.problem((*path, key), f"the key is missing{' (' + what[0].lower() + what[1:].rstrip('.') + ')' if what else ''}")
    elif error.validator == "dependentRequired":
        for key, needed in error.validator_value.items():
            missing = [each for each in needed if key in error.instance and each not in error.instance]
            if missing:
                document.problem(path, f"{key} also needs {' and '.join(missing)}")
    elif error.validator == "type":
        document.problem(path, f"{_value(error.instance)} is not {_kinds(error.validator_value)} (allowed: {allowed or _kinds(error.validator_value)}){_hint(error)}")
    else:
        # propertyNames names a key in its instance, and its path is the mapping's.
        key = path if error.validator != "pattern" or "propertyNames" not in error.absolute_schema_path else (*path, error.instance)
        subject = "" if isinstance(error.instance, (dict, list)) else f"{_value(error.instance)} "
        document.problem(key, f"{subject}{schema.get('x-not', 'is not what may stand here')} (allowed: {allowed or error.validator_value})")


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _kinds(kinds: Any) -> str:
    names = [kinds] if isinstance(kinds, str) else kinds
    return " or ".join(_KINDS[name] for name in names)


def _hint(error: Any) -> str:
    wants_text = error.validator_value == "string"
    return "; put it in quotes" if wants_text and isinstance(error.instance, (int, float)) else ""
