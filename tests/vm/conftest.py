# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator

import pytest
from ansible_collections.immutable.infra.tests.support.machines import STORE, TOKEN, Service, released


@pytest.fixture(scope="session", autouse=True)
def _fresh() -> None:
    """Remove the images of an earlier run, so that this one bakes."""
    os.environ.setdefault(TOKEN, secrets.token_hex(16))
    if not os.environ.get("IMMUTABLE_VM_KEEP_IMAGES"):
        shutil.rmtree(STORE / "images", ignore_errors=True)


@pytest.fixture(scope="session")
def keeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Two slots with data. Nobody can log in."""
    folder = tmp_path_factory.mktemp("keeper") / "keeper"
    with released(Service(folder, "keeper", size=2, shell="off", data=True)) as service:
        yield service


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Two slots without data."""
    folder = tmp_path_factory.mktemp("plain") / "plain"
    with released(Service(folder, "plain", size=2, shell="restricted", data=False)) as service:
        yield service
