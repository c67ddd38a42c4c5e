# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tasks of a real Ansible in a real container."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._hosts import connection
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container_engine import ContainerEngine
from ansible_collections.immutable.infra.tests.support.borrowed_root import Container, running
from ansible_collections.immutable.infra.tests.support.engine_store import ENGINE

COLLECTIONS = Path(connection.__file__).parents[6]
Task = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def container(engine: ContainerEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    with running(engine, tmp_path_factory.mktemp("borrowed")) as each:
        yield each


@pytest.fixture
def task(container: Container, store: Path, tmp_path: Path) -> Task:
    """Run one task in the container and return its result."""

    def run(module: str, arguments: str = "", **variables: Any) -> dict[str, Any]:
        host = {
            "ansible_connection": connection.CONTAINER,
            "ansible_host": container.name,
            "immutable_container_folder": str(store / ENGINE),
            "ansible_pipelining": True,
            "ansible_remote_tmp": "/dev/shm",
            "ansible_python_interpreter": "/usr/bin/python3",
            **variables,
        }
        play = {
            "hosts": "shop",
            "gather_facts": False,
            "tasks": [{module: arguments, "register": "done", "ignore_errors": True, "ignore_unreachable": True}],
        }
        play["tasks"].append(
            {
                "ansible.builtin.copy": {"content": "{{ done | to_json }}", "dest": str(tmp_path / "result.json")},
                "delegate_to": "localhost",
                "vars": {"ansible_connection": "ansible.builtin.local", "ansible_python_interpreter": sys.executable},
            }
        )
        (tmp_path / "play.json").write_text(json.dumps([play]), encoding="utf-8")
        (tmp_path / "hosts.json").write_text(json.dumps({"all": {"hosts": {"shop": host}}}), encoding="utf-8")
        argv = [sys.executable, "-m", "ansible", "playbook", "-i", str(tmp_path / "hosts.json")]
        environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)}
        done = subprocess.run(
            [*argv, str(tmp_path / "play.json")], env=environment, capture_output=True, text=True, cwd="/", check=False
        )
        assert (tmp_path / "result.json").exists(), done.stdout + done.stderr
        result: dict[str, Any] = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
        return result

    return run


@pytest.mark.parametrize("pipelining", [True, False])
def test_modules_run_and_return_their_result(task: Task, pipelining: bool) -> None:
    result = task("ansible.builtin.ping", ansible_pipelining=pipelining)
    assert result["ping"] == "pong" and not result["failed"]


def test_the_root_file_system_cannot_be_written(task: Task, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text", encoding="ascii")
    result = task("ansible.builtin.copy", f"src={tmp_path}/file dest=/etc/file")
    assert result["failed"] and "not writable" in result["msg"]


def test_files_are_copied_byte_by_byte(task: Task, tmp_path: Path) -> None:
    data = secrets.token_bytes(5_000_000) + b"\r\n\x04\x1b[0m"
    (tmp_path / "sent file").write_bytes(data)
    sent = task("ansible.builtin.copy", f"src='{tmp_path}/sent file' dest='/dev/shm/a $(file)'")
    assert sent["changed"] and not sent["failed"]
    task("ansible.builtin.fetch", f"src='/dev/shm/a $(file)' dest='{tmp_path}/got' flat=true")
    assert (tmp_path / "got").read_bytes() == data


def test_raw_returns_output_errors_and_code(task: Task) -> None:
    result = task("ansible.builtin.raw", "echo out; echo '\"quoted\" $HOME' >&2; exit 127")
    assert (result["rc"], result["stdout"].strip(), result["stderr"].strip()) == (127, "out", '"quoted" $HOME')


def test_commands_run_as_the_given_user(task: Task) -> None:
    result = task("ansible.builtin.command", "id -u", ansible_user="65534")
    assert result.get("stdout") == "65534", result


def test_without_python_one_message_says_what_works(task: Task) -> None:
    result = task("ansible.builtin.ping", ansible_python_interpreter="/usr/bin/python0")
    assert "has no Python at /usr/bin/python0" in result["msg"] and "ansible.builtin.raw" in result["msg"]
    assert task("ansible.builtin.raw", "echo works")["stdout"].strip() == "works"


def test_what_a_container_prints_in_place_of_python_is_bounded_and_plain(task: Task) -> None:
    """The search took minutes for a hundred kilobytes, and the name went to the terminal as it was."""
    hostile = "/a\x1b]0;taken\x07python: not found"
    printed = f"printf '/python%.0s' $(seq 20000) >&2; printf ' %s' '{hostile}' >&2; exit 127"
    # What Ansible starts as Python reads the module from its standard input.
    result = task("ansible.builtin.ping", ansible_python_interpreter=f"{printed};")
    assert "\x1b" not in result["msg"] and "\x07" not in result["msg"]
    assert "has no Python at /apython" in result["msg"], result


def test_a_missing_and_a_stopped_container_are_unreachable(
    task: Task, container: Container, store: Path, tmp_path: Path
) -> None:
    missing = task("ansible.builtin.ping", ansible_host="shop-9")
    assert missing["unreachable"] and "there is no container shop-9" in missing["msg"]
    with running(container.engine, tmp_path) as other:
        other.engine.run("kill", other.name)
        other.engine.run("wait", other.name)
        stopped = task("ansible.builtin.ping", ansible_host=other.name)
    assert stopped["unreachable"] and f"container {other.name} does not run" in stopped["msg"]


def test_podman_needs_the_folder_of_the_store(task: Task) -> None:
    result = task("ansible.builtin.ping", immutable_container_folder="")
    assert result["unreachable"] and "immutable_container_folder is not set" in result["msg"]
