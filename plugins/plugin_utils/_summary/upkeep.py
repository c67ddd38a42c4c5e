# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The summaries of what removes leftovers: orphans, and images that nothing needs. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .text import ROWS, age, counted, duration, table


def sweep_lines(result: Mapping[str, Any], now: float, width: int) -> list[str]:  # noqa: ARG001  as all summaries
    """Return the summary of a result of ``sweep``."""
    found, removed = result["orphans"], result["removed"]
    if not found:
        return ["No orphans"]
    gone = {(each["kind"], each["id"]) for each in removed}
    rows = [("", "kind", "id", "of", "age", "why")]
    for each in found[:ROWS]:
        owner = each.get("fleet") or each.get("bake") or each.get("place") or ""
        old = "" if each.get("age") is None else duration(each["age"])
        rows.append(
            ("-" if (each["kind"], each["id"]) in gone else "", each["kind"], each["id"], owner, old, each["why"])
        )
    left = [each for each in found if (each["kind"], each["id"]) not in gone]
    lines = [f"{counted(len(found), 'orphan')}, {len(removed)} removed", *table(rows, width), *_more(found)]
    if any(each["kind"] != "volume" for each in left):
        lines.append("To remove them: state absent (of the playbook: -e immutable_sweep_state=absent).")
    if any(each["kind"] == "volume" for each in left):
        lines.append("A data volume is removed only if you name it in volumes.")
    return lines


def prune_lines(result: Mapping[str, Any], now: float, width: int) -> list[str]:
    """Return the summary of a result of ``image_prune``. ``now``: seconds since the epoch."""
    kept, removed, copies = result["kept"], result["removed"], result.get("copies") or []
    rows = [("", "image", "build", "age", "why")]
    every = [*(("-", each) for each in removed), *(("", each) for each in kept)]
    for sign, each in every[:ROWS]:
        rows.append((sign, each["name"], each["build"], age(each["created"], now), "; ".join(each["why"])))
    lines = [f"{counted(len(removed), 'image')} removed, {len(kept)} kept"]
    lines += table(rows, width) if every else []
    lines += _more(every)
    return [*lines, f"{len(copies)} of the engine's copies removed"] if copies else lines


def _more(entries: Sequence[object]) -> list[str]:
    return [f"  and {len(entries) - ROWS} more"] if len(entries) > ROWS else []
