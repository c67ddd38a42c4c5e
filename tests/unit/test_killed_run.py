# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""No process of a test outlives a killed run of pytest, or of what runs pytest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.tests.support import reaper
from ansible_collections.immutable.infra.tests.support.killed_run import assert_they_end, kill_once_reported, listening

CONFTEST = "from ansible_collections.immutable.infra.tests.conftest import *\n"
TEST = """
import json, os, socket, subprocess, sys, threading
from ansible_collections.immutable.infra.tests.support.aws.server import moto

def test_it_waits_to_be_killed(cloud):
    with moto() as server:
        forever = "import threading; threading.Event().wait()"
        stranger = subprocess.Popen([sys.executable, "-c", forever], start_new_session=True)
        with socket.create_connection(("127.0.0.1", PORT)) as outside:
            outside.sendall(json.dumps([os.getpid(), server.pid, stranger.pid]).encode())
            threading.Event().wait()
"""
SOAKED = """
import os, socket, threading

def test_it_waits_to_be_killed():
    with socket.create_connection(("127.0.0.1", PORT)) as outside:
        outside.sendall(str([os.getpid()]).encode())
        threading.Event().wait()
"""


@pytest.mark.parametrize("workers", ["0", "1"])
def test_what_a_test_started_ends_with_its_run(tmp_path: Path, workers: str) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-n",
        workers,
        "--import-mode=importlib",
        "-p",
        "no:cacheprovider",
        str(tmp_path),
    ]
    with listening() as inside:
        (tmp_path / "test_it.py").write_text(TEST.replace("PORT", str(inside.getsockname()[1])), encoding="utf-8")
        started = kill_once_reported(inside, command, cwd=tmp_path, env=environment)
    assert len(started) == (2 if workers == "0" else 3)
    assert_they_end(started)


@pytest.mark.parametrize("tool", ["soak", "fuzz"])
def test_what_a_soak_started_ends_with_it(tmp_path: Path, tool: str) -> None:
    profile = "from hypothesis import settings\nsettings.register_profile('soak')\n"
    (tmp_path / "conftest.py").write_text(profile, encoding="utf-8")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; import hypothesis_run\n"
        f"import {tool}; hypothesis_run.ROOT = Path(sys.argv[2]); {tool}.TESTS = ['test_it.py']; {tool}.main()"
    )
    with listening() as inside:
        (tmp_path / "test_it.py").write_text(SOAKED.replace("PORT", str(inside.getsockname()[1])), encoding="utf-8")
        command = [sys.executable, "-c", code, str(Path(__file__).parents[1] / "tools"), str(tmp_path)]
        started = kill_once_reported(inside, command)
    assert len(started) == 1
    assert_they_end(started)


def test_a_run_inside_a_run_has_a_mark_of_its_own() -> None:
    outer = os.environ[reaper.VARIABLE].split()
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[1]); import reaper; reaper.reap(); print(os.environ[sys.argv[2]])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(Path(reaper.__file__).parent), reaper.VARIABLE],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split()[:-1] == outer and len(done.stdout.split()) == len(outer) + 1
