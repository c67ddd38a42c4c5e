# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The real HAProxy in front of small HTTP servers: swaps under load, drains, kills, takeovers."""

from __future__ import annotations

import http.client
import http.server
import os
import select
import shutil
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import TrafficError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.probes import Health, HttpProbe
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.clock import VirtualClock
from ansible_collections.immutable.infra.plugins.plugin_utils._traffic.haproxy import balancer as haproxy
from ansible_collections.immutable.infra.plugins.plugin_utils._traffic.haproxy.balancer import HAProxy
from ansible_collections.immutable.infra.plugins.plugin_utils._traffic.haproxy.state import Server
from ansible_collections.immutable.infra.tests.support.backends import Backend, get, steady_load
from ansible_collections.immutable.infra.tests.support.balancers import passing, port_of, states
from ansible_collections.immutable.infra.tests.support.waiting import PATIENCE, until


def test_swap_under_load_fails_no_request(balancer: Callable[..., HAProxy], backend: Callable[[str], Backend]) -> None:
    proxy = balancer()
    assert proxy.ensure() is True
    old = {name: backend(name) for name in ("shop-local-0-old", "shop-local-1-old")}
    proxy.register({name: each.address for name, each in old.items()})
    until(lambda: set(states(proxy).values()) == {"up"})
    with steady_load(port_of(proxy)) as failures:
        for name, each in old.items():
            fresh = backend(name.replace("old", "new"))
            proxy.register({fresh.name: fresh.address})
            until(lambda: states(proxy)[fresh.name] == "up")  # noqa: B023 - called before the next round
            proxy.drain([name], 30.0)
            assert states(proxy)[name] == "drain"
            until(lambda: next(m.in_flight for m in proxy.members() if m.id == name) == 0)  # noqa: B023
            proxy.deregister([name])
            each.close()
    assert failures == []
    assert states(proxy) == {"shop-local-0-new": "up", "shop-local-1-new": "up"}


def test_a_staged_member_is_checked_and_gets_no_request(
    balancer: Callable[..., HAProxy], backend: Callable[[str], Backend]
) -> None:
    proxy = balancer()
    proxy.ensure()
    old, fresh = backend("old"), backend("fresh")
    fresh.healthy = False
    proxy.register({"old": old.address})
    for _repeated in range(2):
        proxy.register({"fresh": fresh.address}, staged=True)
    until(lambda: states(proxy) == {"old": "up", "fresh": "drain"})
    until(lambda: proxy._servers()[1].status.startswith("DOWN"))
    assert passing(proxy) == {"old": True, "fresh": False}
    fresh.healthy = True
    until(lambda: passing(proxy) == {"old": True, "fresh": True})
    assert states(proxy)["fresh"] == "drain"
    assert {get(port_of(proxy)) for _request in range(10)} == {"old"}
    proxy.register({"old": old.address}, staged=True)
    assert states(proxy)["old"] == "up", "a member in service stays in service"


def test_a_switch_and_its_rollback_under_load_fail_no_request(
    balancer: Callable[..., HAProxy], backend: Callable[[str], Backend]
) -> None:
    proxy = balancer()
    proxy.ensure()
    blue, green = ({name: backend(name) for name in (f"{colour}-0", f"{colour}-1")} for colour in ("blue", "green"))
    proxy.register({name: each.address for name, each in blue.items()})
    proxy.register({name: each.address for name, each in green.items()}, staged=True)
    until(lambda: all(passing(proxy).values()))
    with steady_load(port_of(proxy)) as failures:
        for _round in range(5):
            proxy.switch([*green], [*blue, "never-known"])
            assert states(proxy) == {"blue-0": "drain", "blue-1": "drain", "green-0": "up", "green-1": "up"}
            assert {get(port_of(proxy)) for _request in range(4)} <= set(green)
            proxy.switch([*blue], [*green])
            assert {get(port_of(proxy)) for _request in range(4)} <= set(blue)
    assert failures == []


