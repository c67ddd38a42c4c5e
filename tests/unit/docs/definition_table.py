# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The table in docs/reference/definition.md, generated from the schema. Run this file to print the table."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

SCHEMA = json.loads(
    (Path(__file__).resolve().parents[3] / "plugins/plugin_utils/_definition/schema.json").read_text(encoding="utf-8")
)
DEFAULT = re.compile(r"\s*Default: (.+?)\.?$")
KINDS = {"array": "a list", "boolean": "true, false"}
# Keys with the same structure are documented once, at the most detailed place.
REPEATED = {
    "fleet.canary[].metric": "fleet.alarm",
    "targets.<name>.base": "image.base",
    "targets.<name>.fleet": "fleet",
    "targets.<name>.health": "health",
}


def rows() -> Iterator[dict[str, str]]:
    """Yield a row for each key, in the schema's order. ``needed`` is ``yes`` or empty."""
    yield from _of_mapping(SCHEMA, "")


def table() -> list[str]:
    lines = ["| key | needed | default | allowed | meaning |", "|---|---|---|---|---|"]
    for row in rows():
        default = f"`{row['default']}`" if row["default"] and " " not in row["default"] else row["default"]
        lines.append(f"| `{row['key']}` | {row['needed']} | {default} | {row['allowed']} | {row['meaning']} |")
    return lines


def _of_mapping(node: Mapping[str, Any], prefix: str) -> Iterator[dict[str, str]]:
    for name, part in node.get("properties", {}).items():
        yield from _of_key(f"{prefix}{name}", part, name in node.get("required", ()))
    for pattern, part in node.get("patternProperties", {}).items():
        yield from _of_key(f"{pattern.lstrip('^')}<name>", part, False)
    if isinstance(node.get("additionalProperties"), Mapping):
        yield from _of_key(f"{prefix}<name>", node["additionalProperties"], False)


def _of_key(key: str, part: Mapping[str, Any], needed: bool) -> Iterator[dict[str, str]]:
    node = {**_resolved(part), **part}
    text = node.get("description", "")
    default = DEFAULT.search(text)
    yield {
        "key": key,
        "needed": "yes" if needed else "",
        "default": default[1] if default else "",
        "allowed": REPEATED.get(key)
        and f"as `{REPEATED[key]}`"
        or node.get("x-allowed")
        or KINDS.get(node.get("type"), "a mapping"),
        "meaning": DEFAULT.sub("", text) or "A value.",
    }
    if key in REPEATED:
        return
    yield from _of_mapping(node, f"{key}.")
    items = node.get("items", {})
    if items.get("properties"):
        yield from _of_mapping(items, f"{key}[].")


def _resolved(part: Mapping[str, Any]) -> Mapping[str, Any]:
    return SCHEMA["$defs"][part["$ref"].rpartition("/")[2]] if "$ref" in part else {}


if __name__ == "__main__":
    print("\n".join(table()))  # noqa: T201
