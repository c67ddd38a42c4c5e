# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Volumes are read by one list for all of a fleet, whatever is done with them. Messages name those that fail."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import VolumeRequest
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.openstack import volumes as module
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.openstack.servers import Scope
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.openstack.volumes import CinderVolumes
from ansible_collections.immutable.infra.tests.support.openstack.paper_cloud import PaperCloud

pytest.importorskip("openstack")

FLEET, STORE, GIB = "shop-live", "0123456789abcdef", 1 << 30
LIST = "GET /volumes/detail"


class Lab:
    """Three volumes of a fleet, and others. While the provider waits, Cinder and Nova do what they were asked to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cloud = PaperCloud()
        self.ours = [self.add(f"v{slot}", slot) for slot in range(3)]
        self.add("elsewhere", 0, fleet="blog-live")
        self.add("theirs", 0, store="fedcba9876543210")
        self.cloud.servers["server"] = {"id": "server", "status": "SHUTOFF", "metadata": {}}
        self.volumes = CinderVolumes(self.cloud.connections, Scope(STORE))
        monkeypatch.setattr(module.time, "sleep", self._pass)
        self.becomes: dict[str, Any] = {}

    def add(self, key: str, slot: int, **texts: str) -> str:
        ours = {"store": STORE, "fleet": FLEET, "slot": str(slot), "volume": "db", **texts}
        metadata = {f"immutable:{name}": text for name, text in ours.items()}
        self.cloud.volumes[key] = {"id": key, "status": "available", "size": 1, "attachments": [], "metadata": metadata}
        return key

    def _pass(self, _seconds: float) -> None:
        for one in self.cloud.volumes.values():
            one.update(self.becomes)

    def reads(self) -> list[str]:
        return [request for request in self.cloud.requests if request.startswith("GET")]


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Lab:
    return Lab(monkeypatch)


def test_volumes_are_attached_with_one_list_for_each_look(lab: Lab) -> None:
    lab.becomes = {"status": "in-use"}
    lab.volumes.attach(lab.ours, "server")
    assert lab.reads() == [LIST] * 3  # before, and two while it waits


def test_volumes_are_detached_with_one_list_for_each_look(lab: Lab) -> None:
    for key in lab.ours:
        lab.cloud.volumes[key] |= {"status": "in-use", "attachments": [{"server_id": "server"}]}
    lab.becomes = {"status": "available", "attachments": []}
    lab.volumes.detach(lab.ours)
    assert lab.reads() == [LIST, "GET /servers/server", LIST, LIST]


def test_volumes_are_modified_with_one_list_for_each_look(lab: Lab) -> None:
    lab.becomes = {"size": 2}
    lab.volumes.modify(lab.ours, 2 * GIB, "")
    assert lab.reads() == [LIST] * 3


def test_volumes_are_created_with_one_list_for_each_look(lab: Lab) -> None:
    lab.becomes = {"status": "available"}
    requests = [VolumeRequest(fleet=FLEET, slot=slot, name="db", size=GIB, mount="/srv") for slot in range(5)]
    created = lab.volumes.create(requests)
    assert [volume.slot for volume in created] == [0, 1, 2, 3, 4] and [volume.id for volume in created[:3]] == lab.ours
    assert lab.reads() == [LIST] * 3
    lab.cloud.requests.clear()
    assert lab.volumes.create(requests) == created and lab.cloud.requests == [LIST]


def test_a_volume_that_could_not_be_created_is_created_again(lab: Lab) -> None:
    lab.cloud.volumes["v0"]["status"] = "error"
    lab.becomes = {"status": "available"}
    created = lab.volumes.create([VolumeRequest(fleet=FLEET, slot=0, name="db", size=GIB, mount="/srv")])
    assert created[0].id != "v0" and "DELETE /volumes/v0" in lab.cloud.requests


def test_only_the_fleet_of_known_volumes_is_read(lab: Lab) -> None:
    lab.volumes.list(FLEET)
    lab.becomes = {"status": "in-use"}
    asked: list[str] = []
    answer = lab.cloud.connections.connection.block_storage.request

    def note(path: str, method: str, **more: Any) -> Any:
        asked.append(str((more.get("params") or {}).get("metadata")))
        return answer(path, method, **more)

    lab.cloud.connections.connection.block_storage.request = note
    lab.volumes.attach(lab.ours[:1], "server")
    assert all(FLEET in wanted for wanted in asked if wanted != "None")


def test_volumes_of_others_are_no_data_volumes(lab: Lab) -> None:
    with pytest.raises(ProviderError, match="there is no data volume theirs, none"):
        lab.volumes.attach(["v0", "theirs", "none"], "server")
    lab.volumes.remove(["v0", "theirs", "none"])
    assert lab.cloud.changes == ["DELETE /volumes/v0"]


def test_a_volume_that_fails_and_one_that_is_late_are_named(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.becomes = {"status": "error_attaching"}
    with pytest.raises(ProviderError, match="volumes failed to attach to server: v0 is error_attaching"):
        lab.volumes.attach(lab.ours[:1], "server")
    lab.becomes = {"status": "available"}
    lab.cloud.volumes["v1"]["status"] = "creating"
    monkeypatch.setattr(module, "TIMEOUT", 0.01)
    with pytest.raises(ProviderError, match=r"volumes did not grow within 0\.01 s: v1 is available"):
        monkeypatch.setattr(module, "MODIFY_TIMEOUT", 0.01)
        lab.volumes.modify(["v1"], 2 * GIB, "")


def test_volumes_of_a_running_server_are_not_detached(lab: Lab) -> None:
    lab.cloud.servers["server"]["status"] = "ACTIVE"
    lab.cloud.volumes["v0"] |= {"status": "in-use", "attachments": [{"server_id": "server"}]}
    with pytest.raises(ProviderError, match=r"servers that are not stopped: server is ACTIVE \(allowed: SHUTOFF\)"):
        lab.volumes.detach(["v0"])


def test_the_second_volume_of_a_slot_is_named(lab: Lab) -> None:
    lab.add("twice", 0, used="true")
    assert "twice" in [volume.id for volume in lab.volumes.list(FLEET)]
    assert lab.volumes.warnings == [
        f"slot 0 of {FLEET} has more than one volume named db: twice is used and v0 is not "
        "(delete it in Cinder if nobody needs its data)"
    ]
