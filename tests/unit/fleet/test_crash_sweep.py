# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Kill the controller around every single provider call of a swap, run it again, and find the same end."""
from __future__ import annotations

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils.errors import FleetError
from ansible_collections.immutable.infra.tests.support.fleetlab import BROKEN, V1, V2, Killed, Lab, request


def end_state(lab: Lab) -> tuple:
    slots = {machine.instance.id: machine.instance.slot for machine in lab.world.machines.values()}
    volumes = sorted((volume.id, slots.get(volume.attached_to)) for volume in lab.world.volumes.values())
    return lab.images(), volumes, sorted(slots[each] for each in lab.serving())


def attempt(lab: Lab, image: str, data: bool) -> None:
    try:
        lab.run(request(image, data=data))
        assert image == V2
    except FleetError:
        assert image == BROKEN


def swap_killed_at(number: int | None, when: str, image: str, data: bool) -> tuple[tuple, int]:
    lab = Lab()
    lab.run(request(V1, data=data))
    lab.world.calls.clear()

    def hook(call: str) -> None:
        if len(lab.world.calls) == number:
            lab.world.calls.append("killed here")
            raise Killed

    setattr(lab.world, when, hook)
    if number is not None:
        with pytest.raises(Killed):
            lab.run(request(image, data=data))
    calls = len(lab.world.calls)
    attempt(lab, image, data)
    return end_state(lab), len(lab.world.calls) if number is None else calls


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("image", [V2, BROKEN])
@pytest.mark.parametrize("data", [True, False])
def test_the_end_is_the_same_wherever_it_was_killed(data, image, when):
    wanted, calls = swap_killed_at(None, when, image, data)
    assert wanted[2] == [0, 1, 2]
    for number in range(1, calls + 1):
        assert swap_killed_at(number, when, image, data)[0] == wanted, f"killed {when} call {number}"
