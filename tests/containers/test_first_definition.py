# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the playbook ``init`` writes from a few variables bakes, boots and passes its own tests, as it is."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from ansible_collections.immutable.infra.tests.support.machines import PIPED


def play(folder: Path, name: str, **variables: Any) -> str:
    argv = ["ansible-playbook", f"immutable.infra.{name}", "-e", json.dumps(variables)]
    done = subprocess.run(argv, **PIPED, cwd=folder, check=False)
    assert done.returncode == 0, done.stdout
    return str(done.stdout)


def test_a_definition_from_nothing_bakes_and_passes_its_tests(tmp_path: Path, store: Path, base: None) -> None:
    play(
        tmp_path,
        "init",
        immutable_init_folder="files",
        immutable_init_service="files",
        immutable_init_command="/usr/bin/python3 -m http.server --directory /usr/share 8080",
        immutable_init_port="8080",
        immutable_init_user="files",
        immutable_init_data="/srv/files",
    )
    common = {"immutable_definition": "files/immutable.yml", "immutable_store": str(store)}
    play(tmp_path, "bake", **common)
    play(tmp_path, "verify", **common)
