# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The source of a module is the one that was loaded, whatever has happened to its file since."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.module_utils import _program_source

PROGRAM = 'NAME = "größer"\n'
SHOWN = """
import importlib, sys
from pathlib import Path
{loads}
from {module} import source_of
program = importlib.import_module(sys.argv[1])
{changes}
sys.stdout.buffer.write(source_of(program).encode())
"""
LOADS = "from ansible.plugins.loader import init_plugin_loader; init_plugin_loader()"
CHANGES = {
    "unchanged": "",
    "removed, as while a collection is upgraded": "Path(program.__file__).unlink()",
    "of another release": "Path(program.__file__).write_text('another release')",
}


def shown(name: str, loads: str, changes: str, **environment: str) -> str:
    module = _program_source.__name__
    argv = [sys.executable, "-c", SHOWN.format(loads=loads, module=module, changes=changes), name]
    done = subprocess.run(argv, env={**os.environ, **environment}, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@pytest.mark.parametrize("changes", CHANGES.values(), ids=list(CHANGES))
def test_the_loader_of_ansible_keeps_the_source(tmp_path: Path, changes: str) -> None:
    file = tmp_path / "ansible_collections/example/shop/plugins/module_utils/program.py"
    file.parent.mkdir(parents=True)
    file.write_text(PROGRAM, encoding="utf-8")
    own = Path(_program_source.__file__).parents[5]
    paths = os.pathsep.join([str(tmp_path), str(own)])
    name = "ansible_collections.example.shop.plugins.module_utils.program"
    assert shown(name, LOADS, changes, ANSIBLE_COLLECTIONS_PATH=paths) == PROGRAM


def test_an_archive_has_the_source(tmp_path: Path) -> None:
    """On a managed host, a module and its utilities are in one."""
    with zipfile.ZipFile(tmp_path / "modules.zip", "w") as archive:
        archive.writestr("program.py", PROGRAM)
    paths = os.pathsep.join([str(tmp_path / "modules.zip"), *filter(None, sys.path)])
    assert shown("program", "", "", PYTHONPATH=paths) == PROGRAM


def test_a_module_without_a_source_is_an_error() -> None:
    with pytest.raises(ImportError, match="the source of sys is not available"):
        _program_source.source_of(sys)
