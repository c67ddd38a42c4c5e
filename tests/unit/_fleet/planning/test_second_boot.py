# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Swaps on a provider whose instances boot when they get their data: a container cannot get a mount while it runs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import FleetError
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.lease import TTL
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import STOPPED
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.world import Behavior, World
from ansible_collections.immutable.infra.tests.support.fleetlab import BROKEN, V1, V2, Lab, request
from ansible_collections.immutable.infra.tests.support.killed import ControllerKilled

CHANGES = (
    {},
    {"strategy": "recreate"},
    {"strategy": "recreate", "hot": True},
    {"strategy": "canary", "stages": ()},
)
IDS = ("rolling", "recreate", "hot recreate", "canary")


class Booting:
    """Lets instances boot again when they get a volume, and kills the controller after a number of changing calls."""

    def __init__(self, world: World) -> None:
        self._world, self.left = world, 10**6
        world.after = self

    def __call__(self, name: str) -> None:
        world = self._world
        if name == "attach":
            now = world.clock.now()
            got = {volume.attached_to for volume in world.volumes.values() if volume.attached_at == now}
            for machine_id in got & world.machines.keys():
                machine = world.machines[machine_id]
                machine.instance = replace(machine.instance, started=now)
        self.left -= 1
        if self.left == 0:
            raise ControllerKilled


def require_everything(lab: Lab, image: str) -> None:
    """Every slot has one instance of the image, in service with its volume."""
    assert lab.images() == {slot: [image] for slot in range(3)}
    assert len(lab.serving()) == 3
    assert {volume.attached_to for volume in lab.world.volumes.values()} == set(lab.world.machines)


@pytest.mark.parametrize("changes", CHANGES, ids=IDS)
def test_a_swap_and_its_rollback_wait_for_the_boot_with_data(changes: dict[str, object]) -> None:
    lab = Lab()
    Booting(lab.world)
    lab.run(request(V1, data=True, **changes))
    require_everything(lab, V1)
    lab.run(request(V2, data=True, **changes))
    require_everything(lab, V2)
    with pytest.raises(FleetError, match="was not healthy within"):
        lab.run(request(BROKEN, data=True, **changes))
    require_everything(lab, V2)
    assert lab.run(request(V2, data=True, **changes))["changed"] is False


def test_an_image_that_fails_as_soon_as_it_has_data_is_taken_back() -> None:
    """It proves itself before it has data, and never again."""
    lab = Lab()
    booting = Booting(lab.world)
    lab.run(request(V1, data=True))
    lab.world.behaviors[V2] = Behavior()

    def attached(name: str) -> None:
        booting(name)
        if name == "attach":
            lab.world.behaviors[V2] = Behavior(boots=False)

    lab.world.after = attached
    with pytest.raises(FleetError, match="did not seal itself"):
        lab.run(request(V2, data=True))
    require_everything(lab, V1)


@pytest.mark.parametrize("changes", CHANGES, ids=IDS)
def test_an_instance_that_may_not_have_the_data_ends_and_the_data_goes_back(changes: dict[str, object]) -> None:
    """The files belong to another user than that of its service. It ends without having run, and the volume is free."""
    lab = Lab()
    lab.run(request(V1, data=True, **changes))
    world = lab.world

    def given_up(name: str) -> None:
        for machine_id, machine in world.machines.items():
            held = [volume for volume in world.volumes.values() if volume.attached_to == machine_id]
            if name in ("attach", "launch") and machine.instance.image == V2 and held:
                machine.instance = replace(machine.instance, state=STOPPED)
                for volume in held:
                    world.volumes[volume.id] = replace(volume, attached_to=None, attached_at=0.0)

    world.after = given_up
    with pytest.raises(FleetError, match="it is not running"):
        lab.run(request(V2, data=True, **changes))
    require_everything(lab, V1)


@pytest.mark.parametrize("changes", CHANGES, ids=IDS)
def test_a_swap_that_is_killed_anywhere_is_completed(changes: dict[str, object]) -> None:
    calls = 0
    while True:
        calls += 1
        lab = Lab()
        booting = Booting(lab.world)
        lab.run(request(V1, data=True, **changes))
        booting.left = calls
        try:
            lab.run(request(V2, data=True, **changes))
        except ControllerKilled:
            lab.world.clock.wait(TTL * 2)
            lab.run(request(V2, data=True, **changes))
            require_everything(lab, V2)
        else:
            assert calls > 20, "it was killed nowhere"
            return