def test_an_unknown_member_is_not_put_in_service(
    balancer: Callable[..., HAProxy], backend: Callable[[str], Backend]
) -> None:
    proxy = balancer()
    proxy.ensure()
    service = backend("shop-0")
    proxy.register({"shop-0": service.address})
    until(lambda: states(proxy) == {"shop-0": "up"})
    with pytest.raises(TrafficError, match="^shop-1, shop-2 cannot be put in service"):
        proxy.switch(["shop-1", "shop-2"], ["shop-0"])
    assert states(proxy) == {"shop-0": "up"}, "nothing is switched"


def test_after_a_takeover_a_rollback_is_possible(
    balancer: Callable[..., HAProxy], backend: Callable[[str], Backend]
) -> None:
    """A member in service is unchecked and passes. A staged member must pass the new checks."""
    proxy = balancer()
    proxy.ensure()
    services = {name: backend(name) for name in ("old", "fresh", "ill")}
    proxy.register({"old": services["old"].address})
    proxy.register({name: services[name].address for name in ("fresh", "ill")}, staged=True)
    until(lambda: all(passing(proxy).values()))
    services["ill"].healthy = False
    changed = balancer(Health(http=HttpProbe(8080, "/healthz", (200, 204))))
    assert changed.ensure() is True
    until(lambda: passing(changed) == {"old": True, "fresh": True, "ill": False})
    assert states(changed) == {"old": "up", "fresh": "drain", "ill": "drain"}
    changed.switch(["fresh"], ["old"])
    assert passing(changed) == {"old": True, "fresh": True, "ill": False}
    changed.register({"old": services["old"].address})
    assert states(changed) == {"old": "up", "fresh": "up", "ill": "drain"}


def test_in_flight_counts_requests_and_not_idle_connections(
    balancer: Callable[..., HAProxy], backend: Callable[[str], Backend]
) -> None:
    proxy = balancer()
    proxy.ensure()
    service = backend("shop-0")
    proxy.register({"shop-0": service.address})
    until(lambda: states(proxy) == {"shop-0": "up"})
    idle = http.client.HTTPConnection("127.0.0.1", port_of(proxy), timeout=PATIENCE)
    idle.request("GET", "/")
    assert idle.getresponse().read() == b"shop-0"
    until(lambda: proxy.members()[0].in_flight == 0)
    answers: list[str] = []
    slow = threading.Thread(target=lambda: answers.append(get(port_of(proxy), "/slow")))
    slow.start()
    assert service.waiting.wait(PATIENCE)
    assert proxy.members()[0].in_flight == 1
    before = time.time()
    proxy.drain(["shop-0"], 30.0)
    [member] = proxy.members()
    assert (member.state, member.in_flight) == ("drain", 1)
    assert member.since >= before - 2, "a drain begins when it is requested"
    service.released.set()
    slow.join()
    assert answers == ["shop-0"]
    until(lambda: proxy.members()[0].in_flight == 0)
    idle.close()
    proxy.register({"shop-0": service.address})
    until(lambda: states(proxy) == {"shop-0": "up"})


