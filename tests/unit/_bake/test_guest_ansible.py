# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._bake import guest_ansible as module
from ansible_collections.immutable.infra.plugins.plugin_utils._bake import wheel_hashes
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
        self.hashed: list[str] = []  # lines of the requirements files

    def __call__(self, argv: list[str], **options: Any) -> Any:
        if "pip" not in argv:
            return REAL(argv, **options)  # pylint: disable=subprocess-run-check  # the caller sets check
        self.calls.append(argv)
        if "--requirement" in argv:
            self.hashed += Path(argv[argv.index("--requirement") + 1]).read_text().splitlines()
        folder = Path(argv[argv.index("--dest") + 1])
        folder.mkdir(exist_ok=True)
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
    assert {"cp312", "manylinux2014_x86_64", "--only-binary=:all:", "--require-hashes"} <= set(argv)
    assert pip.hashed[0].startswith(f"ansible-core{module.CORES['3.12']} --hash=sha256:")


def test_wheels_are_downloaded_once_and_pruned(store: FileStore, pip: Pip) -> None:
    folder = module.guest_ansible(store, python=CONTROLLER_PYTHON, architecture="x86_64", core="==2.19.5")
    assert module.guest_ansible(store, python=CONTROLLER_PYTHON, architecture="x86_64", core="==2.19.5") == folder
    # One call for the dependencies, whose hashes are known, and one for the version of the user's choice.
    assert [argv[-1] for argv in pip.calls if "--require-hashes" not in argv] == ["ansible-core==2.19.5"]
    assert len(pip.calls) == 2 and len(pip.hashed) == len(module.DEPENDENCIES)
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
    assert {path.parent.parent.name for path in compiled} == {"cli", "modules"}
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


@pytest.mark.parametrize("architecture", ["x86_64", "aarch64"])
@pytest.mark.parametrize("python", module.CORES)
def test_every_download_for_a_supported_guest_is_pinned_by_its_hash(python: str, architecture: str) -> None:
    requirements = (f"ansible-core{module.CORES[python]}", *module.dependencies(python))
    hashes = [wheel_hashes.hash_of(each, python, architecture) for each in requirements]
    assert all(each and re.fullmatch("[0-9a-f]{64}", each) for each in hashes)
    assert len(set(hashes)) == len(hashes)


def test_no_hash_is_recorded_for_two_wheels() -> None:
    hashes = [each for known in wheel_hashes.HASHES.values() for each in known.values()]
    assert len(set(hashes)) == len(hashes)


def test_another_file_of_the_same_version_is_refused(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the real pip and an index of one folder."""
    wheels = store.root / "index"
    wheels.mkdir()
    with zipfile.ZipFile(wheels / "ansible_core-2.19.4-py3-none-any.whl", "w") as wheel:
        wheel.writestr(
            "ansible_core-2.19.4.dist-info/METADATA", "Metadata-Version: 2.1\nName: ansible-core\nVersion: 2.19.4\n"
        )
        wheel.writestr("ansible_core-2.19.4.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("ansible_core-2.19.4.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setattr(module, "DEPENDENCIES", ())
    got = hashlib.sha256((wheels / "ansible_core-2.19.4-py3-none-any.whl").read_bytes()).hexdigest()
    with pytest.raises(BakeError, match=rf"another file of ansible-core==2\.19\.4 than .* got {got}; use an index"):
        module.guest_ansible(store, python="3.11", architecture="x86_64")
    assert not list(store.local_path("cache/ansible").iterdir()), "nothing is left"
