# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Name each input that differs between two digests. Pure."""
from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

ABSENT = "absent"


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, Any]]:
    """``[{"path", "before", "after"}]``, sorted by path. A file's path is ``tree:<file>``; what one side lacks is ``absent``."""
    left, right = dict(_flat(before)), dict(_flat(after))
    return [
        {"path": path, "before": left.get(path, ABSENT), "after": right.get(path, ABSENT)}
        for path in sorted({*left, *right})
        if left.get(path, ABSENT) != right.get(path, ABSENT)
    ]


def explain_lines(differences: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line each, such as ``image.vars.port: 8080 -> 9090``."""
    return [f"{each['path']}: {each['before']} -> {each['after']}" for each in differences]


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, part in value.items():
        if prefix == "tree:":
            yield f"tree:{key}", _file(part)
        elif key == "tree" and not prefix:
            yield from _flat(part, "tree:")
        elif isinstance(part, Mapping) and "vaulted" not in part:
            yield from _flat(part, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", "vaulted" if isinstance(part, Mapping) else json.dumps(part)


def _file(entry: Mapping[str, Any]) -> str:
    if "link" in entry:
        return f"link to {entry['link']}"
    return f"{entry['sha256'][:12]}{' executable' if entry['executable'] else ''}"
