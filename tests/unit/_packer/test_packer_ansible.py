# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module in a real ansible-playbook that is killed or whose task times out."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.module_utils import _supervised as supervised

BOUND = 300.0  # seconds after which a test that waits for an event gives up
PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")
# From .../ansible_collections/immutable/infra/plugins/module_utils/_supervised.py as imported, without resolving links.
ROOT = Path(supervised.__file__).parents[5]
SLOW = {
    "builders": [{"type": "null", "name": "slow", "communicator": "none"}],
    # The script and the shell that starts it ignore the interrupt, so that Packer itself ends them.
    "provisioners": [
        {
            "type": "shell-local",
            "execute_command": ["/bin/sh", "-c", "trap '' INT; {{.Vars}} {{.Script}}"],
            "inline": ['echo $$ > "{{template_dir}}/pid"', "exec sleep 300"],
        }
    ],
}


def kill_alone(play: subprocess.Popen[bytes]) -> None:
    play.kill()


def kill_group(play: subprocess.Popen[bytes]) -> None:
    os.killpg(play.pid, signal.SIGKILL)


def terminate(play: subprocess.Popen[bytes]) -> None:
    play.terminate()


def time_out(play: subprocess.Popen[bytes]) -> None:
    """The alarm of the task keyword ``timeout`` goes off at once."""
    for worker in Path(f"/proc/{play.pid}/task/{play.pid}/children").read_text().split():
        os.kill(int(worker), signal.SIGALRM)


@pytest.mark.skipif(
    not shutil.which("packer") or not PLAYBOOK.exists() or not hasattr(os, "pidfd_open"),
    reason="needs packer, ansible-playbook and pidfd",
)
@pytest.mark.parametrize("end", [kill_alone, kill_group, terminate, time_out])
def test_packer_ends_with_the_task(end: Callable[[subprocess.Popen[bytes]], None], tmp_path: Path) -> None:
    (tmp_path / "slow.json").write_text(json.dumps(SLOW))
    os.mkfifo(tmp_path / "pid")
    log = tmp_path / "packer.log"
    task: dict[str, object] = {"immutable.infra.packer_build": {"template": str(tmp_path / "slow.json")}}
    if end is time_out:
        task["timeout"] = 300
    (tmp_path / "play.yml").write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": [task]}]))
    command = [
        str(PLAYBOOK),
        "-i",
        "localhost,",
        "-c",
        "local",
        "-e",
        f"ansible_python_interpreter={sys.executable}",
        str(tmp_path / "play.yml"),
    ]
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT), "PACKER_LOG": "1", "PACKER_LOG_PATH": str(log)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as play:
        shell = int(_read(tmp_path / "pid"))
        watched = [os.pidfd_open(pid) for pid in (shell, os.getpgid(shell))]
        end(play)
        for pidfd in watched:
            assert select.select([pidfd], [], [], BOUND)[0], "the process still runs"
            os.close(pidfd)
    assert "Cleanly cancelled builds" in log.read_text(), log.read_text()


def _read(fifo: Path) -> str:
    descriptor = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert select.select([descriptor], [], [], BOUND)[0], "packer never started"
        return os.read(descriptor, 100).decode()
    finally:
        os.close(descriptor)
