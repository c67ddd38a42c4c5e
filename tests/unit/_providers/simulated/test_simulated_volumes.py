# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The simulated cloud's volumes: one holder, one zone, and no detachment from an instance that can write."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import (
    PENDING,
    RUNNING,
    STOPPED,
    STOPPING,
    VolumeRequest,
)
from ansible_collections.immutable.infra.tests.support.cloud import FLEET, SimulatedCloud, launch_request


@pytest.fixture
def cloud() -> SimulatedCloud:
    return SimulatedCloud()


def test_a_volume_is_created_once(cloud: SimulatedCloud) -> None:
    cloud.volume(kind="gp3")
    (again,) = cloud.volumes.create([VolumeRequest(fleet=FLEET, slot=0, name="uploads", size=4096, mount="/data")])
    assert (again.size, again.kind) == (1024, "gp3") and len(cloud.volumes.list(FLEET)) == 1
    assert cloud.volumes.list("other") == []


def test_a_service_waits_for_its_volume(cloud: SimulatedCloud) -> None:
    volume = cloud.volume()
    cloud.run(data=True)
    assert not cloud.healthy()
    cloud.volumes.attach([volume], "i")
    attached = cloud.clock.now()
    assert cloud.volumes.list(FLEET)[0].attached_at == attached
    assert cloud.health_changes(60.0) == [3.0]
    cloud.volumes.attach([volume], "i")  # a repetition is no other attachment
    assert cloud.healthy() and cloud.volumes.list(FLEET)[0].attached_at == attached


@pytest.mark.parametrize("how", ["attach", "launch"])
def test_a_volume_has_one_holder(cloud: SimulatedCloud, how: str) -> None:
    volume = cloud.volume()
    cloud.run(volumes=(volume,))
    cloud.run("j")
    with pytest.raises(ProviderError, match="is attached to i already"):
        cloud.volumes.attach([volume], "j") if how == "attach" else cloud.compute.launch(
            [launch_request("k", volumes=(volume,))]
        )
    assert cloud.holder() == "i" and "k" not in cloud.instances()


def test_a_volume_is_attached_in_its_own_zone_only(cloud: SimulatedCloud) -> None:
    volume = cloud.volume(zone="a")
    cloud.run("there", zone="a")
    cloud.run("elsewhere", zone="b")
    with pytest.raises(ProviderError, match="is in zone a, and elsewhere in zone b"):
        cloud.volumes.attach([volume], "elsewhere")
    with pytest.raises(ProviderError, match="is in zone a, and new in zone b"):
        cloud.compute.launch([launch_request("new", zone="b", volumes=(volume,))])
    cloud.volumes.attach([volume], "there")
    assert cloud.holder() == "there"


def test_a_volume_is_attached_to_a_stopped_instance_but_not_to_a_stopping_one(cloud: SimulatedCloud) -> None:
    volume = cloud.volume()
    with pytest.raises(ProviderError, match="there is no instance i"):
        cloud.volumes.attach([volume], "i")
    cloud.run()
    cloud.compute.stop(["i"])
    with pytest.raises(ProviderError, match="takes no volume"):
        cloud.volumes.attach([volume], "i")
    cloud.clock.wait(10.0)
    cloud.volumes.attach([volume], "i")
    assert cloud.holder() == "i"
    with pytest.raises(ProviderError, match="there is no volume x"):
        cloud.volumes.attach(["x"], "i")


def test_an_instance_takes_no_volume_before_it_has_booted(cloud: SimulatedCloud) -> None:
    """As on EC2 and OpenStack, whose instances must run."""
    volume = cloud.volume()
    cloud.compute.launch([launch_request("i")])
    with pytest.raises(ProviderError, match="i has not booted yet and takes no volume"):
        cloud.volumes.attach([volume], "i")
    cloud.clock.wait(60.0)
    cloud.volumes.attach([volume], "i")
    assert cloud.holder() == "i"


def test_a_volume_is_never_detached_from_an_instance_that_can_write(cloud: SimulatedCloud) -> None:
    volume = cloud.volume()
    cloud.compute.launch([launch_request(volumes=(volume,))])
    for look in (PENDING, RUNNING, STOPPING):
        assert cloud.state() == look
        with pytest.raises(ProviderError, match="is in use by i"):
            cloud.volumes.detach([volume])
        if look == PENDING:
            cloud.clock.wait(60.0)
        else:
            cloud.compute.stop(["i"])
    cloud.clock.wait(60.0)
    assert cloud.state() == STOPPED
    cloud.volumes.detach([volume])
    cloud.volumes.detach([volume])
    assert cloud.holder() is None
    with pytest.raises(ProviderError, match="there is no volume x"):
        cloud.volumes.detach(["x"])


def test_a_volume_grows_detached_and_never_shrinks(cloud: SimulatedCloud) -> None:
    volume = cloud.volume(kind="gp2")
    cloud.run(volumes=(volume,))
    cloud.compute.power_off(["i"])
    with pytest.raises(ProviderError, match="is attached to i and cannot be modified"):
        cloud.volumes.modify([volume], 2048, "gp3")
    cloud.volumes.detach([volume])
    for _again in range(2):
        cloud.volumes.modify([volume], 2048, "gp3")
    cloud.volumes.modify([volume], 4096, "")
    with pytest.raises(ProviderError, match="has 4096 bytes and cannot shrink to 1024"):
        cloud.volumes.modify([volume], 1024, "")
    (found,) = cloud.volumes.list(FLEET)
    assert (found.id, found.size, found.kind) == (volume, 4096, "gp3")


def test_an_attached_volume_is_not_removed(cloud: SimulatedCloud) -> None:
    volume = cloud.volume()
    cloud.run(volumes=(volume,))
    with pytest.raises(ProviderError, match="is attached"):
        cloud.volumes.remove([volume])
    cloud.compute.power_off(["i"])
    cloud.volumes.detach([volume])
    cloud.volumes.remove([volume, "unknown"])
    assert cloud.volumes.list(FLEET) == []


def test_the_index_of_holders_follows_any_change_of_the_volumes(cloud: SimulatedCloud) -> None:
    volume = cloud.volume()
    cloud.run(volumes=(volume,))
    found = dict(cloud.world.volumes)
    assert cloud.world.volumes_of("i") == [volume]
    cloud.world.volumes[volume] = replace(found[volume], attached_to="j")
    assert (cloud.world.volumes_of("i"), cloud.world.volumes_of("j")) == ([], [volume])
    del cloud.world.volumes[volume]
    assert cloud.world.volumes_of("j") == []
    cloud.world.volumes = found
    assert cloud.world.volumes_of("i") == [volume]
    cloud.world.volumes.clear()
    assert cloud.world.volumes_of("i") == []
