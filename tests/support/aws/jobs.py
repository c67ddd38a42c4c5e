# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Jobs as AWX runs them: by ansible-runner, each with an empty disk and a fresh copy of the project.

The artifacts of a job become variables of the next one.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ansible_runner

INVENTORY = "localhost ansible_connection=local ansible_python_interpreter='{{ ansible_playbook_python }}'\n"


@dataclass(frozen=True)
class JobResult:
    """What AWX keeps of one job."""

    status: str  # successful, failed, canceled, ...
    artifacts: Mapping[str, Any]  # by set_stats
    events: tuple[Mapping[str, Any], ...]
    output: str

    @property
    def written(self) -> str:
        """Every event as it is stored on the disk, and the output."""
        return "\n".join([*map(str, self.events), self.output])

    def result(self, task: str) -> Mapping[str, Any]:
        """The result of the last task of that name."""
        found = [
            each["event_data"]["res"]
            for each in self.events
            if each["event_data"].get("task") == task and "res" in each["event_data"]
        ]
        return dict(found[-1])


class Workflow:
    """Jobs that run one after the other.

    Args:
        project: is copied for each job.
        variables: of the workflow's template.
        credentials: the environment variables that its credentials set.
    """

    def __init__(
        self, folder: Path, project: Path, variables: Mapping[str, Any], credentials: Mapping[str, str]
    ) -> None:
        self._folder = folder
        self._project = project
        self._variables = variables
        self._credentials = credentials
        self._number = itertools.count(1)
        self.artifacts: dict[str, Any] = {}  # of all successful jobs, as AWX passes them on

    def run(self, playbook: str, cancelled: Callable[[], bool] | None = None, **survey: Any) -> JobResult:
        """Run a job of the project's ``<playbook>.yml``.

        Args:
            cancelled: is called repeatedly, and returns whether to cancel the job.
            survey: variables of the job.
        """
        disk = self._folder / f"job-{next(self._number)}"
        shutil.copytree(self._project, disk / "project")
        for name in ("home", "inventory"):
            (disk / name).mkdir()
        (disk / "inventory/hosts").write_text(INVENTORY, encoding="utf-8")
        # Not on the disk: ansible-core makes a Unix socket there, and the path of one has at most 107 characters.
        with tempfile.TemporaryDirectory(prefix="job-") as temporary:
            job = ansible_runner.run(
                private_data_dir=str(disk),
                playbook=f"{playbook}.yml",
                envvars={
                    **self._credentials,
                    "HOME": str(disk / "home"),
                    "TMPDIR": temporary,
                    "XDG_CACHE_HOME": str(disk / "home/.cache"),
                },
                extravars={**survey, **self.artifacts, **self._variables},  # in AWX's order
                cancel_callback=cancelled,
                quiet=True,
            )
        events = tuple(job.events)
        artifacts: Mapping[str, Any] = next(
            (each["event_data"].get("artifact_data", {}) for each in events if each["event"] == "playbook_on_stats"), {}
        )
        if job.status == "successful":
            self.artifacts.update(artifacts)
        return JobResult(status=job.status, artifacts=artifacts, events=events, output=job.stdout.read())
