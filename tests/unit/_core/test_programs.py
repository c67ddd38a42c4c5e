# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""No interpreter and no program that the controller starts comes from a folder that a user's files control."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.programs import (
    child_environment,
    drop_relative_search_paths,
    find_program,
    module_command,
)
from ansible_collections.immutable.infra.tests.support.traps import write_modules


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A folder whose Python modules and programs say that they ran."""
    folder = tmp_path / "trap"
    folder.mkdir()
    witness = tmp_path / "ran"
    write_modules(folder, witness)
    (folder / "immutable-trap").write_text(f"#!/bin/sh\necho program >>{witness}\n")
    (folder / "immutable-trap").chmod(0o755)
    return folder


@pytest.mark.parametrize("module", ["ansible", "pip"])
@pytest.mark.parametrize("path", [None, "", ".", "/nonexistent:", ":/nonexistent"])
def test_a_module_is_never_loaded_from_the_working_folder(
    trap: Path, monkeypatch: pytest.MonkeyPatch, module: str, path: str | None
) -> None:
    pytest.importorskip(module)
    if path is None:
        monkeypatch.delenv("PYTHONPATH", raising=False)
    else:
        monkeypatch.setenv("PYTHONPATH", path)
    words = {"ansible": ["galaxy", "--version"], "pip": ["--version"]}[module]
    done = subprocess.run(
        module_command(module, *words), cwd=trap, env=child_environment(), capture_output=True, text=True, check=False
    )
    assert (done.returncode, (trap.parent / "ran").exists()) == (0, False), done.stderr
    assert done.stdout.startswith(("ansible-galaxy", "pip "))


def test_a_module_gets_its_arguments(tmp_path: Path) -> None:
    (tmp_path / "shown.py").write_text("import sys; print(sys.argv[1:], __name__)\n")
    environment = {**child_environment(), "PYTHONPATH": str(tmp_path)}
    command = module_command("shown", "-x", "a b", "")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "['-x', 'a b', ''] __main__\n"


@pytest.mark.parametrize("path", [".", "", "trap", ":/nonexistent", "./trap"])
def test_a_program_is_never_found_by_a_relative_path(trap: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.chdir(trap if path != "trap" else trap.parent)
    monkeypatch.setenv("PATH", path)
    assert find_program("immutable-trap", [str(trap.parent)]) is None
    assert find_program("immutable-trap", [str(trap)]) == str(trap / "immutable-trap")
    assert all(os.path.isabs(folder) for folder in child_environment()["PATH"].split(os.pathsep))
    drop_relative_search_paths()
    with pytest.raises(FileNotFoundError):
        subprocess.run(["immutable-trap"], check=False)


def test_absolute_paths_and_other_variables_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f".:/usr/bin::{Path(sys.executable).parent}")
    monkeypatch.setenv("PYTHONPATH", "/one::two:/three")
    monkeypatch.setenv("SHOP", ".")
    environment = child_environment(EXTRA="1")
    assert environment["PATH"] == f"/usr/bin:{Path(sys.executable).parent}"
    assert (environment["PYTHONPATH"], environment["SHOP"], environment["EXTRA"]) == ("/one:/three", ".", "1")
    monkeypatch.setenv("PYTHONPATH", ".")
    assert "PYTHONPATH" not in child_environment()
