# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The removal of a server in two calls, so that it shuts down in order, and no read changes anything."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.openstack.compute import NovaCompute
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.openstack.servers import Scope
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.openstack.volumes import CinderVolumes
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.seal_evidence import EvidenceRecord
from ansible_collections.immutable.infra.plugins.plugin_utils._store.memory import MemoryStore
from ansible_collections.immutable.infra.tests.support.openstack.paper_cloud import PaperCloud

pytest.importorskip("openstack")

FLEET, STORE = "shop-live", "0123456789abcdef"


class Killed(Exception):
    """The controller is gone."""


@pytest.fixture
def cloud() -> PaperCloud:
    return PaperCloud()


@pytest.fixture
def compute(cloud: PaperCloud) -> NovaCompute:
    scope = Scope(STORE)
    return NovaCompute(cloud.connections, scope, CinderVolumes(cloud.connections, scope), EvidenceRecord(MemoryStore()))


def server(
    cloud: PaperCloud, status: str = "ACTIVE", task: str | None = None, key: str = "one", **texts: str
) -> dict[str, Any]:
    """A new server."""
    ours = {"store": STORE, "fleet": FLEET, "slot": "0", "evidence": "none", **texts}
    cloud.servers[key] = {
        "id": key,
        "status": status,
        "created": "2026-01-31T12:00:00Z",
        "OS-EXT-STS:task_state": task,
        "OS-EXT-STS:power_state": 1 if status == "ACTIVE" else 4,
        "metadata": {f"immutable:{name}": text for name, text in ours.items()},
    }
    return cloud.servers[key]


def test_a_running_server_shuts_down_and_another_call_deletes_it(cloud: PaperCloud, compute: NovaCompute) -> None:
    one = server(cloud)
    compute.remove(["one"])
    assert cloud.changes == ["POST /servers/one/action os-stop", "POST /servers/one/metadata"]
    one["OS-EXT-STS:task_state"] = "powering-off"
    compute.remove(["one"])
    (listed,) = compute.list(FLEET)
    assert (listed.state, listed.awaits_removal) == ("stopping", False)
    assert len(cloud.changes) == 2
    one |= {"status": "SHUTOFF", "OS-EXT-STS:task_state": None, "OS-EXT-STS:power_state": 4}
    (listed,) = compute.list(FLEET)
    assert (listed.state, listed.awaits_removal) == ("stopping", True)
    compute.remove(["one"])
    assert cloud.changes[2:] == ["DELETE /servers/one"] and compute.list(FLEET) == []


@pytest.mark.parametrize("status", ["ACTIVE", "SHUTOFF", "ERROR"])
def test_no_read_changes_anything(cloud: PaperCloud, compute: NovaCompute, status: str) -> None:
    server(cloud, status, removing="true")
    compute.list(FLEET)
    compute.fleets()
    assert cloud.changes == [] and "one" in cloud.servers


@pytest.mark.parametrize("nth", [1, 2])
def test_a_removal_that_is_interrupted_leaves_a_server_that_the_next_one_removes(
    cloud: PaperCloud, compute: NovaCompute, nth: int
) -> None:
    """Before the request to stop, the server runs as before. After it, it is a stopped server like any other."""
    one = server(cloud)

    def kill(_request: str) -> None:
        if len(cloud.changes) == nth:
            raise Killed

    cloud.on_request = kill
    with pytest.raises(Killed):
        compute.remove(["one"])
    cloud.on_request = lambda _request: None
    assert "immutable:removing" not in one["metadata"]
    cloud.requests.clear()
    if nth == 2:
        one |= {"status": "SHUTOFF", "OS-EXT-STS:power_state": 4}
        (listed,) = compute.list(FLEET)
        assert (listed.state, listed.awaits_removal) == ("stopped", False)
    compute.remove(["one"])
    assert cloud.changes[0] == ("DELETE /servers/one" if nth == 2 else "POST /servers/one/action os-stop")


@pytest.mark.parametrize("task", [None, "powering-off"])
def test_a_server_of_a_verification_is_deleted_at_once(
    cloud: PaperCloud, compute: NovaCompute, task: str | None
) -> None:
    server(cloud, task=task, purpose="verify")
    compute.remove(["one"])
    assert cloud.changes == ["DELETE /servers/one"]


def test_a_server_that_does_not_shut_down_is_deleted_by_power_off(cloud: PaperCloud, compute: NovaCompute) -> None:
    server(cloud, task="powering-off", removing="true")
    compute.power_off(["one"])
    assert cloud.changes == ["DELETE /servers/one"]


def test_a_server_group_goes_with_its_last_server(cloud: PaperCloud, compute: NovaCompute) -> None:
    """Also if the others are still being deleted, and also if they are removed by other calls."""
    members = [str(server(cloud, "SHUTOFF", key=key)["id"]) for key in ("one", "two", "three")]
    name = f"immutable-{STORE}-{FLEET}"
    cloud.groups["group"] = {"id": "group", "name": name, "members": members}
    cloud.groups["theirs"] = {"id": "theirs", "name": "theirs", "members": []}
    compute.remove(["one"])
    cloud.servers["one"] = {**server(cloud, "SHUTOFF"), "OS-EXT-STS:task_state": "deleting"}
    assert "group" in cloud.groups
    compute.remove(["two", "three"])
    assert list(cloud.groups) == ["theirs"]
