# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The calls of the provider against the real services, on Nova's fake driver: everything but guests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import (
    Instance,
    LaunchRequest,
    Traffic,
    VolumeRequest,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.disk_images import DiskImages
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.openstack.provider import OpenStackProvider
from ansible_collections.immutable.infra.plugins.plugin_utils._store.memory import MemoryStore
from ansible_collections.immutable.infra.tests.support.openstack.projects import Project, ProjectConnections

FLEET, GIB = "shop-live", 1 << 30
OLD, NEW = "sha256:" + "a" * 64, "sha256:" + "b" * 64
MACHINE: Mapping[str, Any] = {"flavor": "m1.micro", "networks": [], "evidence": "none"}
PATIENCE = 120.0  # seconds until a state is reached


class Fleet:
    """A provider in a project of its own, with an image."""

    def __init__(self, project: Project, **more: Any) -> None:
        self.project = project
        self.provider = OpenStackProvider(
            ProjectConnections(project.cloud), MemoryStore(), no_balancer, images=DiskImages(), **more
        )
        self.compute, self.volumes = self.provider.compute, self.provider.volumes
        self.image = project.image()

    def request(self, slot: int = 0, **more: Any) -> LaunchRequest:
        request = LaunchRequest(
            token=f"launch-{slot}",
            fleet=FLEET,
            slot=slot,
            image=OLD,
            artifact={"glance": self.image},
            launch="f" * 64,
            nonce="n" * 32,
            ports=(80,),
            machine=MACHINE,
            tags={"swap": "1", "attempt": "0", "health": "h" * 600},
            zone="fake",
        )
        return replace(request, **more)

    def running(self, *slots: int, **more: Any) -> list[Instance]:
        """New instances in these slots, once they run."""
        ids = [one.id for one in self.compute.launch([self.request(slot, **more) for slot in slots])]
        self.until(lambda: all(self.state(each) == "running" for each in ids))
        return sorted((one for one in self.compute.list(FLEET) if one.id in ids), key=lambda one: one.slot)

    def state(self, instance_id: str) -> str:
        return next((one.state for one in self.compute.list(FLEET) if one.id == instance_id), "gone")

    def until(self, done: Callable[[], bool]) -> None:
        end = self.provider.clock.now() + PATIENCE
        while not done():
            assert self.provider.clock.now() < end, self.compute.list(FLEET)
            self.provider.clock.wait(0.2)

    def remove(self, *ids: str) -> None:
        """Remove instances as a swap does: again once they await it."""

        def gone() -> bool:
            left = [one for one in self.compute.list(FLEET) if one.id in ids]
            if down := [one.id for one in left if one.awaits_removal]:
                self.compute.remove(down)
            return not left

        self.compute.remove(ids)
        self.until(gone)

    def volume(self, slot: int = 0, **more: Any) -> str:
        request = VolumeRequest(fleet=FLEET, slot=slot, name="db", size=GIB, mount="/srv/db", zone="fake")
        return self.volumes.create([replace(request, **more)])[0].id


def no_balancer(_fleet: str) -> Traffic:
    raise ProviderError("no balancer is needed here")


@pytest.fixture
def fleet(project: Project) -> Fleet:
    return Fleet(project, tags={"team": "shop"})


def test_a_repeated_launch_finds_its_servers_by_their_tokens(fleet: Fleet) -> None:
    first = fleet.compute.launch([fleet.request(0), fleet.request(1)])
    again = fleet.compute.launch([fleet.request(0, nonce="m" * 32), fleet.request(1), fleet.request(2)])
    assert [one.id for one in again[:2]] == [one.id for one in first]
    listed = fleet.compute.list(FLEET)
    assert sorted(one.slot for one in listed) == [0, 1, 2]
    assert {one.nonce for one in listed} == {"n" * 32}
    assert {one.tags["health"] for one in listed} == {"h" * 600}
    assert fleet.compute.fleets() == [FLEET]
    assert fleet.project.cloud.compute.get_server(first[0].id).metadata["team"] == "shop"


