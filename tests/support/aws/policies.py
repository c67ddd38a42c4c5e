# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Statements of IAM policies, and whether they match a request. Pure.

Sources: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html and
reference_policies_condition-logic-multiple-context-keys-or-values.html, reference_policies_variables.html. An
operator that is not here is an error, so that no condition is ignored.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

IF_EXISTS = "IfExists"
VARIABLE = re.compile(r"\$\{([A-Za-z0-9:/_-]+)\}")  # such as ${aws:userid}


@dataclass(frozen=True)
class Request:
    """One action on one resource, as IAM decides it. A call may need several."""

    action: str  # such as ec2:RunInstances
    resource: str  # ARN
    context: Mapping[str, str] = field(default_factory=dict)  # condition keys, such as aws:RequestTag/Project


def matches(statement: Mapping[str, Any], request: Request) -> bool:
    """Whether the statement applies to the request: its action, its resource and all of its conditions."""
    return (
        any(_like(request.action.lower(), pattern.lower()) for pattern in _listed(statement["Action"]))
        and any(
            _like(request.resource, pattern) for pattern in _filled_in(_listed(statement["Resource"]), request.context)
        )
        and all(
            _holds(operator, key, _listed(wanted), request.context)
            for operator, keys in statement.get("Condition", {}).items()
            for key, wanted in keys.items()
        )
    )


def matching(statements: Iterable[Mapping[str, Any]], request: Request) -> list[Mapping[str, Any]]:
    """The statements that apply to the request."""
    return [statement for statement in statements if matches(statement, request)]


def _filled_in(patterns: list[str], context: Mapping[str, str]) -> list[str]:
    """The patterns with the values of their variables. One whose variable has no value matches nothing."""
    present = {name.lower(): text for name, text in context.items()}
    return [
        VARIABLE.sub(lambda found: present[found[1].lower()], pattern)
        for pattern in patterns
        if all(name.lower() in present for name in VARIABLE.findall(pattern))
    ]


def _listed(value: Any) -> list[str]:
    """A value or a list of values, as texts."""
    values = value if isinstance(value, list) else [value]
    return [str(each).lower() if isinstance(each, bool) else str(each) for each in values]


def _like(text: str, pattern: str) -> bool:
    """IAM knows the wildcards * and ?, and no brackets."""
    return fnmatch.fnmatchcase(text, pattern.replace("[", "[[]"))


# By operator: whether one wanted value fits. A negated operator must hold for all of them, and for a missing key.
POSITIVE: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": str.__eq__,
    "StringLike": _like,
    "ArnEquals": _like,
    "ArnLike": _like,
    "Bool": lambda text, wanted: text.lower() == wanted.lower(),
}
NEGATIVE = {"StringNotEquals": "StringEquals", "StringNotLike": "StringLike", "ArnNotLike": "ArnLike"}


def _holds(operator: str, key: str, wanted: list[str], context: Mapping[str, str]) -> bool:
    # Names of condition keys are not case-sensitive. EC2 compares keys of tags exactly, which this does not.
    present = {name.lower(): text for name, text in context.items()}.get(key.lower())
    if operator == "Null":
        return (present is None) is (wanted == ["true"])
    name = operator.removesuffix(IF_EXISTS)
    if name in NEGATIVE:
        return present is None or not any(POSITIVE[NEGATIVE[name]](present, each) for each in wanted)
    if present is None:
        return operator.endswith(IF_EXISTS)
    return any(POSITIVE[name](present, each) for each in wanted)
