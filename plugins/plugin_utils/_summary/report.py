# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The summary of a report: where it is, and what is due. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .text import ROWS, wrapped


def report_lines(result: Mapping[str, Any], now: float, width: int) -> list[str]:  # noqa: ARG001  as all summaries
    """Return the summary of a result of ``report``."""
    state = "written" if result["changed"] else "has the same content already"
    due = result["due"]
    lines = [f"{result['dest']} {state} ({max(1, round(result['size'] / 1000))} kB)"]
    if not due:
        return [*lines, "Nothing is due"]
    for each in due[:ROWS]:
        fleet = f"{each['fleet']}: " if each["fleet"] else ""
        lines += wrapped(f"! {fleet}{each['what']} is due{':' if each['why'] else ''}", width)
        lines += [line for reason in each["why"].split("; ") if reason for line in wrapped(f"    {reason}", width)]
    more = len(due) - ROWS
    lines += [f"  and {more} more"] if more > 0 else []
    if any(not each["what"].startswith("sweep") for each in due):
        lines.append("The playbook release bakes, verifies, promotes and swaps what is due.")
    return lines
