# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Data volumes through the provider container on a real engine: what a swap does, and runs that die in between."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._health.evidence import proves
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container.provider import ContainerProvider
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container_engine import ContainerEngine
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import (
    RUNNING,
    STOPPED,
    Instance,
    LaunchRequest,
    VolumeRequest,
)
from ansible_collections.immutable.infra.tests.support.container_providers import no_balancer, volume_kinds
from ansible_collections.immutable.infra.tests.support.container_volumes import MIB
from ansible_collections.immutable.infra.tests.support.killed import ControllerKilled
from ansible_collections.immutable.infra.tests.support.small_image import small_image

DIGEST = "sha256:" + "ab" * 32
PYTHON = ("/usr/bin/python3", "-c")
OWNER = "1001:1002"
WORDS = "/srv/words"


class Slot:
    """One slot of a fleet with a volume, as a run drives it."""

    def __init__(self, store: Path, engine: ContainerEngine, fleet: str, images: Path) -> None:
        self._store, self.engine, self.fleet, self._images = store, engine, fleet, images
        self.provider = ContainerProvider(store / "container", engine, no_balancer)
        self.volume = f"{fleet}/0-uploads"

    def next_run(self) -> None:
        """What the next run begins with: nothing but the store and the engine."""
        self.provider = ContainerProvider(self._store / "container", self.engine, no_balancer)

    def create(self, kind: str = "") -> None:
        request = VolumeRequest(fleet=self.fleet, slot=0, name="uploads", size=16 * MIB, mount="/srv", kind=kind)
        self.provider.volumes.create([request])

    def request(self, name: str, *volumes: str, owner: str = OWNER, reown: bool = False) -> LaunchRequest:
        data = {"name": "uploads", "mount": "/srv", "owner": owner, "mode": "0750", "noexec": True, "reown": reown}
        return LaunchRequest(
            token=f"{self.fleet}-{name}",
            fleet=self.fleet,
            slot=0,
            image=DIGEST,
            artifact={**small_image(self._images, user=owner), "data": [data]},
            launch="fingerprint",
            nonce="nonce",
            volumes=volumes,
        )

    def launch(self, name: str, *volumes: str, **options: Any) -> str:
        [instance] = self.provider.compute.launch([self.request(name, *volumes, **options)])
        return instance.id

    def instance(self, instance_id: str) -> Instance:
        return next(each for each in self.provider.compute.list(self.fleet) if each.id == instance_id)

    def status(self, instance_id: str) -> str:
        return self.engine.run("container", "inspect", "--format", "{{.State.Status}}", instance_id).strip()

    def attach(self, instance_id: str) -> None:
        self.provider.volumes.attach([self.volume], instance_id)

    def stop_and_detach(self, instance_id: str) -> None:
        self.provider.compute.power_off([instance_id])
        assert self.instance(instance_id).state == STOPPED
        self.provider.volumes.detach([self.volume])

    def holder(self) -> str | None:
        [volume] = self.provider.volumes.list(self.fleet)
        return volume.attached_to

    def write(self, instance_id: str, text: str) -> None:
        self.python(instance_id, f"open({WORDS!r}, 'a').write({text!r})")

    def words(self, instance_id: str) -> str:
        return self.python(instance_id, f"print(open({WORDS!r}).read())").strip()

    def python(self, instance_id: str, script: str) -> str:
        return self.engine.run("exec", instance_id, *PYTHON, script)

    def end(self) -> None:
        compute = self.provider.compute
        ids = [instance.id for instance in compute.list(self.fleet)]
        compute.remove(ids)
        compute.power_off(ids)
        assert compute.list(self.fleet) == []
        self.provider.volumes.remove([volume.id for volume in self.provider.volumes.list(self.fleet)])


@pytest.fixture(scope="session")
def images(run_folder: Path, worker_id: str) -> Path:
    folder = run_folder / f"images-{worker_id}"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def slot(store: Path, engine: ContainerEngine, images: Path, request: pytest.FixtureRequest) -> Iterator[Slot]:
    name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name).strip("-")
    slot = Slot(store, engine, f"{name[-40:].strip('-')}-local", images)
    try:
        yield slot
    finally:
        slot.next_run()
        slot.end()


