# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""pytest fixtures. A conftest imports ``cloud`` and ``cloud_server``, and names both in its ``__all__``."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.loaders import JSONFileLoader

from .rights import judge
from .server import Cloud, forget_clients
from .server import cloud as serve


def remember_service_models() -> None:
    """Read each of AWS's descriptions of its services once in this process.

    Each test has clients of its own, and reading the descriptions took half of its time.
    """

    @functools.cache
    def read(path: str) -> Any:
        return original(JSONFileLoader(), path)

    original = JSONFileLoader.load_file
    JSONFileLoader.load_file = lambda _self, path: read(path)


@pytest.fixture(scope="session")
def cloud_server() -> Iterator[Cloud]:
    """One cloud for the complete run of pytest. Each run has its own, on its own ports."""
    with serve() as server:
        yield server


@pytest.fixture
def cloud(cloud_server: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """An empty cloud, to which this process's environment points.

    The test fails if the collection makes a call that the documented policy does not allow.
    """
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in cloud_server.environment().items():
        monkeypatch.setenv(name, value)
    cloud_server.reset()
    yield cloud_server
    forget_clients()
    judge(cloud_server.calls())
