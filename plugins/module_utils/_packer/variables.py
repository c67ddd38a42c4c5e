# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Passes variables and secrets to Packer. They are not arguments, because every user of the machine can read those.

A value arrives as it is given, or it is refused before Packer starts.
"""

from __future__ import annotations

import json
import math
import os
import re
import tempfile
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import PackerError

MAX_TEXT = 131072  # bytes of one variable of the environment on Linux, with its name (MAX_ARG_STRLEN in execve(2))
_NAME_OVERHEAD = len("PKR_VAR_=") + 1  # and the NUL at the end
_TYPES = "text, numbers, booleans, null, and lists and mappings of them"
HCL2_SUFFIXES = (".pkr.hcl", ".pkr.json")


def is_hcl2(template: str) -> bool:
    """Return whether a template is HCL2, by Packer's own rule: a folder, or a file with one of two suffixes.

    Any other file is a JSON template.
    """
    return os.path.isdir(template) or template.endswith(HCL2_SUFFIXES)


@dataclass
class PassedVariables:
    """How Packer gets its variables.

    Attributes:
        arguments: for the command line.
        environment: to add to Packer's environment.
        folder: contains the variable file and is private; remove it after the run. '' if there is none.
    """

    arguments: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    folder: str = ""


def pass_variables(template: str, variables: Mapping[str, Any], secrets: Mapping[str, Any]) -> PassedVariables:
    """Write a variable file if one is necessary.

    Plain variables are in the variable file. Secrets are in the environment (``PKR_VAR_name``). JSON templates do not
    support this environment, so their secrets are in the variable file, too.

    Raises:
        PackerError: a name is in both, or a value would not arrive as it is given.
    """
    check_variables(template, variables, secrets)
    passed = PassedVariables()
    in_file = dict(variables)
    if is_hcl2(template):
        passed.environment.update({f"PKR_VAR_{name}": as_text(value) for name, value in secrets.items()})
    else:
        in_file.update(secrets)
        in_file = {name: _legacy_text(name, value) for name, value in in_file.items()}
    if in_file:
        passed.folder = tempfile.mkdtemp(prefix="packer-vars-")  # mode 0700
        path = os.path.join(passed.folder, "vars.pkrvars.json")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump(in_file, file)
        passed.arguments.append(f"-var-file={path}")
    return passed


def check_variables(template: str, variables: Mapping[str, Any], secrets: Mapping[str, Any]) -> None:
    """Raise PackerError if a name is in both, or a value would not arrive as it is given."""
    both = sorted(set(variables) & set(secrets))
    if both:
        raise PackerError(f"in both vars and secrets: {', '.join(both)}; keep each in one of them")
    for name, value in (*variables.items(), *secrets.items()):
        _check_value(name, value, template)
    for name, value in secrets.items():
        _check_length(name, value)


def as_text(value: Any) -> str:
    """Return a string unchanged, and any other value as JSON that is also an HCL expression of the same value.

    HCL lacks some escapes of JSON. In a string, it evaluates ``${`` and ``%{`` unless the first character is escaped.
    """
    if isinstance(value, str):
        return value
    text = json.dumps(value, ensure_ascii=False)
    return re.sub(r"\\.|[$%](?=\{)", lambda found: _HCL_ESCAPES.get(found.group(), found.group()), text)


_HCL_ESCAPES = {"\\b": "\\u0008", "\\f": "\\u000c", "$": "\\u0024", "%": "\\u0025"}


def _check_value(name: str, value: Any, template: str) -> None:
    """Raise PackerError for a value that Packer would change. Its text is not shown, because it may be secret."""
    for part in _parts(name, value):
        problem = _problem(part, is_hcl2(template))
        if problem:
            raise PackerError(f"variable {name}: {problem}")


def _parts(name: str, value: Any) -> Iterator[str]:
    """Yield each text in a value, keys included. Raises PackerError for what JSON does not have."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            if isinstance(key, bool) or not isinstance(key, (str, int)):
                raise PackerError(f"variable {name}: a key is of the type {type(key).__name__} (allowed: text)")
            yield str(key)
            yield from _parts(name, part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _parts(name, part)
    elif isinstance(value, str):
        yield value
    elif isinstance(value, float) and not math.isfinite(value):
        raise PackerError(f"variable {name}: the number {value} is not finite (allowed: {_TYPES})")
    elif not (value is None or isinstance(value, (bool, int, float))):
        raise PackerError(f"variable {name}: its value is of the type {type(value).__name__} (allowed: {_TYPES})")


def _problem(text: str, hcl2: bool) -> str:
    if "{{" in text:
        return (
            "Packer evaluates {{ in the value as a template, some plugins more than once, so it would not arrive as it "
            "is given (allowed: text without {{; write a template expression into the template itself)"
        )
    if "\0" in text:
        return "the value contains NUL, which no environment variable or argument can hold; remove it"
    if any("\ud800" <= char <= "\udfff" for char in text):
        return "the value is not valid Unicode; encode it, for example as Base64"
    if hcl2 and not unicodedata.is_normalized("NFC", text):
        return (
            "HCL2 would change the value to Unicode's form NFC; pass it in that form (filter unicode_normalize of "
            "community.general), or encode it"
        )
    return ""


def _check_length(name: str, value: Any) -> None:
    """Raise PackerError for a secret that the environment cannot hold. Longer ones are not redacted in a log either."""
    limit = MAX_TEXT - _NAME_OVERHEAD - len(name.encode())
    length = len(as_text(value).encode())
    if length > limit:
        raise PackerError(
            f"variable {name}: the secret has {length} bytes (allowed: {limit}, as many as an environment variable "
            "can hold); put it into a file"
        )


def _legacy_text(name: str, value: Any) -> str:
    """The value for a JSON template, which supports only strings. Lists are joined by commas."""
    if isinstance(value, (list, tuple)) and any(isinstance(part, str) and "," in part for part in value):
        raise PackerError(
            f"variable {name}: a JSON template gets a list as one text with commas between its items, and an item "
            "contains a comma (allowed: items without commas, or the text itself)"
        )
    if isinstance(value, (list, tuple)) and not any(isinstance(part, (list, tuple, dict)) for part in value):
        return ",".join(as_text(part) for part in value)
    if value is None or isinstance(value, (list, tuple, dict)):
        raise PackerError(f"variable {name}: a JSON template takes only strings, numbers, booleans and lists of them")
    return as_text(value)
