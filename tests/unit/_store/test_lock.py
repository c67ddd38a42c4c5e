# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Locks of a store without kernel locks: a lease that is renewed until the work is done."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import (
    LeaseLostError,
    LockedError,
    StoreError,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.clock import VirtualClock
from ansible_collections.immutable.infra.plugins.plugin_utils._store import s3
from ansible_collections.immutable.infra.plugins.plugin_utils._store.lease import MARGIN, TTL, Lease
from ansible_collections.immutable.infra.plugins.plugin_utils._store.lock import held_lock
from ansible_collections.immutable.infra.plugins.plugin_utils._store.memory import MemoryStore
from ansible_collections.immutable.infra.plugins.plugin_utils._store.s3 import S3Store
from ansible_collections.immutable.infra.tests.support.aws.bucket import LOCATION
from ansible_collections.immutable.infra.tests.support.waiting import PATIENCE

KEY = "locks/bake-1.json"
ROOT = Path(s3.__file__).parents[6]  # where this collection was imported from
HOLD = """
import sys
from ansible_collections.immutable.infra.plugins.plugin_utils._store.s3 import S3Store
with S3Store(sys.argv[1]).lock("bake-1", "bake shop"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_lock_has_one_holder_and_the_message_names_it(bucket: S3Store) -> None:
    with bucket.lock("bake-1", "bake shop") as held:
        assert held == ()
        with pytest.raises(
            LockedError,
            match=rf"^bake-1 is held by process {os.getpid()} of .* since .* \(bake shop\), until .*; wait for it "
            rf"or stop it",
        ):
            with S3Store(LOCATION).lock("bake-1", "another bake"):
                pytest.fail("two processes hold the lock")
        with S3Store(LOCATION).lock("bake-2", "its own"):
            pass
    with S3Store(LOCATION).lock("bake-1", "the next bake"):
        pass


def test_a_lock_is_released_when_the_work_fails(bucket: S3Store) -> None:
    with pytest.raises(ZeroDivisionError), bucket.lock("bake-1", "b"):
        raise ZeroDivisionError
    with bucket.lock("bake-1", "c"):
        pass


def test_the_lock_of_a_killed_holder_is_taken_over(bucket: S3Store) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, LOCATION],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(LockedError, match=f"process {holder.pid} "), bucket.lock("bake-1", "the next bake"):
            pytest.fail("two processes hold the lock")
        holder.kill()
    with bucket.lock("bake-1", "the next bake"):
        found = bucket.read(KEY)
        assert found is not None and found[0]["epoch"] == 2


@pytest.mark.parametrize("expired", [True, False])
def test_a_lock_held_on_another_machine_is_taken_over_after_it_expires(bucket: S3Store, expired: bool) -> None:
    with bucket.lock("bake-1", "bake shop"):
        found = bucket.read(KEY)
    assert found is not None
    until = time.time() - MARGIN - 1 if expired else time.time() + TTL
    bucket.write(
        KEY,
        {
            **found[0],
            "released": False,
            "until": until,
            "holder": {"id": "x", "host": "elsewhere", "pid": 1, "user": "awx"},
        },
    )
    if not expired:
        with pytest.raises(LockedError, match="process 1 of awx on elsewhere"), bucket.lock("bake-1", "the next bake"):
            pytest.fail("two processes hold the lock")
        return
    with bucket.lock("bake-1", "the next bake"):
        found = bucket.read(KEY)
        assert found is not None and found[0]["epoch"] == 2


class WatchedStore(MemoryStore):
    """Signals when a write starts and ends, and fails on request."""

    def __init__(self) -> None:
        super().__init__()
        self.attempted = threading.Event()
        self.written = threading.Event()
        self.fails = False

    def write(self, key: str, document: Any, expect: str | None = None) -> str:
        self.attempted.set()
        if self.fails:
            raise StoreError("the connection is lost")
        tag = super().write(key, document, expect)
        self.written.set()
        return tag


def held(store: WatchedStore, clock: VirtualClock) -> Any:
    return held_lock(
        Lease(
            store,
            KEY,
            name="bake-1",
            purpose="bake shop",
            clock=clock,
            monotonic=clock.now,
            alive=lambda _holder: None,
        ),
        0.0,
        ttl=0.06,
    )


def test_a_lock_is_renewed_until_the_work_is_done() -> None:
    store, clock = WatchedStore(), VirtualClock()
    with held(store, clock):
        for _turn in range(3):
            store.written.clear()
            clock.advance(TTL / 2 + 1)
            assert store.written.wait(PATIENCE)
        found = store.read(KEY)
        assert found is not None and found[0]["until"] == clock.now() + TTL and found[0]["epoch"] == 1
    found = store.read(KEY)
    assert found is not None and found[0]["released"]


def test_a_lock_survives_a_long_failure_of_the_store() -> None:
    store, clock = WatchedStore(), VirtualClock()
    with held(store, clock):
        store.fails = True
        store.attempted.clear()
        store.written.clear()  # before an attempt may succeed
        clock.advance(2 * TTL)
        assert store.attempted.wait(PATIENCE)
        store.fails = False
        assert store.written.wait(PATIENCE)


def test_a_lost_lock_raises_after_the_work() -> None:
    store, clock = WatchedStore(), VirtualClock()
    with pytest.raises(LeaseLostError, match="the lease of bake-1 was deleted by another process"):
        with held(store, clock):
            store.delete(KEY)
            store.attempted.clear()
            clock.advance(TTL / 2 + 1)
            assert store.attempted.wait(PATIENCE)
    assert store.read(KEY) is None
