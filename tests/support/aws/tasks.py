# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One task of the collection by a real ansible-playbook, and what it returned."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from ansible_collections.immutable.infra.plugins.plugin_utils._definition import load as loading

COLLECTIONS = Path(loading.__file__).parents[6]


def run_task(place: Path, module: str, *flags: str, **options: Any) -> dict[str, Any]:
    """Its result, failed or not. ``place``: a folder with a definition and a store; ``flags``: of ansible-playbook."""
    task = {
        f"immutable.infra.{module}": {
            "definition": str(place),
            "store": str(place / "store"),
            "target": "prod",
            **options,
        },
        "register": "told",
    }
    kept = {
        "ansible.builtin.copy": {"content": "{{ told | to_json }}", "dest": str(place / "told.json")},
        "check_mode": False,
        "diff": False,
    }
    book = [{"hosts": "localhost", "gather_facts": False, "tasks": [{**task, "ignore_errors": True}, kept]}]
    (place / "play.yml").write_text(json.dumps(book), encoding="utf-8")
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
        [*argv, str(place / "play.yml"), *flags], env=environment, capture_output=True, text=True, check=False
    )
    assert (place / "told.json").exists(), done.stdout + done.stderr
    told: dict[str, Any] = json.loads((place / "told.json").read_text(encoding="utf-8"))
    return told
