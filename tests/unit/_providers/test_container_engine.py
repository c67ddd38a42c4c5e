# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Calls of a container engine. Here a script replaces the engine."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._providers import container_process, container_runtime
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container_engine import open_engine
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container_images import load_image

IMAGE = "sha256:" + "ab" * 32
# The runtime crun works on no machine, runc only with the kernel's overlay.
PODMAN = """#!/bin/sh
echo "$*" >> {log}
case "$*" in
*"--runtime crun"*) echo "Error: OCI runtime error: crun: cgroups in hybrid mode not supported" >&2; exit 126;;
*mount_program*|*vfs*) exit 125;;
*--systemd=always*) exit {systemd};;
*"unshare --user"*) exit 1;;
*--memory=64m*) echo "Resource limits are not supported and ignored on cgroups V1 rootless systems" >&2;;
*"--runtime runc megabytes"*) exec head -c 20000000 /dev/zero;;
*"--runtime runc hangs"*) exec sleep 300;;
*"--runtime runc fails"*) echo "first" >&2; echo "Error: no such container" >&2; exit 125;;
*"--runtime runc words"*) echo not json;;
*"--runtime runc monitored"*) sleep 300 & echo started;;
*"--runtime runc reads"*) cat;;
esac
"""


@pytest.fixture
def podman(tmp_path, monkeypatch):
    """Put a Podman on the path. Returns a function that opens the engine, and one that reads the calls."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setattr(container_runtime, "MEMORY", tmp_path)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    for name in ("crun", "runc"):
        (programs / name).write_text("#!/bin/sh\n")
        (programs / name).chmod(0o755)

    def put(systemd=0):
        (programs / "podman").write_text(PODMAN.format(log=tmp_path / "log", systemd=systemd))
        (programs / "podman").chmod(0o755)
        return open_engine("podman", tmp_path / "container")

    def calls():
        return (tmp_path / "log").read_text().splitlines()

    return put, calls


def test_the_runtime_that_works_is_found_once(podman, tmp_path):
    put, calls = podman
    engine = put()
    assert engine.argv[-6:] == ["--storage-driver", "overlay", "--cgroup-manager", "cgroupfs", "--runtime", "runc"]
    probes = len(calls())
    assert open_engine("podman", tmp_path / "container").argv == engine.argv
    assert len(calls()) == probes
    os.utime(tmp_path / "bin/podman", (1, 1))
    assert open_engine("podman", tmp_path / "container").argv == engine.argv
    assert len(calls()) > probes


def test_what_is_remembered_may_be_damaged(podman, tmp_path):
    put, _calls = podman
    engine = put()
    assert engine.argv
    for damage in ("", "{", '{"key": 1}', "[]"):
        (tmp_path / "container/runtime.json").write_text(damage)
        assert open_engine("podman", tmp_path / "container").argv == engine.argv


def test_what_cannot_run_is_a_warning(podman):
    put, _calls = podman
    engine = put(systemd=1)
    assert [line.partition(" ")[0] for line in engine.runtime_warnings()] == ["systemd", "limits"]
    assert engine.limits() == {"cpu", "pids"}
    assert "memory" in engine.runtime_warnings()[1]


def test_no_runtime_is_one_clear_error(podman, tmp_path):
    put, _calls = podman
    engine = put()
    (tmp_path / "bin/podman").write_text("#!/bin/sh\necho 'Error: no cgroups' >&2; exit 126\n")
    with pytest.raises(
        ProviderError, match="podman cannot run a container on this machine: crun with cgroupfs on overlay: Error: no"
    ):
        engine.run("ps")


def test_an_engine_that_fails_shows_its_last_words(podman):
    put, _calls = podman
    with pytest.raises(ProviderError, match=r"podman fails failed: first\nError: no such container"):
        put().run("fails")
    assert put().run("fails", check=False) == ""
    with pytest.raises(ProviderError, match="podman words did not print JSON"):
        put().json("words")


def test_an_engine_that_prints_megabytes_or_hangs_is_ended(podman):
    put, _calls = podman
    with pytest.raises(ProviderError, match="printed more than 16 MiB"):
        put().run("megabytes")
    with pytest.raises(ProviderError, match="podman did not answer within 1 seconds"):
        put().run("hangs", timeout=1.0)


def test_a_monitor_that_keeps_the_output_open_does_not_matter(podman):
    put, _calls = podman
    assert put().run("monitored") == "started\n"


def test_input_of_any_size_is_passed(podman):
    put, _calls = podman
    data = b"x" * (container_process.MAX_OUTPUT - 1)
    assert put().run("reads", input=data) == data.decode()


def test_podman_has_its_own_configuration(podman, tmp_path, monkeypatch):
    put, _calls = podman
    monkeypatch.setenv("CONTAINER_HOST", "ssh://elsewhere")
    environment = put().environment
    assert environment["CONTAINERS_CONF"] == str(tmp_path / "container/containers.conf")
    assert "CONTAINER_HOST" not in environment
    text = (tmp_path / "container/containers.conf").read_text()
    for line in ('log_driver = "k8s-file"', 'lock_type = "file"', 'pull_policy = "never"'):
        assert line in text


def test_limits_are_not_above_those_of_this_process(monkeypatch):
    def limit(processes):
        monkeypatch.setattr(
            container_runtime.resource, "getrlimit", lambda which: (5, processes if which == 6 else 1000)
        )
        return container_runtime.own_limits()

    assert limit(96365) == {"nproc": 32768, "nofile": 1000}
    assert limit(100) == {"nproc": 100, "nofile": 1000}
    assert limit(-1) == {"nproc": 32768, "nofile": 1000}
    assert '["nofile=1000:1000", "nproc=100:100"]' in container_runtime.configuration(
        {"nproc": 100, "nofile": 1000}, None, Path("/hooks")
    )


def test_the_state_is_in_a_private_folder_with_a_short_path(tmp_path):
    folder = container_runtime.state_folder(tmp_path / ("long" * 20))
    try:
        assert len(str(folder)) < 50
        assert folder.stat().st_mode & 0o777 == 0o700
        assert container_runtime.state_folder(tmp_path / ("long" * 20)) == folder
        folder.chmod(0o755)
        with pytest.raises(ProviderError, match="it is not a private folder of this user"):
            container_runtime.state_folder(tmp_path / ("long" * 20))
    finally:
        folder.rmdir()
    folder.symlink_to(tmp_path)
    try:
        with pytest.raises(ProviderError, match="it is not a private folder of this user"):
            container_runtime.state_folder(tmp_path / ("long" * 20))
    finally:
        folder.unlink()


def test_storage_stays_as_it_began(tmp_path, monkeypatch):
    monkeypatch.setattr(container_runtime, "find_program", lambda name: f"/usr/bin/{name}")
    ways = container_runtime._storages(tmp_path)
    assert [options[1] for options, _warnings in ways] == ["overlay", "overlay", "vfs"]
    assert [len(warnings) for _options, warnings in ways] == [0, 1, 1]
    (tmp_path / "storage/vfs-images").mkdir(parents=True)
    (tmp_path / "storage/vfs-images/images.json").write_text('[{"id": "1"}]')
    assert [options[1] for options, _warnings in container_runtime._storages(tmp_path)] == ["vfs"]


def test_a_tool_can_call_the_engine_as_docker(podman, tmp_path):
    put, calls = podman
    program = put().docker_program(tmp_path / "it's here")
    assert program.name == "docker"
    done = subprocess.run([program, "reads", "--all of it"], input="text", capture_output=True, text=True, check=True)
    assert done.stdout == "text"
    assert calls()[-1].endswith("--runtime runc reads --all of it")


def test_an_unknown_or_missing_engine_is_refused(tmp_path, monkeypatch):
    with pytest.raises(ProviderError, match=r"unknown container engine 'lxd' \(allowed: podman, docker\)"):
        open_engine("lxd", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("podman", "docker"):
        with pytest.raises(ProviderError, match=f"{name} is not installed"):
            open_engine(name, tmp_path).run("ps")


DOCKER = """#!/bin/sh
case "$1" in
context) echo "{host}";;
info) echo '{info}';;
esac
"""


def test_docker_must_be_on_this_machine(tmp_path, monkeypatch):
    def docker(host, info):
        (tmp_path / "docker").write_text(DOCKER.format(host=host, info=json.dumps(info)))
        (tmp_path / "docker").chmod(0o755)
        return open_engine("docker", tmp_path)

    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    engine = docker("unix:///var/run/docker.sock", {"SecurityOptions": ["name=rootless"], "MemoryLimit": True})
    assert engine.rootless
    assert engine.limits() == {"memory"}
    assert not docker("unix:///var/run/docker.sock", {"SecurityOptions": None}).rootless
    with pytest.raises(ProviderError, match="may be on another machine"):
        assert docker("ssh://elsewhere", {}).rootless
    monkeypatch.setenv("DOCKER_HOST", "tcp://elsewhere:2375")
    with pytest.raises(ProviderError, match="may be on another machine"):
        assert docker("unix:///var/run/docker.sock", {}).rootless


class Images:
    """An engine that gets an image by loading an archive."""

    def __init__(self, loads: str) -> None:
        self.loads, self.present, self.calls = loads, set(), []

    def run(self, *arguments, timeout=0.0, check=True, input=None):
        self.calls.append(arguments[0])
        if arguments[0] == "load":
            self.present.add(self.loads)
            return ""
        return f"{arguments[-1]}\n" if arguments[-1] in self.present else ""


def test_an_image_is_loaded_once(tmp_path):
    (tmp_path / "image.tar").touch()
    artifact = {"path": str(tmp_path / "image.tar"), "image": IMAGE}
    engine = Images(IMAGE)
    load_image(engine, artifact)
    load_image(engine, artifact)
    assert engine.calls.count("load") == 1


def test_an_archive_with_another_image_is_refused(tmp_path):
    (tmp_path / "image.tar").touch()
    artifact = {"path": str(tmp_path / "image.tar"), "image": IMAGE}
    with pytest.raises(ProviderError, match="does not contain the image sha256:abab"):
        load_image(Images("sha256:" + "cd" * 32), artifact)
    (tmp_path / "image.tar").unlink()
    with pytest.raises(ProviderError, match="the image's archive is missing"):
        load_image(Images(IMAGE), artifact)
    with pytest.raises(ProviderError, match="names no container image"):
        load_image(Images(IMAGE), {**artifact, "image": "--help"})
