# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Locks of a store without a kernel: a lease that is kept while the work lasts."""

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
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.provider import VirtualClock
from ansible_collections.immutable.infra.plugins.plugin_utils._store import s3
from ansible_collections.immutable.infra.plugins.plugin_utils._store.lease import MARGIN, TTL, Lease
from ansible_collections.immutable.infra.plugins.plugin_utils._store.lock import held_lock
from ansible_collections.immutable.infra.plugins.plugin_utils._store.memory import MemoryStore
from ansible_collections.immutable.infra.plugins.plugin_utils._store.s3 import S3Store
from ansible_collections.immutable.infra.tests.support.aws.bucket import LOCATION

KEY = "locks/bake-1.json"
ROOT = Path(s3.__file__).parents[6]  # where this collection was imported from
HOLD = """
import sys
from ansible_collections.immutable.infra.plugins.plugin_utils._store.s3 import S3Store
with S3Store(sys.argv[1]).lock("bake-1", "bake shop"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_lock_has_one_holder_and_says_which(bucket: S3Store) -> None:
    with bucket.lock("bake-1", "bake shop") as held:
        assert held == ()
        with pytest.raises(
            LockedError,
            match=rf"^bake-1 is held by process {os.getpid()} of .* since .* \(bake shop\), until .*; wait for it or stop it",
        ):
            with S3Store(LOCATION).lock("bake-1", "another bake"):
                pytest.fail("two hold it")
        with S3Store(LOCATION).lock("bake-2", "its own"):
            pass
    with S3Store(LOCATION).lock("bake-1", "the next bake"):
        pass


def test_a_lock_is_let_go_when_its_work_fails(bucket: S3Store) -> None:
    with pytest.raises(ZeroDivisionError), bucket.lock("bake-1", "b"):
        raise ZeroDivisionError
    with bucket.lock("bake-1", "c"):
        pass


def test_a_lock_of_a_killed_holder_is_taken_over(bucket: S3Store) -> None:
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
            pytest.fail("two hold it")
        holder.kill()
    with bucket.lock("bake-1", "the next bake"):
        found = bucket.read(KEY)
        assert found is not None and found[0]["epoch"] == 2


@pytest.mark.parametrize("over", [True, False])
def test_a_lock_of_a_holder_elsewhere_is_taken_over_after_its_time(bucket: S3Store, over: bool) -> None:
    with bucket.lock("bake-1", "bake shop"):
        found = bucket.read(KEY)
    assert found is not None
    until = time.time() - MARGIN - 1 if over else time.time() + TTL
    bucket.write(
        KEY,
        {
            **found[0],
            "released": False,
            "until": until,
            "holder": {"id": "x", "host": "elsewhere", "pid": 1, "user": "awx"},
        },
    )
    if not over:
        with pytest.raises(LockedError, match="process 1 of awx on elsewhere"), bucket.lock("bake-1", "the next bake"):
            pytest.fail("two hold it")
        return
    with bucket.lock("bake-1", "the next bake"):
        found = bucket.read(KEY)
        assert found is not None and found[0]["epoch"] == 2


class Watched(MemoryStore):
    """Says when it was written to, and fails where it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Event()
        self.written = threading.Event()
        self.fails = False

    def write(self, key: str, document: Any, expect: str | None = None) -> str:
        self.asked.set()
        if self.fails:
            raise StoreError("the wire is cut")
        tag = super().write(key, document, expect)
        self.written.set()
        return tag


def held(store: Watched, clock: VirtualClock) -> Any:
    return held_lock(
        Lease(store, KEY, "bake-1", "bake shop", clock, monotonic=clock.now, alive=lambda _holder: None), 0.0, ttl=0.06
    )


def test_a_lock_is_renewed_as_long_as_the_work_lasts() -> None:
    store, clock = Watched(), VirtualClock()
    with held(store, clock):
        for _turn in range(3):
            store.written.clear()
            clock.pass_by(TTL / 2 + 1)
            assert store.written.wait(30)
        found = store.read(KEY)
        assert found is not None and found[0]["until"] == clock.now() + TTL and found[0]["epoch"] == 1
    found = store.read(KEY)
    assert found is not None and found[0]["released"]


def test_a_lock_outlives_a_store_that_failed_for_long() -> None:
    store, clock = Watched(), VirtualClock()
    with held(store, clock):
        store.fails = True
        store.asked.clear()
        clock.pass_by(2 * TTL)
        assert store.asked.wait(30)
        store.fails = False
        store.written.clear()
        assert store.written.wait(30)


def test_a_lock_that_was_lost_is_told_after_the_work() -> None:
    store, clock = Watched(), VirtualClock()
    with pytest.raises(LeaseLostError, match="the lease of bake-1 was removed by somebody"):
        with held(store, clock):
            store.delete(KEY)
            store.asked.clear()
            clock.pass_by(TTL / 2 + 1)
            assert store.asked.wait(30)
    assert store.read(KEY) is None