def test_two_stores_of_a_project_do_not_see_each_other(fleet: Fleet) -> None:
    fleet.compute.launch([fleet.request()])
    fleet.volume()
    other = Fleet(fleet.project)
    assert (other.compute.list(FLEET), other.volumes.list(FLEET), other.compute.fleets()) == ([], [], [])


def test_an_instance_stops_starts_and_is_removed(fleet: Fleet) -> None:
    (one,) = fleet.running(0)
    fleet.compute.stop([one.id])
    fleet.compute.stop([one.id])  # in the middle of the first
    fleet.until(lambda: fleet.state(one.id) == "stopped")
    fleet.compute.start([one.id])
    fleet.until(lambda: fleet.state(one.id) == "running")
    assert fleet.compute.list(FLEET)[0].started > one.started
    fleet.remove(one.id)
    for repeated in (fleet.compute.remove, fleet.compute.stop, fleet.compute.power_off):
        repeated([one.id])
    with pytest.raises(ProviderError, match="there is no server"):
        fleet.compute.start([one.id])


def test_marks_are_set_in_parts_and_removed(fleet: Fleet) -> None:
    (one,) = fleet.running(0)
    fleet.compute.tag([one.id, "00000000-0000-0000-0000-000000000000"], {"tainted": "because " * 60, "standby": "now"})
    assert fleet.compute.list(FLEET)[0].tags["tainted"] == "because " * 60
    fleet.compute.tag([one.id], {"tainted": "short"})
    assert fleet.compute.list(FLEET)[0].tags["tainted"] == "short"
    fleet.compute.tag([one.id], {"tainted": None})
    tags = fleet.compute.list(FLEET)[0].tags
    assert "tainted" not in tags and tags["standby"] == "now"


def test_a_volume_moves_only_from_a_server_that_is_down(fleet: Fleet) -> None:
    volume = fleet.volume()
    assert fleet.volume() == volume  # a repeated creation
    old, new = fleet.running(0, 1)
    fleet.volumes.attach([volume], old.id)
    fleet.volumes.attach([volume], old.id)
    with pytest.raises(ProviderError, match=f"is attached to {old.id}"):
        fleet.volumes.attach([volume], new.id)
    with pytest.raises(ProviderError, match=f"servers that are not stopped: {old.id} is ACTIVE"):
        fleet.volumes.detach([volume])
    fleet.compute.stop([old.id])
    fleet.until(lambda: fleet.state(old.id) == "stopped")
    fleet.volumes.detach([volume])
    fleet.volumes.detach([volume])
    fleet.volumes.attach([volume], new.id)
    (found,) = fleet.volumes.list(FLEET)
    assert (found.attached_to, found.zone, found.created_blank) == (new.id, "fake", True)


def test_a_detached_volume_grows_and_never_shrinks(fleet: Fleet) -> None:
    volume = fleet.volume()
    fleet.volumes.modify([volume], 2 * GIB, "")
    fleet.volumes.modify([volume], 2 * GIB, "")
    assert fleet.volumes.list(FLEET)[0].size == 2 * GIB
    with pytest.raises(ProviderError, match="cannot shrink to 1 GiB"):
        fleet.volumes.modify([volume], GIB, "")
    fleet.volumes.remove([volume])
    fleet.until(lambda: fleet.volumes.list(FLEET) == [])
    fleet.volumes.remove([volume])


def test_of_two_volumes_of_a_slot_the_one_that_was_used_counts(fleet: Fleet) -> None:
    """A creation whose answer was lost took effect after the next run had created its own."""
    late = fleet.volume()
    metadata = fleet.project.cloud.block_storage.get_volume(late).metadata
    used = fleet.project.volume(metadata={**metadata, "immutable:used": "true"})
    assert [one.id for one in fleet.volumes.list(FLEET)] == [used.id]
    assert any(late in line for line in fleet.provider.describe(FLEET)["warnings"])


