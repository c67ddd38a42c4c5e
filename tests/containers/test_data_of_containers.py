# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Data volumes in containers of a real engine, with the rights of the user who runs the tests."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container import loop_image
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container.volumes import ContainerVolumes
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container_engine import ContainerEngine
from ansible_collections.immutable.infra.tests.support.busybox import import_busybox
from ansible_collections.immutable.infra.tests.support.container_providers import volume_kinds
from ansible_collections.immutable.infra.tests.support.container_volumes import FLEET, MIB, artifact, request

ID = f"{FLEET}/0-uploads"
WORDS = "/srv/uploads/words"


class PodmanInstance:
    """A container that sleeps, created with the volumes that are attached when it starts."""

    def __init__(self, bench: PodmanBench, name: str, owner: str, reown: bool) -> None:
        self._bench = bench
        self.name = name
        self._artifact = artifact(owner, reown)
        self.fresh = True
        self.reason = ""

    def removed(self) -> bool:
        return False

    def leaving(self) -> bool:
        return False

    def waiting(self) -> bool:
        return self.fresh

    def running(self) -> bool:
        listed = self._bench.engine.run("ps", "--quiet", "--filter", f"name=^{self.name}$")
        return bool(listed.strip())

    def artifact(self) -> dict[str, Any]:
        return self._artifact

    def remount(self) -> None:
        if not self.fresh:
            return
        mounts = self._bench.volumes.mounts(FLEET, self.name)
        volumes = [f"--volume={each.source}:{each.target}:{','.join(each.options)}" for each in mounts]
        owner = self._artifact["data"][0]["owner"]
        self.fresh = False
        fixed = ["run", "--detach", "--pull=never", "--network=none", "--read-only", "--init=false"]
        self._bench.engine.run(*fixed, "--name", self.name, *volumes, self._bench.image, "sleep", "1000")
        self.owner = owner

    def give_up(self, reason: str) -> None:
        self.fresh, self.reason = False, reason

    def sh(self, script: str) -> str:
        """Run a script in the container as the service's user."""
        owner = self._artifact["data"][0]["owner"]
        return self._bench.engine.run("exec", "--user", owner, self.name, "sh", "-c", script).strip()

    def kill(self) -> None:
        self._bench.engine.run("kill", "--signal", "KILL", self.name)
        self._bench.engine.run("wait", self.name)


class PodmanBench:
    def __init__(self, root: Path, engine: ContainerEngine, image: str) -> None:
        self.engine, self.image, self.root = engine, image, root
        self.instances: dict[str, PodmanInstance] = {}
        self.volumes = ContainerVolumes(root, engine, lambda _fleet, name: self.instances[name])

    def add(self, name: str, owner: str = "1001:1001", reown: bool = False) -> PodmanInstance:
        unique = f"{name}-{os.getpid()}"
        self.instances[unique] = PodmanInstance(self, unique, owner, reown)
        return self.instances[unique]

    def serve(self, name: str, owner: str = "1001:1001", reown: bool = False) -> PodmanInstance:
        """An instance that runs with the volume."""
        instance = self.add(name, owner, reown)
        self.volumes.attach([ID], instance.name)
        return instance

    def folder(self) -> Path:
        return self.root / "volumes" / ID

    def end(self) -> None:
        for name in self.instances:
            self.engine.run("rm", "--force", "--time", "0", name, check=False)
        loop_image.unmount(self.folder() / "mounted")
        inside = self.engine.inside(["rm", "-rf", str(self.root / "volumes")])
        subprocess.run(inside, env=self.engine.environment, check=True)


@pytest.fixture
def bench(tmp_path: Path, engine: ContainerEngine) -> Iterator[PodmanBench]:
    bench = PodmanBench(tmp_path, engine, import_busybox(engine))
    try:
        yield bench
    finally:
        bench.end()


