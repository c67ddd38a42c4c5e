# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs one task of the collection in a real ansible-playbook."""

from __future__ import annotations

import json
import os
import subprocess
import sys
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
    task = {
        f"immutable.infra.{module}": {
            "definition": str(folder),
            "store": str(folder / "store"),
            "target": "prod",
            **options,
        },
        "register": "result",
    }
    save = {
        "ansible.builtin.copy": {"content": "{{ result | to_json }}", "dest": str(folder / "result.json")},
        "check_mode": False,
        "diff": False,
    }
    play = [{"hosts": "localhost", "gather_facts": False, "tasks": [{**task, "ignore_errors": True}, save]}]
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
    assert (folder / "result.json").exists(), done.stdout + done.stderr
    result: dict[str, Any] = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return result
