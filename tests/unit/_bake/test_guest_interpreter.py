# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import importlib.util
import json
import marshal
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._bake import guest_ansible, guest_interpreter

TOOL = "def path():\n    return path.__code__.co_filename\n"
PROGRAM = """
import json, sys
sys.path.insert(0, {archive!r})
import parts, parts.tool
print(json.dumps([parts.__file__, parts.tool.__file__, parts.tool.path(), sys.argv, globals().get("__file__")]))
"""


@pytest.fixture
def interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The interpreter beside an empty library, as a build machine has it."""
    monkeypatch.setattr(guest_interpreter, "PYTHON", sys.executable)
    path = tmp_path / "lib" / guest_ansible.INTERPRETER
    guest_ansible._add_interpreter(path)
    return path


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "module.zip"
    write_archive(path, TOOL)
    return path


def write_archive(path: Path, tool: str) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("parts/__init__.py", "")
        file.writestr("parts/tool.py", tool)


def run(interpreter: Path, *arguments: object, program: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [interpreter, *map(str, arguments)], input=program, capture_output=True, text=True, check=False
    )


def code_of(interpreter: Path, source: str) -> Path:
    return interpreter.parent / "code" / importlib.util.source_hash(source.encode()).hex()


def byte_code(source: str, code: str) -> bytes:
    """Byte code that claims to belong to a source."""
    head = importlib.util.MAGIC_NUMBER + b"\1\0\0\0" + importlib.util.source_hash(source.encode())
    return head + marshal.dumps(compile(code, "elsewhere.py", "exec"))


def test_a_program_from_the_standard_input_imports_from_its_archive(interpreter: Path, archive: Path) -> None:
    done = run(interpreter, program=PROGRAM.format(archive=str(archive)))
    tool = f"{archive}/parts/tool.py"
    assert json.loads(done.stdout) == [f"{archive}/parts/__init__.py", tool, tool, [""], None], done.stderr


def test_a_program_in_a_file_gets_its_arguments(interpreter: Path, archive: Path, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(archive=str(archive)))
    done = run(interpreter, program, "one")
    assert json.loads(done.stdout)[3:] == [[str(program), "one"], str(program)], done.stderr


def test_options_are_for_python_itself(interpreter: Path) -> None:
    assert run(interpreter, "-c", "import sys; print(sys.executable)").stdout.strip() == sys.executable


def test_the_second_import_does_not_compile(interpreter: Path, archive: Path) -> None:
    program = PROGRAM.format(archive=str(archive))
    run(interpreter, program=program)
    kept = code_of(interpreter, TOOL)
    assert kept.read_bytes()[:4] == importlib.util.MAGIC_NUMBER
    kept.write_bytes(byte_code(TOOL, "def path():\n    return 'from the kept code'\n"))
    assert "from the kept code" in run(interpreter, program=program).stdout


def test_code_that_was_compiled_with_the_library_is_used(interpreter: Path, archive: Path, tmp_path: Path) -> None:
    compiled = Path(importlib.util.cache_from_source(str(tmp_path / "lib" / "parts" / "tool.py")))
    compiled.parent.mkdir(parents=True)
    compiled.write_bytes(byte_code(TOOL, "def path():\n    return 'from the library'\n"))
    assert "from the library" in run(interpreter, program=PROGRAM.format(archive=str(archive))).stdout


@pytest.mark.parametrize("data", [b"", b"garbage" * 9, byte_code("x = 1\n", "def path():\n    return 'other'\n")])
def test_code_of_another_source_or_python_is_not_used(interpreter: Path, archive: Path, data: bytes) -> None:
    code_of(interpreter, TOOL).write_bytes(data)
    done = run(interpreter, program=PROGRAM.format(archive=str(archive)))
    assert json.loads(done.stdout)[2] == f"{archive}/parts/tool.py", done.stderr


def test_a_changed_archive_is_compiled_again(interpreter: Path, archive: Path) -> None:
    program = PROGRAM.format(archive=str(archive))
    run(interpreter, program=program)
    write_archive(archive, "def path():\n    return 'changed'\n")
    assert "changed" in run(interpreter, program=program).stdout


def test_errors_name_the_line_in_the_archive(interpreter: Path, archive: Path) -> None:
    write_archive(archive, "def path():\n    raise ValueError('no path')\n")
    done = run(interpreter, program=PROGRAM.format(archive=str(archive)))
    assert done.returncode == 1
    assert f'File "{archive}/parts/tool.py", line 2, in path' in done.stderr
    assert "ValueError: no path" in done.stderr


def test_where_nothing_can_be_kept_a_module_still_runs(interpreter: Path, archive: Path) -> None:
    (interpreter.parent / "code").rmdir()
    done = run(interpreter, program=PROGRAM.format(archive=str(archive)))
    assert json.loads(done.stdout)[2] == f"{archive}/parts/tool.py", done.stderr


def test_ansible_runs_its_modules_with_it(interpreter: Path, tmp_path: Path) -> None:
    target = tmp_path / "made"
    task = {"ansible.builtin.copy": {"content": "text", "dest": str(target), "mode": "0600"}}
    variables = {"ansible_connection": "local", "ansible_python_interpreter": str(interpreter)}
    play = {"hosts": "localhost", "gather_facts": False, "vars": variables, "tasks": [task, task]}
    (tmp_path / "play.json").write_text(json.dumps([play]))
    environment = {**os.environ, "ANSIBLE_PIPELINING": "true", "ANSIBLE_MODULE_COMPRESSION": "ZIP_STORED"}
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", tmp_path / "play.json"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "ok=2    changed=1" in done.stdout, done.stdout + done.stderr
    assert target.read_text() == "text"
    assert len(list((interpreter.parent / "code").iterdir())) > 10
