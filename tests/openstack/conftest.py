# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""For all tests on a real OpenStack: the connection of its administrator, and a project of its own for each test.

The tests run in its network: ``tests/openstack/control_plane/run pytest tests/openstack``. Elsewhere they are skipped.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.tests.support.openstack import faults
from ansible_collections.immutable.infra.tests.support.openstack.projects import Project, connect, wait_until_whole

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def admin():
    if not os.environ.get("IMMUTABLE_OPENSTACK"):
        message = "no OpenStack: run this by tests/openstack/control_plane/run"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return connect()


@pytest.fixture(autouse=True)
def _join(monkeypatch: pytest.MonkeyPatch) -> None:
    """The installed collection does not have the control plane."""
    monkeypatch.setattr(faults, "JOIN", HERE / "control_plane/join")


@pytest.fixture
def project(admin) -> Project:
    return Project(admin)


@pytest.fixture(autouse=True)
def _turn(request: pytest.FixtureRequest, admin) -> Iterator[None]:
    """A test that breaks a service for everybody waits until it is alone."""
    alone = request.node.get_closest_marker("alone") is not None
    with (Path(os.environ["IMMUTABLE_OPENSTACK"]) / "turn").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield
        if alone:
            wait_until_whole(admin)
