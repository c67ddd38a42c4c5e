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
from ansible_collections.immutable.infra.plugins.plugin_utils._bake import guest_ansible as room
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import BakeError
from ansible_collections.immutable.infra.plugins.plugin_utils._store.file import FileStore

OURS = f"{sys.version_info[0]}.{sys.version_info[1]}"
CONTENT = {
    "ansible/cli/playbook.py": "x = 1\n",
    "ansible/modules/copy.py": "x = 1\n",
    "ansible/galaxy/api.py": "",
    "ansible_test/runner.py": "",
    "yaml/_yaml.pyx": "",
}


class Pip:
    """Notes what it is asked for and downloads one small wheel."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def __call__(self, argv: list[str], **options: Any) -> Any:
        if "pip" not in argv:
            return REAL(argv, **options)  # pylint: disable=subprocess-run-check  # the caller says it
        self.asked.append(argv)
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
    monkeypatch.setattr(room.subprocess, "run", pip)
    return pip


def test_the_guests_python_and_machine_choose_the_wheels(store: FileStore, pip: Pip) -> None:
    room.guest_ansible(store, "3.12", "x86_64")
    [argv] = pip.asked
    assert argv[argv.index("--python-version") + 1] == "3.12"
    assert {"cp312", "manylinux2014_x86_64", "--only-binary=:all:", f"ansible-core{room.CORES['3.12']}"} <= set(argv)


def test_they_are_fetched_once_and_pruned(store: FileStore, pip: Pip) -> None:
    folder = room.guest_ansible(store, OURS, "x86_64", "==2.19.4")
    assert room.guest_ansible(store, OURS, "x86_64", "==2.19.4") == folder
    assert len(pip.asked) == 1
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*.py*") if path.is_file()}
    assert {name for name in found if name.endswith((".py", ".pyx"))} == {
        "ansible/cli/playbook.py",
        "ansible/modules/copy.py",
    }


def test_byte_code_comes_along_where_the_guest_can_use_it(
    store: FileStore, pip: Pip, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = room.guest_ansible(store, OURS, "x86_64", "==2.19.4")
    compiled = list(folder.rglob("*.pyc"))
    assert [path.parent.parent.name for path in compiled] == ["cli"]
    # Bit 0 says that it is found by hash, bit 1 that the hash is checked: time stamps change on the way.
    assert compiled[0].read_bytes()[4:8] == b"\x01\0\0\0"
    monkeypatch.setattr(room.shutil, "which", lambda name: None)
    assert not list(room.guest_ansible(store, "3.99", "x86_64", "==2.19.4").rglob("*.pyc"))


def test_what_pip_says_is_passed_on(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    said = SimpleNamespace(
        returncode=1, stderr="WARNING: slow\nERROR: No matching distribution found for ansible-core==9\n"
    )
    monkeypatch.setattr(room.subprocess, "run", lambda *a, **k: said)
    with pytest.raises(
        BakeError, match="pip cannot fetch ansible-core==9 for the guest's Python 3.11: ERROR: No matching distribution"
    ):
        room.guest_ansible(store, "3.11", "x86_64", "==9")
    with pytest.raises(
        BakeError, match=r"no ansible-core is known for a guest with Python 3.4 .* set provision.ansible_core"
    ):
        room.guest_ansible(store, "3.4", "x86_64")
