# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The summary of a task that failed: what failed, why, what the state is, and what to do. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .text import slots

_MESSAGE = 25  # lines of a message, such as the end of a console, that are shown
STAY = "the playbook rollback returns the channel to it"
_CONSOLE = 10  # lines of each console


def failure_lines(action: str, result: Mapping[str, Any]) -> list[str]:
    """Return the summary of a failed result. ``action``: the name of the module without its collection."""
    first, *rest = str(result.get("msg") or "it gave no reason").splitlines() or [""]
    if len(rest) > _MESSAGE:
        rest = [f"  ({len(rest) - _MESSAGE} lines left out)", *rest[-_MESSAGE:]]
    lines = [f"! {first}", *rest]
    lines += [f"  | {line}" for line in (result.get("console") or ())[-_CONSOLE:]]
    for slot, console in sorted((result.get("consoles") or {}).items()):
        lines += [f"The last lines of the console of test host {slot}:"] if console else []
        lines += [f"  | {line}" for line in console[-_CONSOLE:]]
    return [*lines, *_state(result), *_advice(action, result)]


def _state(result: Mapping[str, Any]) -> list[str]:
    """Say what a fleet runs after the failure."""
    if "instances" not in result or "size" not in result:
        return []
    serving = [each for each in result["instances"] if each["serving"]]
    images: dict[str, list[int]] = {}
    for each in serving:
        images.setdefault(each["image_name"] or "an unknown image", []).append(each["slot"])
    runs = "; ".join(f"{slots(where)} on {name}" for name, where in sorted(images.items()))
    return [f"Now {len(serving)} of {result['size']} in service{f': {runs}' if runs else ''}"]


def _advice(action: str, result: Mapping[str, Any]) -> list[str]:
    if action == "fleet" and result.get("reason"):
        return [
            "To go forward: fix the cause, give the service a new version, and release it.",
            f"To stay on the old version: {STAY}. Otherwise the next swap tries the new one again.",
        ]
    if action == "fleet" and result.get("timeline"):
        return ["The swap is not finished. Fix the cause and swap again: the next run resumes it."]
    if action == "image":
        return ["No image was recorded. Fix the cause and bake again."]
    if action == "image_verify":
        return ["The image stays unverified, so it cannot be promoted. Fix the cause and release again."]
    return []
