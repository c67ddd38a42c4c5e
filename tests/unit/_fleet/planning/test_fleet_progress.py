# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Swaps that once waited for ever: floor and ceiling at odds where slots own volumes."""

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
    """The slot's instance and its volume are gone, as after a failed disk."""
    lab.world.machines = {
        each: machine for each, machine in lab.world.machines.items() if machine.instance.slot != slot
    }
    lab.world.volumes = {each: volume for each, volume in lab.world.volumes.items() if volume.slot != slot}
    lab.world.members = {each: place for each, place in lab.world.members.items() if each in lab.world.machines}


@pytest.mark.parametrize("balanced", [True, False])
def test_slots_that_serve_nobody_get_their_places_before_those_that_serve(balanced):
    """Slots 1 and 3 need a volume first. Were their places taken meanwhile, floor and ceiling would both be reached, for ever."""
    lab = fleet(4)
    lose(lab, 1)
    lose(lab, 3)
    if not balanced:  # those in good health look idle then, as after a restart of the balancer
        lab.world.members.clear()
        lab.world.balancing = False
    lab.run(request(V2, 4, data=True))
    assert lab.images() == {slot: [V2] for slot in range(4)} and len(lab.serving()) == 4


def test_a_swap_that_cannot_go_on_ends_within_its_deadlines_and_the_next_one_gets_through():
    """A wider swap was cut with all its instances booted; the next one asks for a slot more under the same ceiling."""
    lab = fleet(3)

    def cut(call: str) -> None:
        if call == "drain":
            raise ControllerKilled

    lab.world.before = cut
    with pytest.raises(ControllerKilled):
        lab.run(request(V2, 3, data=True, surge=2))
    lab.world.before = lambda _call: None
    began, asked = lab.world.clock.now(), request(V2, 4, data=True)
    with pytest.raises(FleetError, match=r"nothing moved for 510 s \(slot 3: no more than 5 instances at a time"):
        lab.run(asked)
    assert lab.world.clock.now() - began < 600
    assert lab.images() == {slot: [V1] for slot in range(3)} and len(lab.serving()) == 3
    lab.run(asked)
    assert lab.images() == {slot: [V2] for slot in range(4)} and len(lab.serving()) == 4


def test_who_lost_its_volume_gives_its_place_to_its_successor():
    """Slot 0's successor takes the last place, and then the floor keeps slot 0 as it is."""
    lab = fleet(3)
    lose(lab, 1)
    for machine in lab.world.machines.values():  # both boot again, and are healthy before their successors are sealed
        machine.instance = replace(machine.instance, started=lab.world.clock.now() - 10.0)
    volumes = lab.world.volumes
    volumes["shop-local/2-uploads"] = replace(volumes["shop-local/2-uploads"], attached_to=None, attached_at=0.0)
    lab.run(request(V2, 3, data=True))
    assert lab.images() == {slot: [V2] for slot in range(3)} and len(lab.serving()) == 3
