# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The promises, on arbitrary fleets, with faults before and after effects and controllers killed at any call."""
from __future__ import annotations

from dataclasses import dataclass, field, replace

from ansible_collections.immutable.infra.plugins.plugin_utils.errors import FleetError, ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils.fleet.model import Request
from ansible_collections.immutable.infra.plugins.plugin_utils.providers.base import PENDING, STOPPED, Instance, Volume
from ansible_collections.immutable.infra.plugins.plugin_utils.providers.simulated import NEVER, Machine, Place, World
from ansible_collections.immutable.infra.tests.support.fleetlab import BROKEN, DUMB, FLEET, V1, V2, Killed, Lab, request
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

NOW = 1_000_000.0
# Shrinking a whole history takes minutes; how many there are is said by the profile.
whole_histories = settings(phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck))


class Injected(ProviderError):
    """A fault of the test's own; any other ProviderError is a finding."""


@dataclass
class Auditor:
    """Looks at the world around every changing call and holds the promises against it."""

    lab: Lab
    asked: Request
    faults: dict[int, str] = field(default_factory=dict)  # number of the call -> what goes wrong
    number: int = -1
    serving: set[str] = field(default_factory=set)
    members: set[str] = field(default_factory=set)
    machines: dict[str, Machine] = field(default_factory=dict)

    def before(self, call: str) -> None:
        self.number += 1
        assert self.number < 400, f"no end: {self.lab.lines[-12:]}"
        self._fault("before")
        world = self.lab.world
        self.serving, self.members, self.machines = self.lab.serving(), set(world.members), dict(world.machines)

    def after(self, call: str) -> None:
        intent, world, lab = self.asked.intent, self.lab.world, self.lab
        serving = lab.serving()
        if not serving >= self.serving:  # 1: this call took something
            assert len(serving) >= intent.floor, f"{call} left {len(serving)} in service of {intent.floor}"
        if call == "launch":  # 2
            assert lab.running() <= intent.ceiling
        for volume in world.volumes.values():  # 3, beside what the simulated provider itself refuses
            assert volume.attached_to is None or volume.attached_to in world.machines
        for each in set(world.members) - self.members:  # 4
            assert world.healthy(world.machines[each]) and world.machines[each].instance.image not in (BROKEN, DUMB)
        for each in set(self.machines) - set(world.machines):  # 5
            gone = self.machines[each].instance
            new = (gone.image, gone.launch) == (intent.image, intent.launch) and gone.created >= NOW
            successor = any(world.machines[other].instance.slot == gone.slot for other in serving)
            assert successor or new or gone.slot >= intent.size, f"{each} was removed before anybody served its slot"
        self._fault("after")

    def _fault(self, when: str) -> None:
        kind = self.faults.get(self.number, "")
        if kind == f"error {when}":
            raise Injected(kind)
        if kind == f"kill {when}":
            raise Killed


@st.composite
def worlds(draw, size, data, calm=False):
    """``calm``: there is no other image than the old one, and nothing dies."""
    world = World(balancing=draw(st.booleans()))
    for slot in range(draw(st.integers(0, size + 1))):
        ids = []
        for number in range(draw(st.integers(0, 3))):
            image = V1 if calm else draw(st.sampled_from([V1, V1, V1, V2]))
            booting = draw(st.sampled_from([False, False, False, True]))
            started = NOW - (1.0 if booting else 10_000.0)
            state = draw(st.sampled_from([PENDING, PENDING, PENDING, STOPPED]))
            instance = Instance(
                id=f"{FLEET}-{slot}-found-{number}",
                fleet=FLEET,
                slot=slot,
                image=image,
                launch=f"launch{image[7:]}",
                state=state,
                purpose="fleet",
                created=started,
                nonce="n",
                endpoints={8080: ("192.0.2.1", 8080)},
                tags={"volumes": "uploads" if data else ""},
                started=started,
            )
            dies_at = NEVER if calm else draw(st.sampled_from([NEVER, NEVER, NOW + 40.0]))
            world.machines[instance.id] = Machine(instance, int(data), started, dies_at, draw(st.sampled_from([False, False, True])))
            ids.append(instance.id)
            member = draw(st.sampled_from([None, False, False, True]))
            if world.balancing and member is not None:
                world.members[instance.id] = Place(NOW - 100.0, draining=member)
        if data and draw(st.sampled_from([True, True, False])):
            volume = Volume(f"{FLEET}/{slot}-uploads", FLEET, slot, "uploads", 1024)
            holder = draw(st.sampled_from([None, *ids]))
            world.volumes[volume.id] = replace(volume, attached_to=holder, attached_at=NOW - 100.0 if holder else 0.0)
    if world.balancing and draw(st.booleans()):
        world.members["gone"] = Place(NOW - 100.0)
    return world


