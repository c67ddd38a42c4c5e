# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Many writers of one document: each accepted write counts exactly once."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._store.s3 import S3Store
from ansible_collections.immutable.infra.tests.support.aws.bucket import LOCATION
from ansible_collections.immutable.infra.tests.support.aws.counter import TIMES, count_up
from ansible_collections.immutable.infra.tests.support.aws.server import Cloud

WRITERS = 4


def processes() -> Executor:
    return ProcessPoolExecutor(WRITERS, multiprocessing.get_context("spawn"))


@pytest.mark.parametrize("writers", [partial(ThreadPoolExecutor, WRITERS), processes], ids=["threads", "processes"])
def test_no_accepted_write_is_lost(cloud: Cloud, bucket: S3Store, writers: partial[Executor]) -> None:
    bucket.write("counter.json", {"count": 0})
    with writers() as pool:
        list(pool.map(count_up, [LOCATION] * WRITERS, range(WRITERS)))
    found = bucket.read("counter.json")
    assert found is not None and found[0]["count"] == WRITERS * TIMES
