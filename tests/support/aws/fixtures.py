# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""pytest fixtures. A conftest imports ``cloud`` and ``cloud_server``, and names both in its ``__all__``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.client import ClientCreator
from botocore.loaders import JSONFileLoader, Loader

from .rights import judge
from .server import Cloud, forget_clients
from .server import cloud as serve


def remember_service_models() -> None:
    """Read AWS's descriptions of its services, and make models and classes from them, once in this process.

    Each test has sessions and clients of its own. Making the same models for each of them took more time than the
    calls. Models and classes describe a service. They know nothing of a session, a client or an account.
    """
    _remember(JSONFileLoader, "load_file")
    _remember(Loader, "list_available_services", lambda loader: tuple(loader.search_paths))
    _remember(ClientCreator, "_load_service_model")
    _remember(ClientCreator, "_create_client_class", arguments=1)  # the second one is the model of the service


def _remember(
    owner: Any, name: str, of: Callable[[Any], Any] = lambda _self: None, arguments: int | None = None
) -> None:
    """Keep what a method returns.

    Args:
        of: what the result depends on in the object.
        arguments: the number of arguments that it depends on, counted from the first; all by default.
    """
    original = getattr(owner, name)
    results: dict[Any, Any] = {}

    def recall(self: Any, *args: Any, **named: Any) -> Any:
        key = (of(self), args[:arguments], *sorted(named.items()))
        if key not in results:
            results[key] = original(self, *args, **named)
        return results[key]

    setattr(owner, name, recall)


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
