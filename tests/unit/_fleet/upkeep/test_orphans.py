# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A sweep finds what no fleet owns. It removes that on request only, and data volumes only if they are named."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import FleetError, LockedError
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.lease import Lease
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.ports import ChangePermit
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.upkeep.sweep import OrphanSweeper
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import LaunchRequest
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.traffic import SimulatedTraffic
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.world import BalancerEntry
from ansible_collections.immutable.infra.tests.support.fleetlab import FLEET, V1, Lab, request


def sweeper(lab: Lab) -> OrphanSweeper:
    clock = lab.provider.clock

    def permit(fleet: str) -> ChangePermit:
        return ChangePermit(lease=Lease(lab.store, fleet, "a sweep", clock, monotonic=clock.now))

    return OrphanSweeper(lab.provider, lab.store, permit, lab.lines.append)


def launched(lab: Lab, token: str, fleet: str = FLEET, slot: int = 0, purpose: str = "fleet") -> None:
    lab.provider.compute.launch(
        [
            LaunchRequest(
                token=token, fleet=fleet, slot=slot, image=V1, artifact={}, launch="l", nonce="n", purpose=purpose
            )
        ]
    )


@pytest.fixture
def lab() -> Lab:
    lab = Lab()
    lab.run(request(data=True))
    return lab


def found(lab: Lab, **options: object) -> dict[str, str]:
    return {orphan.id: orphan.why for orphan in sweeper(lab).find(**options)}


def test_a_complete_fleet_has_no_orphans(lab):
    assert found(lab) == {}


def test_each_kind_of_orphan_is_found_with_its_reason(lab):
    serving = next(each for each, machine in lab.world.machines.items() if machine.instance.slot == 0)
    launched(lab, "foreign", fleet="old-local")
    launched(lab, "candidate", fleet="verify-shop-local", purpose="verify")
    lab.run(request(size=2, data=True))  # slot 2's volume stays
    launched(lab, "twin")
    launched(lab, "beyond", slot=7)
    lab.world.members["ghost"] = BalancerEntry(lab.world.clock.now())
    assert found(lab) == {
        "twin": f"its slot belongs to {serving}",
        "beyond": "the fleet has 2 slots",
        "foreign": "no fleet owns it",
        "candidate": "a verification left it",
        "ghost": "its instance is gone",
        f"{FLEET}/2-uploads": "the fleet has 2 slots",
    }


def test_an_open_swap_has_no_orphans(lab):
    intent = lab.store.read(f"fleets/{FLEET}/intent.json")[0]
    lab.store.write(f"fleets/{FLEET}/intent.json", {**intent, "status": "open"})
    launched(lab, "twin")
    assert found(lab) == {}


def test_young_orphans_are_left_alone(lab):
    launched(lab, "twin")
    assert found(lab, older_than=60.0) == {}
    lab.world.clock.advance(61.0)
    assert list(found(lab, older_than=60.0)) == ["twin"]


def test_a_sweep_removes_instances_and_named_volumes_and_nothing_else(lab):
    lab.run(request(size=1, data=True))
    launched(lab, "twin")
    lab.world.clock.advance(100.0)
    serving = lab.serving()
    orphans = sweeper(lab).find()
    removed = sweeper(lab).sweep(orphans, [f"{FLEET}/2-uploads"])
    assert {each.id for each in removed} == {"twin", f"{FLEET}/2-uploads"}
    assert set(lab.world.machines) == serving
    assert set(lab.world.volumes) == {f"{FLEET}/0-uploads", f"{FLEET}/1-uploads"}
    assert sweeper(lab).sweep(sweeper(lab).find(), []) == []


def test_a_sweep_completes_removals_that_need_another_call(lab):
    lab.world.completes_removals = False
    launched(lab, "twin")
    lab.provider.compute.remove(["twin"])  # by a controller that was killed then
    lab.world.clock.advance(100.0)
    launched(lab, "beyond", slot=7)
    assert {orphan.id for orphan in sweeper(lab).find()} == {"twin", "beyond"}
    assert {"twin", "beyond"} <= set(lab.world.machines)  # a look removes nothing
    sweeper(lab).sweep(sweeper(lab).find(), [])
    assert not {"twin", "beyond"} & set(lab.world.machines)


def test_an_instance_that_does_not_shut_down_is_powered_off(lab):
    launched(lab, "twin")
    machine = lab.world.machines["twin"]
    machine.behavior = replace(lab.world._behavior(machine), stops=False)
    sweeper(lab).sweep(sweeper(lab).find(), [])
    assert "twin" not in lab.world.machines and "power_off" in lab.world.calls


def test_a_volume_that_a_fleet_owns_is_not_swept(lab):
    with pytest.raises(FleetError, match="is no orphan"):
        sweeper(lab).sweep(sweeper(lab).find(), [f"{FLEET}/0-uploads"])
    assert len(lab.world.volumes) == 3


def test_a_fleet_that_another_run_holds_is_left_alone(lab):
    launched(lab, "twin")
    clock = lab.provider.clock
    Lease(lab.store, FLEET, "a swap", clock, monotonic=clock.now).acquire()
    with pytest.raises(LockedError, match="a swap"):
        sweeper(lab).sweep(sweeper(lab).find(), [])
    assert "twin" in lab.world.machines


def test_members_of_a_shared_load_balancer_that_are_not_of_the_fleet_stay(lab, monkeypatch):
    """A target group may have other targets than the fleet's, and another fleet's target may use the same group."""
    monkeypatch.setattr(SimulatedTraffic, "shared", True)
    lab.world.members["theirs"] = BalancerEntry(lab.world.clock.now())
    assert found(lab) == {} and sweeper(lab).sweep(sweeper(lab).find(), ()) == [] and "theirs" in lab.world.members
