# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What continuous integration runs: no failure is lost, and nothing outlives a killed run."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.tests.support.killed_run import assert_they_end, kill_once_reported, listening

ROOT = Path(__file__).parents[2]
MAKE = """#!/bin/sh
echo "$*" >>made
[ "$(nice)" -lt 10 ] || echo "$*" >>last
case "$*" in
"$FAILS") echo "the last words of $*"; exit 1 ;;
"$HANGS") exec python3 -c '
import os, socket, sys, threading
socket.create_connection(("127.0.0.1", int(sys.argv[1]))).sendall(str([os.getpid()]).encode())
threading.Event().wait()' "$PORT" ;;
esac
"""
BESIDE = ["packers", "test-machines GATE=packers", "test-core CORE=2.16", "test-core CORE=2.21"]
STAGES = [
    *("setup", "setup CORE=2.16", "setup CORE=2.21", "test", "test-containers"),
    *("test-machines GATE=machines molecule_machines", "test-machines GATE=packer_bakes"),
]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The script in a tree in which nothing has to be installed and ``make`` only writes down what it is asked for."""
    for name in (".ci/run", "tests/support/reaper.py", "tests/tools/install", "bin/make"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / ".ci/run", tmp_path / ".ci/run")
    shutil.copy(ROOT / "tests/support/reaper.py", tmp_path / "tests/support")
    for name, text in (("tests/tools/install", "#!/bin/sh\n"), ("bin/make", MAKE)):
        (tmp_path / name).write_text(text, encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    return tmp_path


def environment(tree: Path, fails: str = "none", hangs: str = "none", port: int = 0) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "IMMUTABLE_CI_OPENSTACK"}
    path = f"{tree / 'bin'}{os.pathsep}{kept['PATH']}"
    return {**kept, "PATH": path, "FAILS": fails, "HANGS": hangs, "PORT": str(port)}


def run(tree: Path, fails: str = "none") -> subprocess.CompletedProcess[str]:
    command = ["bash", tree / ".ci/run"]
    return subprocess.run(
        command, env=environment(tree, fails), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )


def lines(tree: Path, name: str) -> list[str]:
    """What ``make`` was asked for: all that was ``made``, or what ran ``last``, with a low priority."""
    return (tree / name).read_text(encoding="utf-8").splitlines()


def test_everything_runs_once_and_the_others_come_last(tree: Path) -> None:
    done = run(tree)
    assert done.returncode == 0 and "##### all passed in" in done.stdout
    assert sorted(lines(tree, "made")) == sorted([*STAGES, *BESIDE])
    assert lines(tree, "last") == BESIDE or os.nice(0) >= 10


@pytest.mark.parametrize("stage", [each for each in STAGES if not each.startswith("setup")])
def test_a_stage_that_fails_is_named_and_the_others_run(tree: Path, stage: str) -> None:
    done = run(tree, stage)
    assert done.returncode == 1 and f"##### failed: make {stage}" in done.stdout.splitlines()
    assert done.stdout.count("##### failed:") == 1 and f"the last words of {stage}" in done.stdout
    assert len(lines(tree, "made")) == len([*STAGES, *BESIDE])


@pytest.mark.parametrize("stage", BESIDE)
def test_so_is_one_that_runs_beside_the_others(tree: Path, stage: str) -> None:
    done = run(tree, stage)
    assert done.returncode == 1 and f"##### failed: make {stage}" in done.stdout.splitlines()
    assert "##### failed: what ran beside the others, shown above" in done.stdout.splitlines()
    assert f"the last words of {stage}" in done.stdout
    assert len(lines(tree, "made")) == len([*STAGES, *BESIDE])


@pytest.mark.parametrize("core", ["", " CORE=2.16", " CORE=2.21"])
def test_without_an_ansible_core_nothing_else_runs(tree: Path, core: str) -> None:
    done = run(tree, f"setup{core}")
    assert done.returncode == 1 and f"the last words of setup{core}" in done.stdout
    made = lines(tree, "made")
    assert all(each.startswith("setup") for each in made)


@pytest.mark.parametrize("stage", ["test-containers", "test-core CORE=2.16"])
def test_nothing_outlives_a_killed_run(tree: Path, stage: str) -> None:
    with listening() as inside:
        variables = environment(tree, hangs=stage, port=inside.getsockname()[1])
        started = kill_once_reported(inside, ["bash", tree / ".ci/run"], env=variables)
    assert len(started) == 1
    assert_they_end(started)
