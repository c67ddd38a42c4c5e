# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run a user's playbook in a child ansible-playbook, with the same interpreter, configuration and vault passwords."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from ...module_utils._bounded import shortened
from ...module_utils._supervised import Supervised
from .._core.documents import parse_json
from .._core.errors import AbandonedError, ImmutableError, VerifyError
from .._core.files import write_atomically
from .._core.programs import ansible_config, child_environment, module_command
from .._core.progress import Report
from .._core.untrusted import untrusted_json
from .vault_passwords import VaultPassword, passed_passwords, without_vault_settings

CALLBACK = "immutable.infra.failed_tasks"
MAX_FAILED_TASKS = 100  # of a playbook, in the details of its error


@dataclass(frozen=True)
class PlaybookRun:
    """Runs playbooks the way that ansible-playbook itself was called."""

    vault: tuple[VaultPassword, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    callbacks: Sequence[str] = ()  # that the user enabled
    what: str = "the verify playbook"  # what messages call the playbook, before the name of its file
    error: type[ImmutableError] = VerifyError
    meanwhile: Callable[[], None] | None = None  # called about once a second; an exception terminates the playbook

    def __call__(
        self,
        playbook: Path,
        inventory: Mapping[str, Any],
        *,
        workdir: Path,
        timeout: float,
        report: Report,
        variables: Mapping[str, Any] | None = None,
    ) -> None:
        """Run a playbook to its end. Reports each line of its output at once.

        Args:
            inventory: the content of a YAML inventory. No text in it is taken for a template.
            workdir: an existing private folder for the inventory and other files of the run.
            timeout: seconds after which the playbook is terminated.
            variables: extra variables. No text in them is taken for a template.

        Raises ``error``, with ``failed_tasks`` and ``last_lines`` as details; AbandonedError.
        """
        hosts, failures, extra = workdir / "inventory.json", workdir / "failed-tasks.jsonl", workdir / "variables.json"
        write_atomically(hosts, untrusted_json(inventory))
        argv = module_command("ansible", "playbook", "-i", str(hosts))
        if variables:
            write_atomically(extra, untrusted_json(variables))
            argv += ["-e", f"@{extra}"]
        environment = self._environment(failures, workdir)
        last: list[str] = []
        with (
            passed_passwords(self.vault) as passed,
            Supervised(
                [*argv, *passed.arguments, str(playbook)],
                env={**environment, **passed.environment},
                cwd=str(playbook.parent),
                grace=10.0,
                meanwhile=self.meanwhile,
                inherit=passed.descriptors,
            ) as child,
        ):
            for line in child.lines(timeout):
                if line.strip():
                    report(f"  {line}")
                    last = [*last[-19:], shortened(line)]
            code = child.wait()
        if child.stopped_for == "abandoned":
            raise AbandonedError(
                f"the controlling ansible-playbook is gone: {self.what} {playbook.name} was terminated "
                "(run again to resume)"
            )
        if child.stopped_for == "timeout":
            raise self.error(f"{self.what} {playbook.name} did not end within {timeout:.0f} s", last_lines=last)
        if code != 0:
            failed = _read(failures)
            raise self.error(
                f"{self.what} {playbook.name} failed: {_summary(failed, last)}", failed_tasks=failed, last_lines=last
            )

    def _environment(self, failures: Path, workdir: Path) -> dict[str, str]:
        """The child's environment, without passwords."""
        environment = {
            **without_vault_settings(child_environment()),
            **self.environment,
            "IMMUTABLE_FAILED_TASKS": str(failures),
            "PYTHONUNBUFFERED": "1",
            # The user's own settings may leave these out.
            "ANSIBLE_INVENTORY_ENABLED": "ansible.builtin.yaml",
            "ANSIBLE_INVENTORY_PLUGIN_EXTS": ".json",
            # A check runs whole. With tags for other playbooks it would run nothing and pass.
            "ANSIBLE_RUN_TAGS": "all",
            "ANSIBLE_SKIP_TAGS": "",
            "ANSIBLE_FORCE_COLOR": "0",
        }
        environment["ANSIBLE_CONFIG"] = ansible_config(environment.get("ANSIBLE_CONFIG"), workdir)
        environment["ANSIBLE_CALLBACKS_ENABLED"] = ",".join([*self.callbacks, CALLBACK])
        return environment


def _read(path: Path) -> list[dict[str, Any]]:
    """The first failed tasks."""
    if not path.exists():
        return []
    tasks = []
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in islice(file, MAX_FAILED_TASKS):
            with suppress(ValueError):  # a killed playbook may leave half a line
                tasks.append(parse_json(line))
    return tasks


def _summary(failed: Sequence[Mapping[str, Any]], last: Sequence[str]) -> str:
    if failed:
        return "; ".join(f"task {task['task']!r} ({task['path']}): {task['message']}" for task in failed[:3])
    return " / ".join(last[-3:]) or "it printed nothing"
