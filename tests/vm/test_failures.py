# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Failures during a swap on real machines: a version that never gets healthy, a killed load balancer, a full disk."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
from ansible_collections.immutable.infra.tests.support.load import Load
from ansible_collections.immutable.infra.tests.support.machines import STORE, Service, ask

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
