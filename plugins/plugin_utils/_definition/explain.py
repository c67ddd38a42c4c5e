# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""List the inputs that differ between two digests. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .digest import VAULT_KEY

ABSENT = "absent"
_MAX_LENGTH = 60  # characters of a value that are shown


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the differences as a list of ``{"path", "before", "after"}``, sorted by path.

    The path of a file is ``tree:<file>``. An input that one side lacks has the value ``absent`` there.
    """
    left, right = dict(_flatten(before)), dict(_flatten(after))
    return [
        {"path": path, "before": left.get(path, ABSENT), "after": right.get(path, ABSENT)}
        for path in sorted({*left, *right})
        if left.get(path, ABSENT) != right.get(path, ABSENT)
    ]


def explain_lines(differences: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return one line for each difference, such as ``image.vars.port: 8080 -> 9090``."""
    return [f"{change['path']}: {change['before']} -> {change['after']}" for change in differences]


def _flatten(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, part in value.items():
        if key == "tree" and not prefix:
            yield from ((f"tree:{name}", _describe_file(found)) for name, found in part.items())
        elif isinstance(part, Mapping) and part and VAULT_KEY not in part:
            yield from _flatten(part, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _shortened(part)


def _shortened(value: Any) -> str:
    """Return the value as JSON. A long or vaulted value is identified by the start of its checksum."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    if isinstance(value, Mapping) and VAULT_KEY in value:
        return f"vaulted {_checksum(text)}"
    return text if len(text) <= _MAX_LENGTH else f"{text[:_MAX_LENGTH]}... ({_checksum(text)})"


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _describe_file(entry: Mapping[str, Any]) -> str:
    if "link" in entry:
        content = f" ({entry['content'].removeprefix('sha256:')[:12]})" if "content" in entry else ""
        return f"link to {entry['link']}{content}"
    return f"{entry['sha256'][:12]}{' executable' if entry['executable'] else ''}"
