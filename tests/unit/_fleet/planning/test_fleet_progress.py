# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Swaps that once waited forever, because floor and ceiling left no room for slots with volumes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import FleetError
from ansible_collections.immutable.infra.tests.support.fleetlab import V1, V2, Lab, request
from ansible_collections.immutable.infra.tests.support.killed import ControllerKilled


def fleet(size: int) -> Lab:
    lab = Lab()
    lab.run(request(V1, size, data=True))
    return lab


def lose(lab: Lab, slot: int) -> None:
    """Lose the slot's instance and its volume, as after a disk failure."""
    lab.world.machines = {
        each: machine for each, machine in lab.world.machines.items() if machine.instance.slot != slot
    }
    lab.world.volumes = {each: volume for each, volume in lab.world.volumes.items() if volume.slot != slot}
    lab.world.members = {each: place for each, place in lab.world.members.items() if each in lab.world.machines}


@pytest.mark.parametrize("balanced", [True, False])
def test_slots_out_of_service_are_replaced_first(balanced):
    """Slots 1 and 3 need a volume first. If other slots took their places, floor and ceiling would block each other."""
    lab = fleet(4)
    lose(lab, 1)
    lose(lab, 3)
    if not balanced:  # healthy instances are out of service, as after a restart of the load balancer
        lab.world.members.clear()
        lab.world.balancing = False
    lab.run(request(V2, 4, data=True))
    assert lab.images() == {slot: [V2] for slot in range(4)} and len(lab.serving()) == 4


def test_a_successor_that_waits_for_its_volume_makes_room_for_an_empty_slot():
    """A swap with a larger surge was killed; the next one needs one more slot under the same ceiling."""
    lab = fleet(3)

    def kill(call: str) -> None:
        if call == "drain":
            raise ControllerKilled

    lab.world.before = kill
    with pytest.raises(ControllerKilled):
        lab.run(request(V2, 3, data=True, surge=2))
    lab.world.before = lambda _call: None
    lab.run(request(V2, 4, data=True))
    assert lab.images() == {slot: [V2] for slot in range(4)} and len(lab.serving()) == 4


def test_an_instance_without_its_volume_makes_room_for_its_successor():
    """The successor in slot 0 takes the last place, and the floor then keeps the old instance of slot 0."""
    lab = fleet(3)
    lose(lab, 1)
    for machine in lab.world.machines.values():  # both booted again, and are healthy before their successors are sealed
        machine.instance = replace(machine.instance, started=lab.world.clock.now() - 10.0)
    volumes = lab.world.volumes
    volumes["shop-local/2-uploads"] = replace(volumes["shop-local/2-uploads"], attached_to=None, attached_at=0.0)
    lab.run(request(V2, 3, data=True))
    assert lab.images() == {slot: [V2] for slot in range(3)} and len(lab.serving()) == 3


def test_a_swap_that_waits_for_what_nothing_ends_is_given_up_within_its_deadlines():
    """The volume of slot 0 is attached to the instance of another slot, as after a mistake by hand."""
    lab = fleet(2)
    volumes = lab.world.volumes
    [other] = [each for each, machine in lab.world.machines.items() if machine.instance.slot == 1]
    volumes["shop-local/0-uploads"] = replace(volumes["shop-local/0-uploads"], attached_to=other)
    began = lab.world.clock.now()
    with pytest.raises(FleetError, match=r"nothing moved for 510 s \(slot 0: .* is attached to .* not in this slot"):
        lab.run(request(V2, 2, data=True))
    assert lab.world.clock.now() - began < 2 * 600  # the swap, and its rollback, which waits for the same
