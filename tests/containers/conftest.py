# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""For all tests with containers: a real engine with a store of its own, which ends with the run, and two services.

Without a working podman every test here is skipped. In CI it fails.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container_engine import (
    ContainerEngine,
    open_engine,
)
from ansible_collections.immutable.infra.tests.support import engine_store, reaper
from ansible_collections.immutable.infra.tests.support.machines import TOKEN, Service, released

HERE = Path(__file__).parent
# What is the first process of a container: systemd or the service itself. The long tests try each service with both.
SYSTEMD, COMMAND = "systemd", "command"
# Kept between runs, because a base takes longer than everything else.
BASES = Path(os.environ.get("IMMUTABLE_CONTAINER_BASES", HERE.parents[1] / ".cache/container-bases"))


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
def base(store: Path, engine: ContainerEngine, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The base in the shared store. The first worker takes it from the run before, or builds it with its first bake."""
    with (store.parent / "base.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (store / "bases").exists():
            return
        if BASES.exists():
            shutil.copytree(BASES, store / "bases")
        _service("plain", COMMAND, tmp_path_factory.mktemp("base"), store).play("bake")
        if not BASES.exists():
            BASES.parent.mkdir(exist_ok=True)
            copy = Path(shutil.copytree(store / "bases", f"{BASES}.{os.getpid()}"))
            copy.rename(BASES)


@pytest.fixture
def own_store(run_folder: Path) -> Iterator[Path]:
    """An empty store of this test. It is removed with its containers after the test, or when the run ends."""
    folder = run_folder / secrets.token_hex(4)
    folder.mkdir(mode=0o700)
    yield folder
    engine_store.remove(folder)


@pytest.fixture
def room(run_folder: Path) -> Iterator[Path]:
    """An empty folder of this test that every user can enter. Stores in it are removed as ``own_store`` is."""
    folder = run_folder / secrets.token_hex(4)
    folder.mkdir(mode=0o711)
    yield folder
    engine_store.remove(folder)


@pytest.fixture(scope="session", autouse=True)
def engine(store: Path) -> ContainerEngine:
    """Podman with its storage in the shared store."""
    engine = open_engine("podman", store / engine_store.ENGINE)
    try:
        engine.run("info")
    except ProviderError as error:
        if os.environ.get("CI"):
            pytest.fail(f"containers cannot be tested: {error}")
        pytest.skip(f"containers cannot be tested: {error}")
    return engine


def _service(name: str, first: str, folder: Path, store: Path) -> Service:
    """Two containers with a service. With data nobody can log in."""
    os.environ.setdefault(TOKEN, secrets.token_hex(16))
    data = name == "keeper"
    return Service(
        folder / name,
        f"{name}-{first}",
        size=2,
        shell="off" if data else "restricted",
        data=data,
        store=store,
        provider="container",
        command=first == COMMAND,
    )


@pytest.fixture(scope="session", params=[SYSTEMD, pytest.param(COMMAND, marks=pytest.mark.long)])
def keeper(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, store: Path, base: None
) -> Iterator[Service]:
    """Two slots with data. Nobody can log in."""
    with released(_service("keeper", request.param, tmp_path_factory.mktemp("keeper"), store)) as service:
        yield service


@pytest.fixture(scope="session", params=[COMMAND, pytest.param(SYSTEMD, marks=pytest.mark.long)])
def plain(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, store: Path, base: None
) -> Iterator[Service]:
    """Two slots without data."""
    with released(_service("plain", request.param, tmp_path_factory.mktemp("plain"), store)) as service:
        yield service
