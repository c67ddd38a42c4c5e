# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs tasks of the collection in a real ansible-playbook."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.immutable.infra.plugins.plugin_utils._definition import load as loading

COLLECTIONS = Path(loading.__file__).parents[6]


def run_task(folder: Path, module: str, *flags: str, **options: Any) -> dict[str, Any]:
    """Return the task's result, failed or not.

    Args:
        folder: with the definition and the store.
        flags: of ansible-playbook.
        options: of the module.
    """
    return run_tasks(folder, [(module, options)], *flags)[0]


def run_tasks(folder: Path, calls: list[tuple[str, Mapping[str, Any]]], *flags: str) -> list[dict[str, Any]]:
    """Return the result of each task of one play. A task also runs after another one has failed.

    Starting ansible-playbook takes longer than most tasks, so calls that may follow each other share a run.

    Args:
        folder: with the definition and the store.
        calls: module and options of each task. The option ``check_mode`` is the task's own.
        flags: of ansible-playbook.
    """
    given = {"definition": str(folder), "store": str(folder / "store"), "target": "prod"}
    tasks: list[dict[str, Any]] = []
    for number, (module, options) in enumerate(calls):
        own = {"register": f"result_{number}", "ignore_errors": True}
        arguments = dict(options)
        if "check_mode" in arguments:
            own["check_mode"] = arguments.pop("check_mode")
        tasks.append({f"immutable.infra.{module}": {**given, **arguments}, **own})
    results = ", ".join(f"result_{number}" for number in range(len(calls)))
    output = folder / "results.json"
    output.unlink(missing_ok=True)
    save = {
        "ansible.builtin.copy": {"content": f"{{{{ [{results}] | to_json }}}}", "dest": str(output)},
        "check_mode": False,
        "diff": False,
    }
    play = [{"hosts": "localhost", "gather_facts": False, "tasks": [*tasks, save]}]
    (folder / "play.yml").write_text(json.dumps(play), encoding="utf-8")
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)}
    argv = [
        sys.executable,
        "-m",
        "ansible",
        "playbook",
        "-i",
        "localhost,",
        "-c",
        "local",
        "-e",
        f"ansible_python_interpreter={sys.executable}",
    ]
    done = subprocess.run(
        [*argv, str(folder / "play.yml"), *flags], env=environment, capture_output=True, text=True, check=False
    )
    assert output.exists(), done.stdout + done.stderr
    found: list[dict[str, Any]] = json.loads(output.read_text(encoding="utf-8"))
    return found
