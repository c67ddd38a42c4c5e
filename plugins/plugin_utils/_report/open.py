# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the action that writes a report calls."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .._core.errors import ImmutableError
from .._core.task import Task
from .._definition.ignore import IGNORE_FILE
from .._definition.model import Definition
from .._definition.tree import tree_files
from .._store.base import Store
from .facts import Wanted, report_facts
from .page import page_html
from .view import page_view
from .write import write_page


def write_report(
    definition: Definition, store: Store | None, wanted: Wanted, task: Task, *, dest: Path, mode: int
) -> dict[str, Any]:
    """Write the report of a service. Returns the result of the task.

    Raises ImmutableError for a path that cannot have the report. What cannot be observed is a warning.
    """
    view = page_view(report_facts(definition, store, wanted, task))
    written = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    page = page_html(view, written)
    changed = write_page(dest, page, mode, check=task.check_mode)
    problems = [
        f"{fleet['name']}: {fleet[name]}"
        for fleet in view["fleets"]
        for name in ("problem", "foreseen_problem")
        if fleet[name]
    ]
    problems += [view["image_problem"]] if view["image_problem"] else []
    problems += _input_problem(definition, dest)
    return {
        "changed": changed,
        "dest": str(dest),
        "size": len(page),
        "due": [{name: each[name] for name in ("fleet", "what", "why")} for each in view["due"]],
        **({"warnings": problems} if problems else {}),
    }


def _input_problem(definition: Definition, dest: Path) -> list[str]:
    """Say that the page is one of the files that the bake sends to the build machine, so that a bake is due."""
    try:
        inputs = {(definition.folder / path).resolve() for path in tree_files(definition)}
    except (ImmutableError, OSError):
        return []  # a bake says why
    if not dest.exists() or dest.resolve() not in inputs:
        return []
    return [
        f"{dest} is beside the files of the image, so it is an input of the bake and makes one due. Write the page "
        f"elsewhere, or list it in {definition.folder / IGNORE_FILE}"
    ]