@st.composite
def histories(draw):
    size, data = draw(st.integers(1, 4)), draw(st.booleans())
    world = draw(worlds(size, data))
    image = draw(st.sampled_from([V2, V2, V2, BROKEN, DUMB]))
    kinds = st.sampled_from(["error before", "error after", "kill before", "kill after"])
    faults = draw(st.dictionaries(st.integers(0, 40), kinds, max_size=4))
    return world, request(image, size, data, surge=draw(st.integers(1, 2))), faults


def finish(lab: Lab, asked: Request, auditor: Auditor) -> FleetError | None:
    """Run again after each fault, as a user would. The number of faults bounds the number of runs."""
    lab.world.before, lab.world.after = auditor.before, auditor.after
    for _attempt in range(len(auditor.faults) + 1):
        try:
            lab.run(asked)
            return None
        except (Injected, Killed):
            continue
        except FleetError as error:
            assert "defect" not in error.message, error.message
            last = error
            break
    return last


@whole_histories
@given(histories())
def test_every_history_keeps_the_promises_and_ends(history):
    world, asked, faults = history
    lab = Lab(world)
    auditor = Auditor(lab, asked, faults)
    error = finish(lab, asked, auditor)
    if error is None:
        intent = asked.intent
        assert lab.images() == {slot: [intent.image] for slot in range(intent.size)}
        assert lab.serving() == set(world.machines) == set(world.members)
        world.calls.clear()
        assert not lab.run(asked)["changed"] and world.calls == []  # 8
    else:  # 6: a good image is only stopped by what the test made die or by a fleet that stands in its own way
        assert lab.store.read(f"fleets/{FLEET}/intent.json")[0]["status"] == "failed"
        assert error.details["reason"]
    assert {volume.slot for volume in world.volumes.values()} <= set(range(asked.intent.size + 1))  # 7: volumes stay


@whole_histories
@given(histories())
def test_a_good_image_gets_through_in_the_end(history):
    """9: after finitely many faults, whatever a first run stopped at, a later one reaches the intent."""
    world, asked, faults = history
    asked = replace(asked, intent=replace(asked.intent, image=V2, launch=f"launch{V2[7:]}"))
    lab = Lab(world)
    auditor = Auditor(lab, asked, faults)
    for _run in range(4):
        if finish(lab, asked, auditor) is None:
            break
    else:
        raise AssertionError(f"four runs did not reach it: {lab.lines[-5:]}")
    assert len(lab.serving()) == asked.intent.size


@st.composite
def calm_swaps(draw):
    size, data = draw(st.integers(1, 5)), draw(st.booleans())
    return draw(worlds(size, data, calm=True)), request(V2, size, data, surge=draw(st.integers(1, 3)))


@whole_histories
@given(calm_swaps())
def test_a_good_image_is_never_stopped_where_nothing_goes_wrong(swap):
    """However odd the fleet is that was found: floor, ceiling and volumes together must not stand in the way."""
    world, asked = swap
    lab = Lab(world)
    assert finish(lab, asked, Auditor(lab, asked)) is None
    assert lab.images() == {slot: [V2] for slot in range(asked.intent.size)}
