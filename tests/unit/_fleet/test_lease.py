# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lease of a fleet: one holder, expiry, take-over, failing stores and wrong clocks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core import processes
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import (
    ImmutableError,
    LeaseLostError,
    LockedError,
    StoreError,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.lease import MARGIN, POLL, TTL, Lease
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.clock import VirtualClock
from ansible_collections.immutable.infra.plugins.plugin_utils._store.base import Store
from ansible_collections.immutable.infra.plugins.plugin_utils._store.file import FileStore
from ansible_collections.immutable.infra.plugins.plugin_utils._store.memory import MemoryStore

ROOT = Path(processes.__file__).parents[6]  # where this collection was imported from
KEY = "leases/shop-prod.json"


@pytest.fixture(params=["memory", "file", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "s3":
        bucket: Store = request.getfixturevalue("bucket")
        return bucket
    return MemoryStore() if request.param == "memory" else FileStore(tmp_path)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


def lease(
    store: Store,
    clock: Any,
    purpose: str = "swap",
    alive: Callable[[Mapping[str, Any]], bool | None] = lambda _holder: None,
) -> Lease:
    return Lease(store, "shop-prod", purpose, clock, monotonic=clock.now, alive=alive)


class Jumping(VirtualClock):
    """A wall clock that may be set, over a monotonic clock that may not."""

    def __init__(self, steady: VirtualClock) -> None:
        super().__init__()
        self.steady, self.error = steady, 0.0

    def now(self) -> float:
        return self.steady.now() + self.error

    def wait(self, seconds: float) -> None:
        self.steady.wait(seconds)


class Failing:
    """A store whose next writes fail, before or after their effect."""

    def __init__(self, store: Store) -> None:
        self._store, self.faults, self.location = store, [], store.location  # type: ignore[var-annotated]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def write(self, key: str, document: Any, expect: str | None = None) -> str:
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "before":
            raise StoreError("the connection broke")
        tag = self._store.write(key, document, expect=expect)
        if fault == "after":
            raise StoreError("the response was lost")
        return tag


def test_one_run_holds_the_lease_and_others_learn_who_holds_it(store: Store, clock: VirtualClock) -> None:
    first = lease(store, clock, "swap to 1.4.2")
    first.acquire()
    assert first.left() == TTL and first.epoch == 1
    with pytest.raises(
        LockedError,
        match=rf"shop-prod is held by process {os.getpid()} of .* since 1970-.* \(swap to 1.4.2\), until 1970-",
    ) as caught:
        lease(store, clock).acquire()
    assert caught.value.details["lease"]["purpose"] == "swap to 1.4.2"
    assert clock.now() == 1_000_000.0
    first.release()
    assert first.left() == 0
    with pytest.raises(LeaseLostError):
        first.need(1)
    second = lease(store, clock)
    with second.held() as held:
        assert held.epoch == 2
    found = store.read(KEY)
    assert found is not None and found[0]["released"] and found[0]["epoch"] == 2


def test_a_contender_waits_no_longer_than_allowed(store: Store, clock: VirtualClock) -> None:
    lease(store, clock).acquire()
    with pytest.raises(LockedError):
        lease(store, clock).acquire(wait=7.5)
    assert clock.now() == 1_000_007.5


def test_the_lease_of_a_dead_holder_is_taken_after_its_expiry_and_the_margin(store: Store, clock: VirtualClock) -> None:
    lease(store, clock).acquire()
    clock.advance(TTL + MARGIN - 1)
    contender = lease(store, clock)
    with pytest.raises(LockedError):
        contender.acquire()
    contender.acquire(wait=10)
    assert clock.now() == 1_000_000 + TTL + MARGIN - 1 + POLL
    assert contender.epoch == 2


def test_the_lease_of_a_holder_known_to_be_dead_is_taken_at_once_but_not_that_of_a_frozen_one(
    store: Store, clock: VirtualClock
) -> None:
    lease(store, clock).acquire()
    for verdict in (True, None):
        with pytest.raises(LockedError):
            lease(store, clock, alive=lambda _holder, verdict=verdict: verdict).acquire()  # type: ignore[misc]
    follower = lease(store, clock, alive=lambda holder: holder["pid"] != os.getpid())
    follower.acquire()
    assert follower.epoch == 2


def test_the_lease_outlasts_each_call(store: Store, clock: VirtualClock) -> None:
    held = lease(store, clock)
    held.acquire()
    written = store.read(KEY)
    held.need(10)
    assert store.read(KEY) == written, "nothing is written while more than half of the time is left"
    for _call in range(20):
        clock.advance(17)
        held.need(20)
        assert held.left() > 20 + MARGIN
    held.need(1800)
    assert held.left() > 1800 + MARGIN
    assert held.epoch == 1


def test_a_frozen_holder_learns_who_holds_the_lease_now(store: Store, clock: VirtualClock) -> None:
    first, second = lease(store, clock), lease(store, clock, "scaling in")
    first.acquire()
    clock.advance(TTL)
    assert first.left() == 0
    first.need(1)  # no other run took it in the meantime
    clock.advance(TTL + MARGIN)
    second.acquire()
    with pytest.raises(LeaseLostError, match=rf"was taken over by process {os.getpid()} .*\(scaling in\).*run again"):
        first.need(1)
    assert first.left() == 0
    first.release()
    second.need(1)
    found = store.read(KEY)
    assert found is not None and not found[0]["released"]


def test_a_removed_lease_is_lost(store: Store, clock: VirtualClock) -> None:
    held = lease(store, clock)
    held.acquire()
    store.delete(KEY)
    clock.advance(TTL)
    with pytest.raises(LeaseLostError, match="deleted by another process"):
        held.need(1)


@pytest.mark.parametrize("fault", ["before", "after"])
def test_a_failing_store_is_retried_while_the_lease_lasts(store: Store, clock: VirtualClock, fault: str) -> None:
    failing = Failing(store)
    held = lease(failing, clock)  # type: ignore[arg-type]
    failing.faults = [fault]
    held.acquire(wait=POLL)
    clock.advance(TTL / 2 + 1)
    failing.faults, left = [fault], held.left()
    held.need(5)
    assert held.left() == left, "no write was needed"
    failing.faults = [fault] * 3
    held.need(30)
    assert held.left() > 30 + MARGIN
    clock.advance(TTL / 2)
    failing.faults = ["before"] * 100
    with pytest.raises(LeaseLostError, match="could not be renewed in time: the connection broke"):
        held.need(30)


def test_a_write_whose_response_was_lost_counts_from_before_it_was_sent(store: Store, clock: VirtualClock) -> None:
    failing = Failing(store)
    held = lease(failing, clock)  # type: ignore[arg-type]
    failing.faults = ["after"]
    held.acquire(wait=10)
    assert held.left() == TTL - POLL
    clock.advance(50)
    failing.faults = ["after"]
    held.need(1)
    clock.advance(3)
    held.need(1)
    found = store.read(KEY)
    assert found is not None and found[0]["until"] == clock.now() + held.left()
    failing.faults = ["after", "before"]
    held.release()
    found = store.read(KEY)
    assert found is not None and found[0]["released"]


def test_a_jumping_clock_does_not_shorten_the_lease(clock: VirtualClock) -> None:
    store, jumping = MemoryStore(), Jumping(clock)
    holder = lease(store, clock)
    holder.acquire()

    class Renewing(VirtualClock):
        def now(self) -> float:
            return jumping.now()

        def wait(self, seconds: float) -> None:
            jumping.wait(seconds)
            jumping.error = 86400.0
            holder.need(10)

    with pytest.raises(LockedError):
        Lease(store, "shop-prod", "swap", Renewing(), monotonic=clock.now, alive=lambda _holder: None).acquire(
            wait=10 * TTL
        )
    assert holder.epoch == 1


@pytest.mark.parametrize("error", [-86400.0, 86400.0])
def test_a_wrong_clock_makes_no_run_wait_longer_than_the_lease(clock: VirtualClock, error: float) -> None:
    store, wrong = MemoryStore(), Jumping(clock)
    wrong.error = error
    lease(store, clock).acquire()
    contender = Lease(store, "shop-prod", "swap", wrong, monotonic=clock.now, alive=lambda _holder: None)
    contender.acquire(wait=TTL + POLL)
    assert clock.now() <= 1_000_000 + TTL + POLL


@pytest.mark.parametrize("document", [[], {}, {"holder": "me"}])
def test_a_document_that_is_no_lease_is_reported(store: Store, clock: VirtualClock, document: Any) -> None:
    store.write(KEY, document)
    with pytest.raises(ImmutableError, match="is not a lease; delete it"):
        lease(store, clock).acquire()


@pytest.fixture
def child() -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A process that has printed its identity and waits."""
    module = "ansible_collections.immutable.infra.plugins.plugin_utils._core.processes"
    code = f"import json, sys\nfrom {module} import process_identity\n"
    code += "print(json.dumps(process_identity()), flush=True)\nsys.stdin.read()\n"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    yield process, json.loads(process.stdout.readline())
    process.kill()
    process.wait()
    process.stdout.close()
    if process.stdin:
        process.stdin.close()


def test_a_process_is_alive_until_it_is_killed(child: tuple[subprocess.Popen[str], dict[str, Any]]) -> None:
    process, identity = child
    assert identity["pid"] == process.pid
    assert processes.process_alive(identity) is True
    process.send_signal(signal.SIGSTOP)
    assert processes.process_alive(identity) is True, "a frozen process is alive"
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert processes.process_alive(identity) is False, "a zombie does nothing any more"
    process.wait()
    assert processes.process_alive(identity) is False


def test_a_reused_process_id_is_another_process() -> None:
    own = processes.process_identity()
    assert processes.process_alive(own) is True
    assert processes.process_alive({**own, "start": "1"}) is False
    for part in ("host", "boot", "pids"):
        assert processes.process_alive({**own, part: "elsewhere"}) is None
        assert processes.process_alive({**own, part: "", "pid": 1 << 22}) is None
    assert processes.process_alive({}) is None


def test_the_lease_of_a_killed_controller_is_taken_at_once(
    tmp_path: Path, child: tuple[subprocess.Popen[str], dict[str, Any]], clock: VirtualClock
) -> None:
    store = FileStore(tmp_path)
    process, identity = child
    Lease(store, "shop-prod", "swap", clock, monotonic=clock.now).acquire()
    found = store.read(KEY)
    assert found is not None
    store.write(KEY, {**found[0], "holder": {**found[0]["holder"], **identity}})
    with pytest.raises(LockedError):
        Lease(store, "shop-prod", "swap", clock, monotonic=clock.now).acquire()
    process.kill()
    process.wait()
    Lease(store, "shop-prod", "swap", clock, monotonic=clock.now).acquire()


def test_a_long_call_needs_a_longer_lease() -> None:
    clock = VirtualClock()
    lease = Lease(MemoryStore(), "shop-prod", "tests", clock, monotonic=clock.now, longest_call=3 * TTL)
    lease.acquire()
    assert lease.left() <= TTL
    lease.need(1.0)
    assert lease.left() <= TTL, "a wait is no call"
    lease.need_for_call(1.0)
    assert lease.left() > 3 * TTL


def test_a_wait_after_a_call_keeps_a_lease_of_the_usual_length(store: Store, clock: VirtualClock) -> None:
    """A job that is canceled while a host boots delays the next one by a minute, not by the length of a call of AWS."""
    held = Lease(store, "shop-prod", "swap", clock, monotonic=clock.now, alive=lambda _holder: None, longest_call=135.0)
    held.acquire()
    expiries = set()
    for second in range(0, 600, 15):
        if second % 150 == 0:
            held.need_for_call(30.0)
            assert held.left() > 135.0 + MARGIN
        else:
            held.need(20.0)
            assert held.left() <= TTL or second % 150 < TTL / 2
        found = store.read(KEY)
        assert found is not None
        expiries.add(found[0]["until"])
        clock.advance(15)
    assert len(expiries) <= 4 * (2 + 150 / (TTL / 2)), "one write more for each call, and one for each half minute"
    started = clock.now()
    lease(store, clock).acquire(wait=2 * TTL)
    assert clock.now() - started <= TTL + MARGIN + POLL


def test_a_lease_is_as_long_as_ever_once_the_long_call_is_over(store: Store, clock: VirtualClock) -> None:
    """If its holder dies later, nobody waits as long as that call might have taken."""
    held = lease(store, clock)
    held.acquire()
    held.need(600)
    clock.advance(10)
    held.need(1)
    assert held.left() == TTL
    written = store.read(KEY)
    held.need(1)
    assert store.read(KEY) == written
    held.need(2 * TTL)
    longer = store.read(KEY)
    held.need(1)
    assert store.read(KEY) == longer, "a launch needs twice the time, and a write after each one is too much for that"
    clock.advance(held.left() + MARGIN)
    lease(store, clock).acquire()


@pytest.mark.parametrize("fault", ["before", "after"])
def test_a_lease_that_may_have_become_shorter_counts_as_shorter(store: Store, clock: VirtualClock, fault: str) -> None:
    failing = Failing(store)
    held = lease(failing, clock)  # type: ignore[arg-type]
    held.acquire()
    held.need(600)
    failing.faults = [fault]
    held.need(1)
    assert held.left() == TTL
    clock.advance(TTL - 10)
    held.need(20)
    found = store.read(KEY)
    assert found is not None and found[0]["until"] == clock.now() + held.left()
    assert held.epoch == 1