@pytest.mark.parametrize("kind", volume_kinds())
def test_words_that_one_container_wrote_are_there_in_the_next(bench: PodmanBench, kind: str) -> None:
    bench.volumes.create([request(kind=kind)])
    old = bench.serve("old")
    old.sh(f"echo of a customer > {WORDS}")
    assert old.sh("ls -ldn /srv/uploads").split()[:4:3] == ["drwxr-x---", "1001"]
    with pytest.raises(ProviderError, match="which is still running: stop it first"):
        bench.volumes.detach([ID])
    old.kill()
    bench.volumes.detach([ID])
    new = bench.serve("new")
    assert new.sh(f"cat {WORDS}") == "of a customer"
    mount = next(line for line in new.sh("cat /proc/self/mountinfo").splitlines() if " /srv/uploads " in line)
    assert {"rw", "nosuid", "nodev"} <= set(mount.split()[5].split(","))


def test_two_containers_never_write_to_one_volume(bench: PodmanBench) -> None:
    bench.volumes.create([request()])
    bench.serve("old")
    new = bench.add("new")
    document = bench.folder() / "volume.json"
    document.write_text(document.read_text().replace(f'"old-{os.getpid()}"', "null"))  # edited by hand
    with pytest.raises(ProviderError, match="in use by the container old-.*does not say so"):
        bench.volumes.attach([ID], new.name)
    for call in (bench.volumes.detach, bench.volumes.remove):
        with pytest.raises(ProviderError, match="in use by the container old-"):
            call([ID])
    assert new.waiting()


def test_a_killed_attach_is_completed(bench: PodmanBench) -> None:
    """The run dies after the container started and before its document says so: the engine knows who mounts it."""
    bench.volumes.create([request()])
    old = bench.serve("old")
    old.sh(f"echo of a customer > {WORDS}")
    old.fresh = True  # as if its start had not been recorded
    assert bench.volumes.list(FLEET)[0].attached_to is None
    with pytest.raises(ProviderError, match="in use by the container old-"):
        bench.volumes.attach([ID], bench.add("new").name)
    old.fresh = False
    bench.volumes.attach([ID], old.name)
    assert bench.volumes.list(FLEET)[0].attached_to == old.name


def test_data_follows_the_number_of_its_owner_and_is_given_back(bench: PodmanBench) -> None:
    bench.volumes.create([request()])
    first = bench.serve("first", "1001:1001")
    first.sh(f"echo of a customer > {WORDS}")
    first.kill()
    bench.volumes.detach([ID])
    refused = bench.add("refused", "2001:2002")
    bench.volumes.attach([ID], refused.name)
    assert "belong to 1001:1001 (uid:gid), and in this image the service has 2001:2002" in refused.reason
    second = bench.serve("second", "2001:2002", reown=True)
    assert second.sh(f"echo more >> {WORDS}; ls -ln {WORDS}").split()[2:4] == ["2001", "2002"]
    second.kill()
    bench.volumes.detach([ID])
    back = bench.serve("back", "1001:1001")
    assert back.sh(f"cat {WORDS}; ls -ln {WORDS}").split()[:4] == ["of", "a", "customer", "more"]
    assert back.sh(f"ls -ln {WORDS}").split()[2:4] == ["1001", "1001"]


def test_the_size_of_a_file_system_holds_in_the_container(bench: PodmanBench) -> None:
    if os.geteuid() != 0:
        with pytest.raises(ProviderError, match="needs root"):
            bench.volumes.create([request(kind="image")])
        return
    bench.volumes.create([request(size=8 * MIB, kind="image")])
    old = bench.serve("old")
    said = old.sh("dd if=/dev/zero of=/srv/uploads/big bs=1M count=20 2>&1; echo ended")
    assert "No space left on device" in said
    assert int(old.sh("stat -c %s /srv/uploads/big")) < 8 * MIB
    old.kill()
    bench.volumes.detach([ID])
    bench.volumes.modify([ID], 64 * MIB, "")
    new = bench.serve("new")
    new.sh("dd if=/dev/zero of=/srv/uploads/big bs=1M count=40 2>&1")
    assert int(new.sh("stat -c %s /srv/uploads/big")) == 40 * MIB


def test_removal_takes_files_of_users_of_the_container(bench: PodmanBench) -> None:
    bench.volumes.create([request()])
    old = bench.serve("old")
    old.sh(f"umask 077; mkdir /srv/uploads/private; echo of a customer > {WORDS}")
    old.kill()
    bench.volumes.remove([ID])
    assert not bench.folder().exists()
