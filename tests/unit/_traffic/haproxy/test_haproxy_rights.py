# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What HAProxy's process may do, and that none outlives its balancer."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.probes import Health, HttpProbe
from ansible_collections.immutable.infra.plugins.plugin_utils._traffic.haproxy import balancer as haproxy
from ansible_collections.immutable.infra.plugins.plugin_utils._traffic.haproxy.balancer import HAProxy
from ansible_collections.immutable.infra.tests.support.backends import Backend
from ansible_collections.immutable.infra.tests.support.balancers import port_of, states
from ansible_collections.immutable.infra.tests.support.waiting import PATIENCE, until

OTHER = Health(http=HttpProbe(8080, "/other"))
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change its user")


def user_of(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text().partition("Uid:")[2].split()[0]


@needs_root
def test_it_is_not_root_and_sees_no_file_although_root_started_it(
    balancer: Callable[..., HAProxy], backend: Callable[[str], Backend]
) -> None:
    proxy = balancer()
    proxy.ensure()
    pid = proxy.describe()["pid"]
    state = Path(f"/proc/{pid}/status").read_text()
    assert user_of(pid) != "0"
    assert "CapEff:\t0000000000000000" in state
    assert list(Path(f"/proc/{pid}/root").iterdir()) == []
    proxy.register({"shop-0": backend("shop-0").address})
    assert proxy.ensure() is False
    changed = balancer(OTHER)
    assert changed.ensure() is True, "a new process takes over, as the same user"
    assert user_of(changed.describe()["pid"]) == user_of_folder(proxy)
    assert list(states(changed)) == ["shop-0"]


def user_of_folder(proxy: HAProxy) -> str:
    return str(haproxy.user_for(proxy._folder))


@needs_root
def test_a_balancer_of_an_earlier_release_stays_until_a_change_is_due(
    balancer: Callable[..., HAProxy], backend: Callable[[str], Backend], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr(haproxy, "user_for", lambda _folder: None)
        old = balancer()
        old.ensure()
        old.register({"shop-0": backend("shop-0").address})
    pid = old.describe()["pid"]
    assert user_of(pid) == "0"
    assert balancer().ensure() is False
    assert balancer().describe()["pid"] == pid
    changed = balancer(OTHER)
    assert changed.ensure() is True
    assert user_of(changed.describe()["pid"]) != "0"
    assert states(changed) == {"shop-0": "up"}


def test_a_process_that_still_finishes_requests_ends_with_the_balancer(
    balancer: Callable[..., HAProxy], backend: Callable[[str], Backend], stack: ExitStack
) -> None:
    proxy, service = balancer(), backend("shop-0")
    proxy.ensure()
    old = os.pidfd_open(proxy.describe()["pid"])
    stack.callback(os.close, old)
    proxy.register({"shop-0": service.address})
    until(lambda: states(proxy) == {"shop-0": "up"})
    client = stack.enter_context(socket.create_connection(("127.0.0.1", port_of(proxy))))
    client.sendall(b"GET /slow HTTP/1.1\r\nHost: shop\r\n\r\n")
    assert service.waiting.wait(PATIENCE)
    changed = balancer(OTHER)
    changed.ensure()
    assert not select.select([old], [], [], 0)[0], "it still has the request"
    changed.remove()
    assert select.select([old], [], [], 0)[0], "it has ended"
