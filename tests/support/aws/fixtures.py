# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""pytest fixtures. A conftest imports ``cloud`` and ``cloud_server``, and names both in its ``__all__``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .rights import judge
from .server import Cloud, forget_clients
from .server import cloud as serve


@pytest.fixture(scope="session")
def cloud_server() -> Iterator[Cloud]:
    """One for the whole run of pytest; another run has its own, on ports of its own."""
    with serve() as made:
        yield made


@pytest.fixture
def cloud(cloud_server: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """Empty, and what the environment of this process names. No test makes the collection ask for more than the documented policy allows."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in cloud_server.environment().items():
        monkeypatch.setenv(name, value)
    cloud_server.reset()
    yield cloud_server
    forget_clients()
    judge(cloud_server.calls())
