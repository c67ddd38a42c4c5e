# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The summary of a result: a few lines for people, by the name of the module. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...module_utils._bounded import shortened
from ...module_utils._plain_text import plain_line
from .failure import failure_lines
from .fleet import status_lines, swap_lines
from .images import bake_lines, channel_lines, verify_lines
from .plan import plan_lines
from .report import report_lines
from .upkeep import prune_lines, sweep_lines

SUMMARY = "summary"  # key of a result
_Lines = Callable[[Mapping[str, Any], float, int], list[str]]  # of a result, the time and the width


def _fleet_lines(result: Mapping[str, Any], now: float, width: int) -> list[str]:
    return (plan_lines if "plan" in result else swap_lines)(result, now, width)


SUMMARIES: Mapping[str, _Lines] = {
    "channel": channel_lines,
    "fleet": _fleet_lines,
    "fleet_info": status_lines,
    "image": bake_lines,
    "image_prune": prune_lines,
    "image_verify": verify_lines,
    "report": report_lines,
    "sweep": sweep_lines,
}


# Their lines say what was done. The others have lines of their own for check mode.
DONE = ("channel", "image_prune", "report", "sweep")


def with_summary(
    action: str, result: Mapping[str, Any], *, now: float, width: int, check: bool = False
) -> dict[str, Any]:
    """Return the result with its summary: lines of plain text. Modules without a summary keep their result.

    Args:
        action: the name of the module without its collection.
        now: seconds since the epoch.
        width: columns of the terminal.
        check: whether the task ran in check mode.
    """
    if action not in SUMMARIES:
        return dict(result)
    lines = safe_lines(
        lambda: failure_lines(action, result) if result.get("failed") else SUMMARIES[action](result, now, width)
    )
    if check and action in DONE and result.get("changed") and not result.get("failed"):
        lines = [f"{lines[0]} (check mode: not done)", *lines[1:]]
    return {**result, SUMMARY: lines}


def safe_lines(make: Callable[[], list[str]]) -> list[str]:
    """Return lines that are safe to show.

    Parts of a result come from a shared store or from hosts, which others can write. The task has ended all the same,
    so a result of another form gives one line that says so.
    """
    try:
        return plain_lines(make())
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        why = f"{type(error).__name__}: {error}"
        return plain_lines([f"! The result has an unexpected form, so there is no summary ({why})"])


def plain_lines(lines: list[str]) -> list[str]:
    """Return lines that are safe to show. What comes from outside cannot add lines or control a terminal."""
    return [shortened(plain_line(line)) for line in lines]