def test_a_drain_is_not_older_than_it_is_if_the_answer_is_late(
    balancer: Callable[..., HAProxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    """HAProxy says for how long a member has drained. Here it says so ten seconds after it was asked."""
    proxy, clock = balancer(), VirtualClock()
    began = clock.now()
    drained = Server(
        "shop-0", ("127.0.0.1", 1), admin=8, status="DRAIN", checked=False, check="", in_flight=1, unchanged_for=10
    )

    def late() -> list[Server]:
        clock.advance(10.0)
        return [drained]

    monkeypatch.setattr(proxy, "_servers", late)
    monkeypatch.setattr(haproxy, "time", SimpleNamespace(time=clock.now))
    assert [member.since for member in proxy.members()] == [began]


def test_deregister_closes_open_connections(
    balancer: Callable[..., HAProxy], backend: Callable[[str], Backend]
) -> None:
    proxy = balancer()
    proxy.ensure()
    service = backend("shop-0")
    proxy.register({"shop-0": service.address})
    until(lambda: states(proxy) == {"shop-0": "up"})
    failed: list[BaseException] = []

    def slow() -> None:
        try:
            get(port_of(proxy), "/slow")
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=slow)
    thread.start()
    assert service.waiting.wait(PATIENCE)
    proxy.drain(["shop-0", "never-known"], 30.0)
    proxy.deregister(["shop-0", "never-known"])
    thread.join()
    assert proxy.members() == []
    assert failed, "the request was interrupted"


def test_an_unhealthy_member_is_down_and_recovers(
    balancer: Callable[..., HAProxy], backend: Callable[[str], Backend]
) -> None:
    proxy = balancer()
    proxy.ensure()
    service = backend("shop-0")
    service.healthy = False
    proxy.register({"shop-0": service.address})
    until(lambda: states(proxy) == {"shop-0": "down"})
    service.healthy = True
    until(lambda: states(proxy) == {"shop-0": "up"})
    service.healthy = False
    proxy.drain(["shop-0"], 30.0)
    until(lambda: proxy._servers()[0].status.startswith("DOWN"))
    assert states(proxy) == {"shop-0": "drain"}


def test_a_killed_balancer_restarts_on_its_port_without_members(
    balancer: Callable[..., HAProxy], backend: Callable[[str], Backend]
) -> None:
    proxy = balancer()
    proxy.ensure()
    service = backend("shop-0")
    proxy.register({"shop-0": service.address})
    port, pid = port_of(proxy), proxy.describe()["pid"]
    assert proxy.ensure() is False
    os.kill(pid, signal.SIGKILL)
    until(lambda: proxy.describe()["pid"] is None)
    assert proxy.members() == []
    again = balancer()
    assert again.ensure() is True
    assert port_of(again) == port
    assert again.members() == []
    again.register({"shop-0": service.address})
    until(lambda: states(again) == {"shop-0": "up"})
    assert get(port) == "shop-0"


def test_a_change_of_health_settings_causes_no_gap(
    balancer: Callable[..., HAProxy], backend: Callable[[str], Backend]
) -> None:
    proxy = balancer()
    proxy.ensure()
    services = {name: backend(name) for name in ("shop-0", "shop-1")}
    proxy.register({name: each.address for name, each in services.items()})
    until(lambda: set(states(proxy).values()) == {"up"})
    proxy.drain(["shop-1"], 30.0)
    port, pid = port_of(proxy), proxy.describe()["pid"]
    changed = balancer(Health(http=HttpProbe(8080, "/other", (204,))))
    with steady_load(port) as failures:
        assert changed.ensure() is True
        assert changed.describe()["pid"] != pid
        assert states(changed) == {"shop-0": "up", "shop-1": "drain"}
        assert changed.ensure() is False
    assert failures == []
    changed.deregister(["shop-0", "shop-1"])
    assert changed.members() == []


def test_a_removed_balancer_leaves_nothing(balancer: Callable[..., HAProxy], stack: ExitStack, tmp_path: Path) -> None:
    proxy = balancer()
    proxy.ensure()
    process = os.pidfd_open(proxy.describe()["pid"])
    stack.callback(os.close, process)
    proxy.remove()
    assert proxy.describe()["pid"] is None
    assert not list(tmp_path.rglob("*.cfg"))
    assert select.select([process], [], [], 0)[0], "it has ended"
    proxy.remove()


def test_a_used_port_and_an_invalid_name_are_errors(
    balancer: Callable[..., HAProxy], backend: Callable[[str], Backend]
) -> None:
    taken = backend("someone else")
    with pytest.raises(TrafficError, match="cannot bind"):
        balancer(port=taken.address[1]).ensure()
    proxy = balancer()
    proxy.ensure()
    with pytest.raises(TrafficError, match="is not a valid name of a member"):
        proxy.register({"a; quit": ("127.0.0.1", 1)})


def test_if_haproxy_is_missing_the_error_says_how_to_install_it(
    balancer: Callable[..., HAProxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_args, **_kwargs: None)
    with pytest.raises(TrafficError, match="apt install haproxy"):
        balancer().ensure()
