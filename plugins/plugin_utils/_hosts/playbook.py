# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run a user's playbook as a child ansible-playbook: same interpreter, the user's configuration and vault ids."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...module_utils._supervised import Supervised
from .._core.errors import AbandonedError, ImmutableError, VerifyError
from .._core.files import write_atomically
from .._core.progress import Report

CALLBACK = "immutable.infra.failed_tasks"


@dataclass(frozen=True)
class PlaybookRun:
    """How to run playbooks here; made by the action from what ansible-playbook itself was called with."""

    vault_arguments: tuple[str, ...] = ()  # --vault-id ... as the user gave them
    environment: Mapping[str, str] = field(default_factory=dict)
    what: str = "the verify playbook"  # for messages, before the file's name
    error: type[ImmutableError] = VerifyError
    meanwhile: Callable[[], None] | None = None  # called about once a second; what it raises ends the playbook

    def __call__(
        self,
        playbook: Path,
        inventory: Mapping[str, Any],
        workdir: Path,
        timeout: float,
        report: Report,
        variables: Mapping[str, Any] | None = None,
    ) -> None:
        """Run it to its end, each line reported as it comes.

        Args:
            inventory: as of a YAML inventory.
            workdir: an existing private folder for the inventory and the like.
            timeout: seconds, after which it is ended.
            variables: extra variables.

        Raises ``error`` with the failed tasks in ``failed_tasks``; AbandonedError.
        """
        hosts, failures, extra = workdir / "inventory.json", workdir / "failed-tasks.jsonl", workdir / "variables.json"
        write_atomically(hosts, json.dumps(inventory).encode())
        argv = [sys.executable, "-m", "ansible", "playbook", "-i", str(hosts), *self.vault_arguments, str(playbook)]
        if variables:
            write_atomically(extra, json.dumps(variables).encode())
            argv[-1:-1] = ["-e", f"@{extra}"]
        environment = {
            **os.environ,
            **self.environment,
            "IMMUTABLE_FAILED_TASKS": str(failures),
            "PYTHONUNBUFFERED": "1",
            "ANSIBLE_FORCE_COLOR": "0",
        }
        enabled = [name for name in os.environ.get("ANSIBLE_CALLBACKS_ENABLED", "").split(",") if name]
        environment["ANSIBLE_CALLBACKS_ENABLED"] = ",".join([*enabled, CALLBACK])
        last: list[str] = []
        with Supervised(argv, env=environment, cwd=str(playbook.parent), grace=10.0, meanwhile=self.meanwhile) as child:
            for line in child.lines(timeout):
                if line.strip():
                    report(f"  {line}")
                    last = [*last[-19:], line]
            code = child.wait()
        if child.stopped_for == "abandoned":
            raise AbandonedError(
                f"the controlling ansible-playbook is gone: {self.what} {playbook.name} was ended (run again to go on)"
            )
        if child.stopped_for == "timeout":
            raise self.error(f"{self.what} {playbook.name} did not end within {timeout:.0f} s", last_lines=last)
        if code != 0:
            failed = _read(failures)
            raise self.error(
                f"{self.what} {playbook.name} failed: {_summary(failed, last)}", failed_tasks=failed, last_lines=last
            )


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    tasks = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with suppress(ValueError):  # a playbook that was killed may leave half a line
            tasks.append(json.loads(line))
    return tasks


def _summary(failed: Sequence[Mapping[str, Any]], last: Sequence[str]) -> str:
    if failed:
        return "; ".join(f"task {task['task']!r} ({task['path']}): {task['message']}" for task in failed[:3])
    return " / ".join(last[-3:]) or "it said nothing"
