# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What holds for swaps on every provider with real machines: with kills, versions that fail, load, and rollbacks."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from .load import Load
from .machines import PIPED, Service, ask, events
from .waiting import until

UNHEALTHY = "GET /healthz answered 500"
ROLLING: Mapping[str, Any] = {}
BLUE_GREEN: Mapping[str, Any] = {"strategy": "blue_green"}
CANARY: Mapping[str, Any] = {"strategy": "canary", "canary": [{"instances": 1, "soak": "5s"}]}
RECREATE: Mapping[str, Any] = {"strategy": "recreate"}
HOT: Mapping[str, Any] = {"strategy": "recreate", "hot": True}


def strategy_of(value: object) -> str | None:
    """The name of a strategy in a test's name."""
    if not isinstance(value, Mapping):
        return None
    return f"{value.get('strategy', 'rolling')}{' hot' if value.get('hot') else ''}"


def ids(instances: list[dict[str, Any]]) -> list[str]:
    return [each["id"] for each in instances]


def greeting_of(service: Service) -> str:
    """The greeting that the fleet answers with."""
    return ask(service.instances()[0], "/healthz")[1].decode()


def complete_after_kill(service: Service, fleet: Mapping[str, Any], mark: str, tree: bool) -> None:
    """Kill a swap once it prints ``mark``. The next run must replace every instance and keep the data.

    Args:
        tree: whether every process of the run is killed, or ansible-playbook alone.
    """
    words = service.write(f"{mark};") if service.data else None
    before = service.instances()
    greeting = f"after {mark}, {fleet.get('strategy', 'rolling')}"
    service.greet(greeting, fleet=dict(fleet))
    service.kill_while_playing("swap", mark, tree)
    service.play("swap")
    after = service.converged(greeting, words)
    assert not set(ids(after)) & set(ids(before))


def take_back(service: Service, fleet: Mapping[str, Any], same: bool = True) -> None:
    """Swap to a version that never gets healthy. The previous one must serve again, with its data.

    Args:
        same: whether the old instances themselves must serve.
    """
    service.greet("well", fleet=dict(fleet))
    service.play("swap")
    words = service.write("well;") if service.data else None
    before = service.instances()
    # Only the bad version has to be in time where no old instance starts again.
    hurried = {"deadline": service.lab.short_deadline} if same and not service.data else {}
    service.define(settings={"broken": "yes"}, **hurried)
    output = service.play("swap", check=False)
    service.define(deadline=service.lab.deadline)
    assert UNHEALTHY in output
    assert "Traceback" not in output
    after = service.converged("well", words)
    assert {each["image"] for each in after} == {each["image"] for each in before}
    if same:
        assert ids(after) == ids(before)
        assert service.newest_record()["lowest_in_service"] >= service.size - (1 if service.data else 0)


def under_load(service: Service, greeting: str) -> Load:
    """Swap to another setting, with requests until the swap ends."""
    load = Load()
    service.greet(greeting)
    with load.on(service.info()["endpoint"]):
        service.play("swap")
    service.converged(greeting)
    print(f"{greeting}: {load}; seconds: {service.newest_record()['timeline'][-1]['seconds']}")
    return load


def lose_no_request(service: Service, fleet: Mapping[str, Any]) -> None:
    service.define(fleet=dict(fleet))
    load = under_load(service, f"loaded, {fleet.get('strategy', 'rolling')}")
    assert load.sent > 0
    assert load.failed == 0, load
    assert service.newest_record()["lowest_in_service"] == service.size


def record_the_downtime(service: Service) -> None:
    """Recreate one host with data. The duration is printed, not tested."""
    words = service.write("alone;")
    for hot in (False, True):
        service.define(fleet={"size": 1, "strategy": "recreate", "hot": hot})
        load = under_load(service, f"alone, hot {hot}")
        record = service.newest_record()
        print(f"hot {hot}: no instance served for {record['downtime']} s; {load}")
        assert record["downtime"] > 0
        assert record["lowest_in_service"] == 0
    service.greet("two again", fleet={"size": 2})
    service.play("swap")
    service.converged("two again", words)


def restart_the_load_balancer(service: Service, mark: str) -> None:
    """Kill the load balancer while a swap runs. The swap must end well."""
    greeting = f"after the kill at {mark}"
    service.greet(greeting, fleet={})
    status, output = service.disturb("swap", mark, lambda _child: os.kill(service.balancer(), signal.SIGKILL))
    assert status == 0, output
    service.play("swap")  # starts it again, if the swap ended before the kill
    service.converged(greeting)