@pytest.mark.parametrize("kind", volume_kinds())
def test_words_survive_a_swap_and_its_rollback(slot: Slot, kind: str) -> None:
    slot.create(kind)
    old = slot.launch("old", slot.volume)
    assert slot.instance(old).state == RUNNING and slot.holder() == old
    slot.write(old, "one ")
    new = slot.launch("new")
    waiting = slot.instance(new)
    assert (waiting.state, slot.status(new)) == (RUNNING, "created"), "it proves its image before it has data"
    assert proves(waiting) is True and not waiting.stopping_since
    with pytest.raises(ProviderError, match="is attached to"):
        slot.attach(new)
    with pytest.raises(ProviderError, match="still running"):
        slot.provider.volumes.detach([slot.volume])
    slot.stop_and_detach(old)
    slot.attach(new)
    slot.attach(new)
    started = slot.instance(new)
    assert (started.state, slot.status(new), slot.holder()) == (RUNNING, "running", new)
    assert started.started > waiting.started, "its deadlines run from the start of its service"
    slot.write(new, "two ")
    # The new version fails, and the old instance serves again.
    slot.stop_and_detach(new)
    slot.attach(old)
    assert slot.instance(old).state == STOPPED, "a rollback starts it itself"
    slot.provider.compute.start([old])
    assert slot.words(old) == "one two"
    slot.provider.compute.remove([new])
    assert [each.id for each in slot.provider.compute.list(slot.fleet)] == [old]


def test_what_a_service_can_do_on_its_volume(slot: Slot) -> None:
    slot.create()
    only = slot.launch("only", slot.volume)
    mount = next(
        line
        for line in slot.python(only, "print(open('/proc/self/mountinfo').read())").splitlines()
        if " /srv " in line
    )
    assert {"rw", "nosuid", "nodev", "noexec"} <= set(mount.split()[5].split(","))
    about = slot.python(only, "import os; s = os.stat('/srv'); print(s.st_uid, s.st_gid, oct(s.st_mode), os.getuid())")
    assert about.split() == ["1001", "1002", "0o40750", "1001"]
    # A container that is started again gets its volume again.
    slot.write(only, "one")
    slot.provider.compute.power_off([only])
    slot.provider.compute.start([only])
    assert slot.words(only) == "one"


def test_an_image_with_another_user_is_given_up_and_says_why(slot: Slot) -> None:
    slot.create()
    old = slot.launch("old", slot.volume)
    slot.write(old, "one")
    new = slot.launch("new", owner="2001:2002")
    slot.stop_and_detach(old)
    slot.attach(new)
    assert (slot.instance(new).state, slot.holder()) == (STOPPED, None)
    assert (
        "belong to 1001:1002 (uid:gid), and in this image the service has 2001:2002"
        in slot.provider.compute.console(new)
    )
    with pytest.raises(ProviderError, match="is not started: the files of volume"):
        slot.provider.compute.start([new])
    taking = slot.launch("taking", slot.volume, owner="2001:2002", reown=True)
    assert slot.words(taking) == "one"
    slot.write(taking, " two")
    slot.stop_and_detach(taking)
    slot.attach(old)
    slot.provider.compute.start([old])
    slot.write(old, " three")
    assert slot.words(old) == "one two three"


def test_a_launch_with_data_of_another_user_is_given_up_too(slot: Slot) -> None:
    slot.create()
    old = slot.launch("old", slot.volume)
    slot.stop_and_detach(old)
    new = slot.launch("new", slot.volume, owner="2001:2002")
    assert (slot.instance(new).state, slot.holder()) == (STOPPED, None)


class Cut:
    """Kills the controller before a call of the engine that changes something."""

    def __init__(self, engine: ContainerEngine, number: int, after: bool) -> None:
        self._engine, self._left, self._after = engine, number, after
        self.dead = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def run(self, *arguments: str, **options: Any) -> str:
        if arguments[0] not in ("create", "start", "rm", "kill"):
            return self._engine.run(*arguments, **options)
        self._left -= 1
        self.dead = self.dead or self._left < 0
        if self.dead and not self._after:
            raise ControllerKilled
        answer = self._engine.run(*arguments, **options)
        if self.dead:
            raise ControllerKilled
        return answer


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", range(1, 4))
def test_the_next_run_completes_an_attach_that_was_killed(slot: Slot, store: Path, number: int, after: bool) -> None:
    """An attach removes the container that waits, creates it with its volume, and starts it.

    The first call only finds that the container exists.
    """
    slot.create()
    old = slot.launch("old", slot.volume)
    slot.write(old, "one")
    new = slot.launch("new")
    slot.stop_and_detach(old)
    dying = ContainerProvider(store / "container", Cut(slot.engine, number, after), no_balancer)  # type: ignore[arg-type]
    with pytest.raises(ControllerKilled):
        dying.volumes.attach([slot.volume], new)
    slot.next_run()
    slot.instance(new)  # creates it again, if it is missing
    assert slot.instance(new).state == RUNNING
    if slot.holder() is None:
        slot.attach(new)
    assert (slot.holder(), slot.status(new), slot.words(new)) == (new, "running", "one")
    with pytest.raises(ProviderError, match="still running"):
        slot.provider.volumes.detach([slot.volume])


