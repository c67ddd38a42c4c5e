# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Versions of plugins and version constraints in templates."""

from __future__ import annotations

import re

from .errors import PackerError

_RELEASE = re.compile(r"v?(\d+(?:\.\d+){0,2})$")
_PART = re.compile(r"\s*(=|!=|>|<|>=|<=|~>)?\s*v?(\d+(?:\.\d+){0,2})\s*$")


def release(version: str) -> tuple[int, int, int] | None:
    """Return ``(1, 0, 9)`` for ``1.0.9`` or ``v1.0.9``, and None if it is not a release, such as ``1.0.9-dev``."""
    found = _RELEASE.match(version)
    return _three(found.group(1)) if found else None


def satisfies(version: str, constraint: str) -> bool:
    """Return whether a release satisfies a constraint such as ``>= 1.0.9, < 2``. Every release satisfies an empty one.

    Raises:
        PackerError: the constraint is invalid.
    """
    conditions = [_parse(part, constraint) for part in constraint.split(",")] if constraint.strip() else []
    found = release(version)
    return found is not None and all(_satisfies_one(found, operator, bound) for operator, bound in conditions)


def _parse(part: str, constraint: str) -> tuple[str, str]:
    found = _PART.match(part)
    if not found:
        raise PackerError(
            f"version: {constraint!r} is not a version constraint"
            " (allowed: versions with = != > < >= <= or ~>, such as 1.0.9, >= 1.0.9 or '>= 1.0, < 2')"
        )
    return found.group(1) or "=", found.group(2)


def _satisfies_one(found: tuple[int, int, int], operator: str, text: str) -> bool:
    bound = _three(text)
    if operator == "~>":  # only the last given number may be greater
        fixed = max(text.count("."), 1)
        return found >= bound and found[:fixed] == bound[:fixed]
    return {
        "=": found == bound,
        "!=": found != bound,
        ">": found > bound,
        "<": found < bound,
        ">=": found >= bound,
        "<=": found <= bound,
    }[operator]


def _three(text: str) -> tuple[int, int, int]:
    first, second, third = ([int(number) for number in text.split(".")] + [0, 0])[:3]
    return first, second, third