def test_a_server_that_cannot_be_placed_is_down_with_novas_words(fleet: Fleet) -> None:
    machine = {**MACHINE, "server_group": "anti-affinity"}
    launched = fleet.compute.launch(
        [fleet.request(slot, machine=machine) for slot in range(4)]
    )  # there are three hosts
    fleet.until(lambda: all(one.state != "pending" for one in fleet.compute.list(FLEET)))
    (failed,) = [one for one in fleet.compute.list(FLEET) if one.state == "stopped"]
    assert failed.stop_reason.startswith("ERROR: ")
    assert len(list(fleet.project.cloud.compute.server_groups())) == 1
    fleet.remove(*(one.id for one in launched))
    assert list(fleet.project.cloud.compute.server_groups()) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"zone": "nowhere"}, "The requested availability zone is not available"),
        ({"artifact": {"glance": "12345678-1234-1234-1234-123456789012"}}, "Can not find requested image"),
        ({"machine": {**MACHINE, "flavor": "none"}}, "machine.flavor: there is no flavor none"),
        ({"machine": {**MACHINE, "networks": ["none"]}}, "there is no network none"),
    ],
)
def test_a_launch_that_is_refused_quotes_nova(change: Mapping[str, Any], said: str, fleet: Fleet) -> None:
    with pytest.raises(ProviderError, match=said):
        fleet.compute.launch([fleet.request(**change)])
    assert fleet.compute.list(FLEET) == []


def test_a_reimaged_server_keeps_its_volume_and_goes_back(fleet: Fleet) -> None:
    second, volume = fleet.project.image(b"second"), fleet.volume()
    (one,) = fleet.running(0)
    fleet.volumes.attach([volume], one.id)
    fleet.compute.tag([one.id], {"tainted": "by hand"})
    request = fleet.request(token="launch-2", image=NEW, artifact={"glance": second}, nonce="m" * 32)
    reimager = fleet.compute.reimager
    reimager.check([one], [request])
    with pytest.raises(ProviderError, match="cannot be reimaged: machine or network"):
        reimager.check([one], [replace(request, machine={**MACHINE, "flavor": "m1.tiny"})])
    reimager.reimage({one.id: request, "00000000-0000-0000-0000-000000000000": request})
    reimager.reimage({one.id: request})  # the answer to the first was lost
    fleet.until(lambda: fleet.state(one.id) == "running")
    (new,) = fleet.compute.list(FLEET)
    assert (new.id, new.image, new.nonce, new.root.previous) == (one.id, NEW, "m" * 32, OLD)
    assert new.created > one.created and "tainted" not in new.tags
    assert fleet.volumes.list(FLEET)[0].attached_to == one.id
    reimager.reimage({one.id: fleet.request(token="launch-3")})
    fleet.until(lambda: fleet.state(one.id) == "running")
    assert fleet.compute.list(FLEET)[0].image == OLD
    reimager.release([one.id])
    assert fleet.compute.list(FLEET)[0].root.previous == ""


def test_a_floating_address_comes_and_goes_with_its_server(fleet: Fleet) -> None:
    network = fleet.project.cloud.network
    internal = fleet.project.network()
    router = network.create_router(external_gateway_info={"network_id": network.find_network("provider").id})
    network.add_interface_to_router(router, subnet_id=next(network.subnets(network_id=internal)).id)
    machine = {**MACHINE, "networks": [internal], "floating_network": "provider", "address": "public"}
    (one,) = fleet.running(0, machine=machine)
    fleet.until(lambda: bool(fleet.compute.list(FLEET)[0].endpoints))
    fleet.compute.launch([fleet.request(machine=machine)])  # repeated
    (address,) = network.ips()
    assert fleet.compute.list(FLEET)[0].endpoints == {80: (address.floating_ip_address, 80)}
    fleet.compute.remove([one.id])
    assert list(network.ips()) == []
