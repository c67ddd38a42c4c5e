# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import TrafficSpec
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.probes import Health
from ansible_collections.immutable.infra.plugins.plugin_utils._traffic.haproxy import config
from ansible_collections.immutable.infra.plugins.plugin_utils._traffic.haproxy.balancer import HAProxy
from ansible_collections.immutable.infra.tests.support.backends import Backend
from ansible_collections.immutable.infra.tests.support.balancers import HTTP


@pytest.fixture(autouse=True)
def _needs_haproxy() -> None:
    if shutil.which("haproxy", path=os.environ["PATH"] + ":/usr/sbin") is None:
        pytest.skip("haproxy is not installed")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as each:
        yield each


@pytest.fixture
def backend(stack: ExitStack) -> Callable[[str], Backend]:
    def make(name: str) -> Backend:
        created = Backend(name)
        stack.callback(created.close)
        return created

    return make


@pytest.fixture
def balancer(tmp_path: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> Callable[..., HAProxy]:
    # Ten checks a second, so that no test waits for the next one.
    monkeypatch.setattr(config, "CHECK", config.CHECK.replace("inter 1s", "inter 100ms"))
    # Longer than the address of a Unix socket can be.
    folder = tmp_path / ("deep-" * 20) / ("deeper-" * 10)

    def make(health: Health = HTTP, **spec: object) -> HAProxy:
        created = HAProxy(folder, "shop-local", TrafficSpec(**spec), health)
        stack.callback(created.remove)
        return created

    return make
