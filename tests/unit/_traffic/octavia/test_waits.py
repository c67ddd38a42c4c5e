# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a pool does while Octavia makes another change. The answers are those of the release Zed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import TrafficError
from ansible_collections.immutable.infra.plugins.plugin_utils._openstack.connect import Connections
from ansible_collections.immutable.infra.plugins.plugin_utils._traffic.octavia import balancer as module
from ansible_collections.immutable.infra.plugins.plugin_utils._traffic.octavia.balancer import OctaviaPool
from ansible_collections.immutable.infra.tests.support.openstack.paper_cloud import Answer

pytest.importorskip("openstack")

ENDPOINT = ("10.7.0.11", 8080)


class Octavia:
    """A load balancer in a state. ``settles_after``: seconds until it becomes ACTIVE."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, status: str, settles_after: float) -> None:
        self.status, self.settles_after, self.now = status, settles_after, 0.0
        self.requests: list[str] = []
        connection = SimpleNamespace(load_balancer=SimpleNamespace(request=self._request))
        self.connections = cast(Connections, SimpleNamespace(connection=connection))
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: self.now, sleep=self._pass, time=None))
        self.pool = OctaviaPool(self.connections, "shop-live", "pool", now=lambda: self.now)

    def _pass(self, seconds: float) -> None:
        self.now += seconds
        if self.now >= self.settles_after and self.status != "ERROR":
            self.status = "ACTIVE"

    def _request(self, path: str, method: str, **_more: Any) -> Answer:
        self.requests.append(f"{method} {path.partition('?')[0]}")
        if method != "GET" and self.status != "ACTIVE":
            answer = Answer({"faultstring": "Load Balancer lb is immutable and cannot be updated."}, 409)
            answer.headers["content-type"] = "application/json"
            return answer
        if path == "/lbaas/pools/pool":
            return Answer({"pool": {"loadbalancers": [{"id": "lb"}]}})
        if path == "/lbaas/loadbalancers/lb":
            return Answer({"loadbalancer": {"provisioning_status": self.status}})
        return Answer({"members": []})

    def puts(self) -> int:
        return self.requests.count("PUT /lbaas/pools/pool/members")


def test_a_change_is_repeated_once_the_load_balancer_accepts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    octavia = Octavia(monkeypatch, "PENDING_UPDATE", 10.0)
    octavia.pool.register({"one": ENDPOINT})
    assert octavia.puts() == 2 and octavia.now == 10.0


def test_a_change_that_takes_too_long_is_given_up_with_octavia_s_words(monkeypatch: pytest.MonkeyPatch) -> None:
    octavia = Octavia(monkeypatch, "PENDING_UPDATE", 100.0)
    with pytest.raises(TrafficError, match="registering members: .* is immutable and cannot be updated"):
        octavia.pool.register({"one": ENDPOINT})
    assert octavia.puts() == 2 and octavia.now <= module.TIMEOUT + module.POLL_SECONDS


def test_a_load_balancer_that_has_failed_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    octavia = Octavia(monkeypatch, "ERROR", 0.0)
    with pytest.raises(TrafficError, match="load balancer lb of pool pool has the status ERROR"):
        octavia.pool.register({"one": ENDPOINT})
    assert octavia.puts() == 1 and octavia.now <= module.POLL_SECONDS
