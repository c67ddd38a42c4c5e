# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Failures during a swap on real machines: a version that never gets healthy, a killed load balancer, a full disk."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
from ansible_collections.immutable.infra.tests.support.load import Load
from ansible_collections.immutable.infra.tests.support.machines import STORE, Service, ask, holders

pytestmark = pytest.mark.vm
long = pytest.mark.long
UNHEALTHY = "GET /healthz answered 500"


def test_a_failed_version_is_rolled_back_with_its_data(keeper: Service) -> None:
    words = keeper.write("well;")
    before = keeper.instances()
    greeting = ask(before[0], "/healthz")[1].decode()
    keeper.define(settings={"broken": "yes"}, fleet={})
    assert UNHEALTHY in keeper.play("swap", check=False)
    after = keeper.converged(greeting, words)
    assert [each["id"] for each in after] == [each["id"] for each in before]
    assert keeper.newest_record()["lowest_in_service"] >= keeper.size - 1


@pytest.mark.parametrize(
    "fleet",
    [pytest.param({}, id="rolling", marks=long), pytest.param({"strategy": "blue_green"}, id="blue_green", marks=long)],
)
def test_without_data_all_slots_serve_all_the_time(plain: Service, fleet: dict[str, object]) -> None:
    plain.greet("well", fleet=fleet)
    plain.play("swap")
    before = plain.instances()
    plain.define(settings={"broken": "yes"})
    assert UNHEALTHY in plain.play("swap", check=False)
    after = plain.converged("well")
    assert [each["id"] for each in after] == [each["id"] for each in before]
    assert plain.newest_record()["lowest_in_service"] == plain.size


@long
@pytest.mark.parametrize("hot", [False, True])
def test_a_failed_version_is_rolled_back_under_recreate(keeper: Service, hot: bool) -> None:
    fleet = {"strategy": "recreate", "hot": hot}
    keeper.greet("well", fleet=fleet)
    keeper.play("swap")
    words = keeper.write("well;")
    before = keeper.instances()
    keeper.define(settings={"broken": "yes"})
    assert UNHEALTHY in keeper.play("swap", check=False)
    after = keeper.converged("well", words)
    assert {each["image"] for each in after} == {each["image"] for each in before}


def test_a_volume_with_a_damaged_file_system_is_left_alone(keeper: Service, tmp_path: Path) -> None:
    words = keeper.write("kept;")
    greeting = ask(keeper.instances()[0], "/healthz")[1].decode()
    [volume] = [each for each in keeper.module("fleet_info")["volumes"] if each["slot"] == 0]
    folder = keeper.store / "qemu/volumes" / volume["id"]
    [disk] = folder.glob(f"disk.{volume['type']}")
    keeper.power_off(volume["attached_to"])
    _write(disk, "0 2")  # instead of the magic number of the superblock
    damaged = _content(disk, tmp_path)
    keeper.greet("cannot be mounted", fleet={})
    output = keeper.play("swap", check=False)
    assert "IMMUTABLE-DATA" in output and "not known to be new" in output
    assert [each["serving"] for each in keeper.instances() if each["slot"] == 1] == [True]
    for holder in holders(folder):
        keeper.power_off(holder)
    assert _content(disk, tmp_path) == damaged
    _write(disk, "0x53 1", "0xef 1")
    keeper.greet(greeting)
    keeper.play("swap")
    keeper.converged(greeting, words)


def _write(disk: Path, *parts: str) -> None:
    """Write bytes to the disk from byte 1080 on. Each part is a value and how often it is written."""
    offset, commands = 1080, []
    for value, count in (part.split() for part in parts):
        commands += ["-c", f"write -P {value} {offset} {count}"]
        offset += int(count)
    subprocess.run(["qemu-io", "-f", disk.suffix[1:], *commands, str(disk)], check=True, capture_output=True)


def _content(disk: Path, folder: Path) -> str:
    """A checksum of what a guest reads from the disk."""
    copy = folder / "content.raw"
    subprocess.run(["qemu-img", "convert", "-f", disk.suffix[1:], "-O", "raw", disk, copy], check=True)
    return hashlib.sha256(copy.read_bytes()).hexdigest()


def test_a_load_balancer_that_is_killed_during_a_swap_is_restarted(plain: Service) -> None:
    plain.greet("after the kill", fleet={})
    status, output = plain.disturb("swap", "slot 1: launched", lambda _child: os.kill(plain.balancer(), signal.SIGKILL))
    assert status == 0, output
    plain.converged("after the kill")


@long
def test_a_load_balancer_with_a_new_configuration_loses_no_request(plain: Service) -> None:
    """Another path of the probe changes the load balancer's configuration, so a new process takes over."""
    load, process = Load(), plain.balancer()
    plain.greet("reconfigured", fleet={}, path="/healthz?reconfigured")
    with load.on(plain.module("fleet_info")["endpoint"]):
        plain.play("swap")
    print(f"while the load balancer was reconfigured: {load}")
    assert plain.balancer() != process
    assert load.sent and not load.failed, load
    plain.converged("reconfigured")


@pytest.fixture
def cramped(keeper: Service, tmp_path: Path) -> Iterator[Service]:
    """The same service with a store of its own, on a file system of 96 MB. Its images are elsewhere."""
    store = tmp_path / "store"
    store.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=96m,mode=0700", "tmpfs", str(store)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"a small file system needs root: {mounted.stderr.strip()}")
    for name in ("images", "bases", "cache"):
        (store / name).symlink_to(STORE / name)
    service = Service(tmp_path / "keeper", "keeper", size=2, shell="off", data=True, target="cramped", store=store)
    try:
        service.play("release")
        yield service
        service.remove()
        assert service.machines() == []
    finally:
        subprocess.run(["umount", str(store)], check=True)


@long
def test_a_full_disk_under_the_store(cramped: Service) -> None:
    words = cramped.write("before the disk was full;")
    filler = cramped.store / "filler"
    cramped.greet("with room again")
    status, output = cramped.disturb(
        "swap", "slot 0: sealed", lambda child: Thread(target=keep_full, args=(filler, child)).start()
    )
    print("with a full disk:", *(line for line in output.splitlines() if os.strerror(errno.ENOSPC) in line), sep="\n  ")
    assert status != 0, output
    assert re.search(rf"failed: .*{re.escape(str(cramped.store))}.*: {os.strerror(errno.ENOSPC)}", output), output
    assert "Traceback" not in output
    assert {
        each["slot"]: ask(each, "/words")[1] for each in cramped.instances() if each["healthy"]
    }.items() <= words.items()
    filler.unlink()
    cramped.play("swap")
    cramped.converged("with room again", words)


def keep_full(file: Path, child: subprocess.Popen[str]) -> None:
    """Fill the disk until the swap ends. Otherwise a stopping machine would free enough space for the swap."""
    with file.open("wb", buffering=0) as filler:
        while child.poll() is None:
            for size in (1024**2, 4096, 1):
                try:
                    while filler.write(bytes(size)):
                        pass
                except OSError as error:
                    assert error.errno == errno.ENOSPC