@pytest.mark.parametrize("number", range(1, 4))
def test_a_rollback_gets_the_volume_back_from_an_attach_that_was_killed(slot: Slot, store: Path, number: int) -> None:
    slot.create()
    old = slot.launch("old", slot.volume)
    slot.write(old, "one")
    new = slot.launch("new")
    slot.stop_and_detach(old)
    dying = ContainerProvider(store / "container", Cut(slot.engine, number, after=True), no_balancer)  # type: ignore[arg-type]
    with pytest.raises(ControllerKilled):
        dying.volumes.attach([slot.volume], new)
    slot.next_run()
    slot.instance(new)
    if slot.holder() == new:
        slot.stop_and_detach(new)
    slot.attach(old)
    slot.provider.compute.start([old])
    assert slot.words(old) == "one"
    slot.provider.compute.remove([new])


def test_a_killed_launch_with_a_volume_is_completed_by_its_token(slot: Slot, store: Path) -> None:
    slot.create()
    for number in range(3):
        dying = ContainerProvider(store / "container", Cut(slot.engine, number, after=False), no_balancer)  # type: ignore[arg-type]
        with pytest.raises(ControllerKilled):
            dying.compute.launch([slot.request("only", slot.volume)])
        slot.next_run()
        assert slot.holder() is None
    only = slot.launch("only", slot.volume)
    assert (slot.instance(only).state, slot.holder()) == (RUNNING, only)


def test_the_engine_knows_a_writer_whose_documents_are_lost(slot: Slot) -> None:
    """The worst case: neither the volume's document nor the machine's says that a container writes."""
    slot.create()
    old = slot.launch("old", slot.volume)
    machine = slot.provider.compute.machine(slot.fleet, old).folder / "machine.json"
    kept = machine.read_text()
    machine.write_text(kept.replace('"boot": "', '"boot": "1@1", "lost": "'))
    assert slot.provider.volumes.list(slot.fleet)[0].attached_to == old
    with pytest.raises(ProviderError, match=f"in use by the container {old}"):
        slot.provider.volumes.detach([slot.volume])
    machine.unlink()
    assert slot.holder() is None
    new = slot.launch("new")
    with pytest.raises(ProviderError, match=f"in use by the container {old}"):
        slot.attach(new)
    assert slot.status(new) == "created"
    machine.write_text(kept)


FILL = """
try:
    open("/srv/big", "wb").write(b"x" * (1 << 25))
except OSError as error:
    print(error.strerror)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")
def test_a_full_disk_stops_a_swap_with_the_data_kept(tmp_path: Path, engine: ContainerEngine, images: Path) -> None:
    """A service fills the disk of the store. It gets an error, and so does the swap, until there is room."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", disk], check=True)
    slot = Slot(disk, engine, "full-disk-local", images)
    big = disk / "container/volumes" / slot.volume / "data/big"
    try:
        slot.create()
        old = slot.launch("old", slot.volume)
        slot.write(old, "one")
        assert slot.python(old, FILL).strip() == "No space left on device"
        slot.provider.compute.power_off([old])
        with pytest.raises(OSError, match="No space left on device.*volume.json"):
            slot.provider.volumes.detach([slot.volume])
        assert slot.holder() == old
        big.unlink()
        slot.provider.volumes.detach([slot.volume])
        with pytest.raises(ProviderError, match="No space left on device"):
            slot.provider.volumes.modify([slot.volume], 32 * MIB, "image")
        new = slot.launch("new", slot.volume)
        assert slot.words(new) == "one"
    finally:
        big.unlink(missing_ok=True)
        slot.next_run()
        slot.end()
        subprocess.run(["umount", disk], check=True)