def reconfigure_the_load_balancer(service: Service) -> None:
    """Another path of the probe changes the load balancer's configuration, so a new process takes over."""
    load, process = Load(), service.balancer()
    service.greet("reconfigured", fleet={}, path="/healthz?reconfigured")
    with load.on(service.info()["endpoint"]):
        service.play("swap")
    print(f"while the load balancer was reconfigured: {load}")
    assert service.balancer() != process
    assert load.sent and not load.failed, load
    service.converged("reconfigured")


WAITS = """
- name: Hold the swap back
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Wait for the other runs
      ansible.builtin.wait_for:
        path: "{{ playbook_dir }}/go-on"
        sleep: 1
"""


def refuse_or_wait_for_another_run(service: Service) -> None:
    """Start two more runs with another goal in the middle of a swap: one is refused, one waits for its turn.

    No request may be lost.
    """
    load, waiting = Load(), []
    (service.swaps / "waits.yml").write_text(WAITS, encoding="utf-8")

    def start(_child: subprocess.Popen[str]) -> None:
        service.greet("of the second run", fleet={})
        refused = service.run("swap")
        assert refused.returncode and "is held by" in refused.stdout, refused.stdout
        waiting.append(subprocess.Popen(service.arguments("swap", lock_timeout="20m"), **PIPED))
        (service.swaps / "go-on").touch()

    service.greet("of the first run", fleet={"before_swap": "swaps/waits.yml"})
    with load.on(service.info()["endpoint"]):
        status, output = service.disturb("swap", "Wait for the other runs", start)
        [second] = waiting
        last_words = second.communicate()[0]
    assert status == 0, output
    assert second.returncode == 0, last_words
    assert load.sent and not load.failed, load
    service.converged("of the second run")


def leave_nothing_of_a_killed_verification(service: Service, mark: str) -> None:
    """Kill a verification once it prints ``mark``. Its machines end, and the next one leaves nothing of either."""
    before, folder = service.machines(), service.store / service.lab.provider
    service.kill_module("image_verify", mark, force=True)
    until(lambda: service.machines() == before)
    result = service.module("image_verify", force=True)
    assert result["image"]["verified"]
    assert service.machines() == before
    assert [path for kind in ("machines", "volumes") for path in folder.glob(f"{kind}/verify-{service.fleet}/*")] == []


def versions(service: Service) -> set[str]:
    return {ask(each, "/version")[1].decode() for each in service.instances()}


def roll_back_twice(service: Service) -> None:
    """While the old fleet is kept, traffic switches back to it. Afterwards, the old image is launched again."""
    service.greet("as it was", fleet={})
    service.play("swap")
    first = service.converged("as it was")
    service.greet("another", fleet={"strategy": "blue_green", "keep_old": "1h"}, version="2")
    service.play("release", wait=False)
    assert service.newest_record()["intent"]["status"] == "done"  # of the previous swap: this one is paused
    assert versions(service) == {"2", "1"}

    service.define(version="2")
    output = service.play("rollback", wait=False)
    print("while the old fleet was kept:", *events(output), sep="\n  ")
    assert "launched" not in output
    serving = [each for each in service.instances() if each["serving"]]
    assert ids(serving) == ids(first)

    service.define(fleet={"strategy": "blue_green"})
    service.play("promote")
    service.play("swap")
    assert {ask(each, "/version")[1] for each in service.converged("another")} == {b"2"}
    service.greet("a third one")
    service.play("swap")

    output = service.play("rollback")
    print("once the old fleet was removed:", *events(output), sep="\n  ")
    assert {ask(each, "/version")[1] for each in service.converged("as it was")} == {b"1"}


@contextmanager
def small_file_system(folder: Path, size: str = "96m") -> Iterator[Path]:
    """A small file system in a new folder. Needs root; the test is skipped without."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a small file system needs root: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def complete_after_a_full_disk(service: Service, mark: str) -> None:
    """Fill the disk below the store once a swap prints ``mark``. With room again, the next run completes the swap."""
    words = service.write("before the disk was full;")
    filler = service.store / "filler"
    service.greet("with room again")
    full = os.strerror(errno.ENOSPC)
    try:
        status, output = service.disturb(
            "swap", mark, lambda child: Thread(target=keep_full, args=(filler, child)).start()
        )
        print("with a full disk:", *(line for line in output.splitlines() if full in line), sep="\n  ")
        assert status != 0, output
        # An engine says it in its own words.
        assert re.search(rf"failed: .*{full}", output, re.IGNORECASE), output
        assert "Traceback" not in output
        # By a playbook, as the swap was: the engine's settings name the Python that runs it.
        instances = service.module("fleet_info")["instances"]
        healthy = {each["slot"]: ask(each, "/words")[1] for each in instances if each["healthy"]}
        assert healthy.items() <= words.items()
    finally:
        filler.unlink()
    service.play("swap")
    service.converged("with room again", words)


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
