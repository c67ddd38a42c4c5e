# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ConflictError
from ansible_collections.immutable.infra.plugins.plugin_utils._store.base import ABSENT
from ansible_collections.immutable.infra.plugins.plugin_utils._store.file import FileStore
from ansible_collections.immutable.infra.plugins.plugin_utils._store.memory import MemoryStore
from ansible_collections.immutable.infra.plugins.plugin_utils._store.s3 import S3Store
from ansible_collections.immutable.infra.tests.support.aws.bucket import BUCKET, make_bucket
from ansible_collections.immutable.infra.tests.support.aws.server import Cloud
from hypothesis import given, settings

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(), below, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["a.json", "channels/shop/prod.json", "channels/shop/canary.json", "images/aa/q/record.json"])
STEPS = st.lists(st.tuples(st.sampled_from(["write", "create", "replace", "stale", "delete"]), KEYS, JSON), max_size=12)


def apply(store: Any, steps: list[tuple[str, str, Any]]) -> list[str]:
    """Return the outcome of each step. The tags may differ between stores."""
    outcomes = []
    for action, key, document in steps:
        found = store.read(key)
        expect = {"write": None, "create": ABSENT, "replace": found[1] if found else ABSENT, "stale": "stale"}.get(
            action
        )
        if action == "delete":
            store.delete(key)
            continue
        try:
            tag = store.write(key, document, expect=expect)
        except ConflictError:
            outcomes.append("conflict")
        else:
            outcomes.append("written")
            assert store.read(key) == (document, tag)
    return outcomes


def agree(store: Any, memory: MemoryStore, steps: list[tuple[str, str, Any]]) -> None:
    assert apply(store, steps) == apply(memory, steps)
    for prefix in ("channels/", "channels/shop/p", "images/"):
        assert store.list(prefix) == memory.list(prefix)
        assert [store.read(key)[0] for key in store.list(prefix)] == [
            memory.read(key)[0] for key in memory.list(prefix)
        ]  # type: ignore[index]


@settings(max_examples=100, deadline=None)
@given(STEPS)
def test_the_folder_and_the_memory_store_behave_the_same(steps: list[tuple[str, str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        agree(FileStore(Path(folder)), MemoryStore(), steps)


@pytest.fixture(scope="module")
def new_bucket(cloud_server: Cloud) -> Iterator[Callable[[], S3Store]]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in cloud_server.environment().items():
            patch.setenv(name, value)
        cloud_server.reset()
        make_bucket(cloud_server)
        numbers = count()
        yield lambda: S3Store(f"s3://{BUCKET}/{next(numbers)}")


@settings(max_examples=30, deadline=None)
@given(steps=STEPS)
def test_the_bucket_and_the_memory_store_behave_the_same(
    new_bucket: Callable[[], S3Store], steps: list[tuple[str, str, Any]]
) -> None:
    agree(new_bucket(), MemoryStore(), steps)
