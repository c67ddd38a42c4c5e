# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._bake import guest_ansible as module
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import BakeError
from ansible_collections.immutable.infra.plugins.plugin_utils._store.file import FileStore

CONTROLLER_PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
CONTENT = {
    "ansible/cli/playbook.py": "x = 1\n",
    "ansible/modules/copy.py": "x = 1\n",
    "ansible/galaxy/api.py": "",
    "ansible_test/runner.py": "",
    "yaml/_yaml.pyx": "",
}


class Pip:
    """Records its calls and downloads one small wheel."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def __call__(self, argv: list[str], **options: Any) -> Any:
        if "pip" not in argv:
            return REAL(argv, **options)  # pylint: disable=subprocess-run-check  # the caller sets check
        self.calls.append(argv)
        folder = Path(argv[argv.index("--dest") + 1])
        folder.mkdir()
        with zipfile.ZipFile(folder / "ansible_core-1-py3-none-any.whl", "w") as wheel:
            for name, text in CONTENT.items():
                wheel.writestr(name, text)
        return SimpleNamespace(returncode=0, stderr="")


REAL = subprocess.run


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> Pip:
    pip = Pip()
    monkeypatch.setattr(module, "run_to_end", pip)
    monkeypatch.setattr(module.subprocess, "run", pip)
    return pip


def test_the_guests_python_and_architecture_select_the_wheels(store: FileStore, pip: Pip) -> None:
    module.guest_ansible(store, python="3.12", architecture="x86_64")
    [argv] = pip.calls
    assert argv[argv.index("--python-version") + 1] == "3.12"
    assert {"cp312", "manylinux2014_x86_64", "--only-binary=:all:", f"ansible-core{module.CORES['3.12']}"} <= set(argv)


def test_wheels_are_downloaded_once_and_pruned(store: FileStore, pip: Pip) -> None:
    folder = module.guest_ansible(store, python=CONTROLLER_PYTHON, architecture="x86_64", core="==2.19.4")
    assert module.guest_ansible(store, python=CONTROLLER_PYTHON, architecture="x86_64", core="==2.19.4") == folder
    assert len(pip.calls) == 1
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*.py*") if path.is_file()}
    assert {name for name in found if name.endswith((".py", ".pyx"))} == {
        "ansible/cli/playbook.py",
        "ansible/modules/copy.py",
    }


def test_byte_code_is_included_if_the_guest_can_use_it(
    store: FileStore, pip: Pip, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = module.guest_ansible(store, python=CONTROLLER_PYTHON, architecture="x86_64", core="==2.19.4")
    compiled = list(folder.rglob("*.pyc"))
    assert [path.parent.parent.name for path in compiled] == ["cli"]
    # Bit 0: validated by hash instead of time stamp, because time stamps change on the way. Bit 1: the hash is checked.
    assert compiled[0].read_bytes()[4:8] == b"\x01\0\0\0"
    monkeypatch.setattr(module, "find_program", lambda name: None)
    assert not list(module.guest_ansible(store, python="3.99", architecture="x86_64", core="==2.19.4").rglob("*.pyc"))


def test_the_error_of_pip_is_in_the_message(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    failure = SimpleNamespace(
        returncode=1, stderr="WARNING: slow\nERROR: No matching distribution found for ansible-core==9\n"
    )
    monkeypatch.setattr(module, "run_to_end", lambda *a, **k: failure)
    with pytest.raises(
        BakeError,
        match="pip cannot download ansible-core==9 for the guest's Python 3.11: ERROR: No matching distribution",
    ):
        module.guest_ansible(store, python="3.11", architecture="x86_64", core="==9")
    with pytest.raises(
        BakeError,
        match=r"no version of ansible-core is pinned for a guest with Python 3.4 .* set provision.ansible_core",
    ):
        module.guest_ansible(store, python="3.4", architecture="x86_64")
