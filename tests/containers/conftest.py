# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""For all tests with containers: a real engine with a store of its own, which ends with the run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container_engine import (
    ContainerEngine,
    open_engine,
)
from ansible_collections.immutable.infra.tests.support import engine_store, reaper

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.containers)


@pytest.fixture(scope="session")
def run_folder(testrun_uid: str, worker_id: str) -> Path:
    """The folder of this run, which its workers share. Create stores in it: they are removed when the run ends."""
    alone = worker_id == "master"
    marks = os.environ[reaper.VARIABLE].split()
    # A worker and the run that started it have marks of their own.
    return engine_store.run_folder(testrun_uid, os.getpid() if alone else os.getppid(), marks[-1 if alone else -2])


@pytest.fixture(scope="session")
def store(run_folder: Path) -> Path:
    """A store that all tests of the run share."""
    folder = run_folder / "store"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def engine(store: Path) -> ContainerEngine:
    """Podman with its storage in the shared store. Without a working podman the test is skipped, and it fails in CI."""
    engine = open_engine("podman", store / engine_store.ENGINE)
    try:
        engine.run("info")
    except ProviderError as error:
        if os.environ.get("CI"):
            pytest.fail(f"containers cannot be tested: {error}")
        pytest.skip(f"containers cannot be tested: {error}")
    return engine
