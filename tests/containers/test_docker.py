# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Docker as the engine: the same bake, swaps and promises as with Podman."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.tests.support.docker_daemon import docker_daemon
from ansible_collections.immutable.infra.tests.support.machines import TOKEN, Service, released
from ansible_collections.immutable.infra.tests.support.swap_checks import (
    ROLLING,
    complete_after_kill,
    leave_nothing_of_a_killed_verification,
    lose_no_request,
    take_back,
)

pytestmark = pytest.mark.long


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "data"])
def service(
    request: pytest.FixtureRequest, run_folder: Path, store: Path, base: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """Two containers of Docker, in a store of their own. With data nobody can log in."""
    data = request.param
    os.environ.setdefault(TOKEN, secrets.token_hex(16))
    own = run_folder / f"docker-{secrets.token_hex(4)}"
    own.mkdir(mode=0o700)
    (own / "bases").symlink_to(store / "bases")
    with docker_daemon(own / "docker") as daemon, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", daemon.address)
        running = Service(
            tmp_path_factory.mktemp("docker") / "service",
            "keeper-docker" if data else "plain-docker",
            size=2,
            shell="off" if data else "restricted",
            data=data,
            store=own,
            provider="docker",
            command=True,
        )
        with released(running):
            yield running


def test_a_swap_loses_no_request_where_that_is_promised(service: Service) -> None:
    if service.data:
        pytest.skip("it is not promised with data")
    lose_no_request(service, ROLLING)


def test_a_failed_version_is_taken_back(service: Service) -> None:
    take_back(service, ROLLING)


@pytest.mark.parametrize("mark", ["slot 0: launched", "slot 1: registered"])
def test_the_run_after_a_kill_completes_the_swap(service: Service, mark: str) -> None:
    complete_after_kill(service, ROLLING, mark, tree=True)


def test_a_killed_verification_leaves_nothing(service: Service) -> None:
    leave_nothing_of_a_killed_verification(service, "booted ")
