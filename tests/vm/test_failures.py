# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Failures during a swap on real machines: a version that never gets healthy, a killed load balancer, a full disk."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.tests.support.machines import STORE, Service, ask
from ansible_collections.immutable.infra.tests.support.swap_checks import (
    complete_after_a_full_disk,
    reconfigure_the_load_balancer,
    restart_the_load_balancer,
    small_file_system,
    take_back,
)

long = pytest.mark.long


def test_a_failed_version_is_rolled_back_with_its_data(keeper: Service) -> None:
    take_back(keeper, {})


@pytest.mark.parametrize("fleet", [{}, {"strategy": "blue_green"}], ids=["rolling", "blue_green"])
@long
def test_without_data_all_slots_serve_all_the_time(plain: Service, fleet: dict[str, object]) -> None:
    take_back(plain, fleet)


@long
@pytest.mark.parametrize("hot", [False, True])
def test_a_failed_version_is_rolled_back_under_recreate(keeper: Service, hot: bool) -> None:
    take_back(keeper, {"strategy": "recreate", "hot": hot}, same=False)


def test_a_volume_with_a_damaged_file_system_is_left_alone(keeper: Service, tmp_path: Path) -> None:
    words = keeper.write("kept;")
    greeting = ask(keeper.instances()[0], "/healthz")[1].decode()
    [volume] = [each for each in keeper.info()["volumes"] if each["slot"] == 0]
    folder = keeper.store / "qemu/volumes" / volume["id"]
    [disk] = folder.glob(f"disk.{volume['type']}")
    keeper.power_off(volume["attached_to"])
    _write(disk, "0 2")  # instead of the magic number of the superblock
    damaged = _content(disk, tmp_path)
    keeper.greet("cannot be mounted", fleet={})
    output = keeper.play("swap", check=False)
    assert "IMMUTABLE-DATA" in output and "not known to be new" in output
    assert [each["serving"] for each in keeper.instances() if each["slot"] == 1] == [True]
    for holder in keeper.holders(volume["id"]):
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


@long
def test_a_load_balancer_that_is_killed_during_a_swap_is_restarted(plain: Service) -> None:
    restart_the_load_balancer(plain, "slot 1: launched")


@long
def test_a_load_balancer_with_a_new_configuration_loses_no_request(plain: Service) -> None:
    reconfigure_the_load_balancer(plain)


@pytest.fixture
def cramped(keeper: Service, tmp_path: Path) -> Iterator[Service]:
    """The same service with a store of its own, on a file system of 96 MB. Its images are elsewhere."""
    with small_file_system(tmp_path / "store") as store:
        for name in ("images", "bases", "cache"):
            (store / name).symlink_to(STORE / name)
        service = Service(tmp_path / "keeper", "keeper", size=2, shell="off", data=True, target="cramped", store=store)
        service.play("release")
        yield service
        service.remove()
        assert service.machines() == []


@long
def test_a_full_disk_under_the_store(cramped: Service) -> None:
    complete_after_a_full_disk(cramped, "slot 0: sealed")
