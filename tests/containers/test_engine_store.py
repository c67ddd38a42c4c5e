# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A run leaves no container, no process of a container and no store behind, even if it is killed."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.memory import private_memory
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container_engine import (
    ContainerEngine,
    open_engine,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container_images import (
    ContainerImages,
    has_image,
)
from ansible_collections.immutable.infra.tests.support import engine_store, reaper
from ansible_collections.immutable.infra.tests.support.command_lines import command_lines
from ansible_collections.immutable.infra.tests.support.waiting import until

PACKAGE = "ansible_collections.immutable.infra.tests"
CONFTEST = f"from {PACKAGE}.conftest import *\nfrom {PACKAGE}.containers.conftest import engine, run_folder, store\n"
TEST = """
import json, os, socket, threading

def test_it_waits_to_be_killed(engine, store):
    script = "read line < /fifo"
    root = store / "root"
    for name in ("dev", "etc", "proc", "sys", "run", "tmp", "usr", "bin", "lib", "lib64"):
        (root / name).mkdir(parents=True)
    os.mkfifo(root / "fifo")
    mounts = [word for name in ("usr", "bin", "lib", "lib64") for word in ("--volume", f"/{name}:/{name}:ro")]
    name = engine.run(
        "run", "--detach", "--network=none", *mounts, "--rootfs", str(root), "/bin/sh", "-c", script
    ).strip()
    pid = engine.json("inspect", name)[0]["State"]["Pid"]
    with socket.create_connection(("127.0.0.1", PORT)) as outside:
        outside.sendall(json.dumps([pid, str(store.parent)]).encode() + b"\\n")
        threading.Event().wait()
"""


def test_podman_runs_here(engine: ContainerEngine) -> None:
    assert isinstance(engine.json("ps", "--all", "--format", "json"), list)


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_killed_run_leaves_no_container(engine: ContainerEngine, tmp_path: Path, workers: str) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-n", workers, "--import-mode=importlib", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with socket.create_server(("127.0.0.1", 0)) as inside:
        inside.settimeout(240)
        (tmp_path / "test_it.py").write_text(TEST.replace("PORT", str(inside.getsockname()[1])), encoding="utf-8")
        output = tmp_path / "output"
        with output.open("wb") as file, subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=file) as run:
            try:
                connection, _address = inside.accept()
                pid, folder = json.loads(connection.makefile().readline())
                container = os.pidfd_open(pid)
                assert not select.select([container], [], [], 0)[0]
            except TimeoutError:
                pytest.fail(output.read_text(encoding="utf-8"))
            finally:
                run.kill()
        connection.close()
    assert select.select([container], [], [], 120)[0]
    os.close(container)
    for sweeper in sweepers(folder):
        reaper.wait_for(sweeper)
    assert not Path(folder).exists()


def test_what_a_killed_guardian_left_goes_with_the_next_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with subprocess.Popen(["sleep", "3600"]) as first, subprocess.Popen(["sleep", "3600"]) as second:
        try:
            folder = engine_store.run_folder("first", first.pid, "no mark")
            assert engine_store.run_folder("first", first.pid, "no mark") == folder
            [guardian] = until(lambda: sweepers(str(folder)))  # see command_lines
            work = folder / "store/work/bake-0"
            work.mkdir(parents=True)
            with private_memory(work.name, work) as secret:
                reaper.kill(guardian)
                kept = engine_store.run_folder("second", second.pid, "no mark")
                until(lambda: not folder.exists())
                assert not secret.exists()
            assert kept.exists()
        finally:
            first.kill()
            second.kill()
    until(lambda: not kept.exists())


def sweepers(folder: str) -> list[int]:
    """The processes that remove a folder."""
    return [pid for pid, words in command_lines() if folder in words and engine_store.__name__ in words]


def test_copies_that_nothing_needs_are_removed(own_store: Path) -> None:
    engine = open_engine("podman", own_store / "container")
    images = ContainerImages(engine=engine)
    ids = {}
    for name in ("needed", "used", "old", "base"):
        archive = own_store / f"{name}.tar"
        with tarfile.open(archive, "w") as file:
            member = tarfile.TarInfo(name)
            file.addfile(member)
        ids[name] = engine.run("import", "--quiet", str(archive)).strip().splitlines()[-1].removeprefix("sha256:")
    for tag in ("one", "two"):
        engine.run("tag", ids["base"], f"localhost/immutable-base:{tag}")
    engine.run("create", "--pull=never", "--network=none", "--name=user", ids["used"], "/bin/true")
    due = images.remove_copies({ids["needed"]}, check=True)
    assert {line.partition("(")[2] for line in due} == {f"{ids[name][:12]})" for name in ("old", "base")}
    assert all(has_image(engine, each) for each in ids.values()), "a preview removes nothing"
    assert images.remove_copies({ids["needed"]}) == due
    assert [name for name, each in ids.items() if has_image(engine, each)] == ["needed", "used"]
    assert images.remove_copies({ids["needed"]}) == []
