# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The tenth promise: a swap does not launch for ever, whatever becomes of its instances and its runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import FleetError, ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.actions import BeginRollback, Launch, LaunchSlot
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.model import Intent
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.observed import Death, InstanceView, Observed
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.planning.plan import plan
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.swap.promises import Promises
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.world import Behavior
from ansible_collections.immutable.infra.tests.support.fleetlab import V1, V2, Lab, request
from ansible_collections.immutable.infra.tests.support.killed import ControllerKilled

DEAD = "sha256:dead"
STRATEGIES = ("rolling", "canary", "blue_green", "recreate")
INTENT = Intent("f", image="sha256:2", launch="l2", size=1, begun=True)


@pytest.fixture
def lab() -> Lab:
    lab = Lab()
    lab.world.behaviors[DEAD] = Behavior(dies_after=2.0)
    return lab


def launches(lab: Lab) -> Counter[str]:
    """The number of instances that were ever launched, by slot and swap."""
    tokens = {*lab.world.machines, *lab.world.removed_tokens}
    return Counter(f"{slot} {swap}" for _shop, _local, slot, _launch, swap, *_attempt in (t.split("-") for t in tokens))


def removing(lab: Lab, most: int) -> Callable[[str], None]:
    """A hook after which each new instance of slot 0 is removed, as by a person who thinks it is not needed."""
    left = [most]

    def remove(call: str) -> None:
        now = lab.world.clock.now()
        for machine in [one for one in lab.world.machines.values() if one.instance.created == now]:
            if left[0] and call == "launch" and machine.instance.slot == 0:
                left[0] -= 1
                lab.world.clock.advance(40.0)
                lab.world.die(machine)

    return remove


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("data", [False, True])
def test_two_deaths_at_launch_turn_the_swap_back(lab: Lab, strategy: str, data: bool) -> None:
    if data and strategy == "blue_green":
        return
    lab.run(request(V1, 2, data))
    before = set(lab.world.machines)
    with pytest.raises(FleetError, match=r"slot \d: \S+ and \S+ died at launch: the simulated cloud ended it"):
        lab.run(request(DEAD, 2, data, strategy=strategy, surge=2 if strategy == "blue_green" else 1))
    assert max(launches(lab).values()) == 2
    assert set(lab.world.machines) == before == lab.serving()


def test_a_first_release_that_dies_at_launch_is_stopped(lab: Lab) -> None:
    with pytest.raises(
        FleetError, match="died at launch: the simulated cloud ended it.*; slot 0: it is not known what ran"
    ):
        lab.run(request(DEAD, 2))
    assert not lab.world.machines and set(launches(lab).values()) <= {1, 2}
    lab.run(request(V1, 2))
    assert len(lab.serving()) == 2


def test_a_lost_host_whose_successors_die_at_launch_is_given_up(lab: Lab) -> None:
    """There is no other version to go back to, so the rollback launches no more of the same."""
    lab.run(request(V1, 2))
    lost, other = sorted(lab.world.machines)
    lab.world.die(lab.world.machines[lost])
    lab.world.behaviors[V1] = Behavior(dies_after=2.0)
    lab.world.machines[other].behavior = Behavior()
    for serials in (1, 2):  # each swap of the user counts from zero
        before = len(lab.world.removed_tokens)
        with pytest.raises(FleetError) as error:
            lab.run(request(V1, 2))
        assert str(error.value).count("died at launch") == 1 and len(lab.world.removed_tokens) - before == 2, serials
        assert len(lab.serving()) == 1
    lab.world.behaviors[V1] = Behavior()
    lab.run(request(V1, 2))
    assert len(lab.serving()) == 2


def test_an_instance_that_somebody_removes_is_replaced_but_not_without_end(lab: Lab) -> None:
    lab.run(request(V1, 2))
    lab.world.after = removing(lab, 2)
    lab.run(request(V2, 2))
    assert lab.images() == {0: [V2], 1: [V2]} and launches(lab)["0 1"] == 3
    lab.world.after = removing(lab, 100)
    with pytest.raises(FleetError, match="slot 0: no instance is left of the 5 launches that a swap may make"):
        lab.run(request(V1, 2))
    assert launches(lab)["0 2"] <= 5 and len(launches(lab)) <= 6


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_runs_count(lab: Lab, when: str) -> None:
    """Each run is killed at its launch, whose instance vanishes without a trace."""
    lab.run(request(V1, 1))
    lab.world.behaviors[V2] = Behavior(dies_after=2.0)

    def kill(call: str) -> None:
        if call == "launch":
            lab.world.clock.advance(3700.0 if when == "after" else 3.0)
            raise ControllerKilled

    lab.world.after = kill
    for _run in range(9):
        try:
            lab.run(request(V2, 1))
        except (ControllerKilled, FleetError) as error:
            if isinstance(error, FleetError):
                break
    else:
        raise AssertionError("it is launched for ever")
    assert launches(lab)["0 1"] <= 5 and len(lab.serving()) == 1


def test_a_launch_that_is_refused_again_and_again_does_not_count(lab: Lab) -> None:
    """The cloud has no room for days, and each run of the user fails."""
    lab.run(request(V1, 1))

    def refuse(call: str) -> None:
        if call == "launch":
            raise ProviderError("there is no room")

    lab.world.before = refuse
    for _run in range(8):
        with pytest.raises(ProviderError, match="no room"):
            lab.run(request(V2, 1))
    lab.world.before = lambda _call: None
    lab.run(request(V2, 1))
    assert lab.images() == {0: [V2]}


def test_the_engine_s_own_check_refuses_a_further_launch() -> None:
    deaths = tuple(Death(0, name, "no key") for name in ("a", "b"))
    Promises(Observed(0.0), INTENT).allow(Launch((LaunchSlot(0),)))
    for spent in (Intent(**{**vars(INTENT), "launches": ((0, 5),)}), Intent(**{**vars(INTENT), "deaths": deaths})):
        with pytest.raises(FleetError, match="defect.*another instance would be launched, but slot 0"):
            Promises(Observed(0.0), spent).allow(Launch((LaunchSlot(0),)))
        Promises(Observed(0.0), spent).allow(Launch((LaunchSlot(1),)))


def test_the_reason_of_an_instance_that_ended_is_quoted() -> None:
    """A container that exits at once, for example, remains visible."""
    ended = InstanceView(
        id="b", slot=0, image="sha256:2", launch="l2", state="stopped", created=0.0, started=0.0, proven=False,
        swap=0, attempt=1, stop_reason="it exited with status 3",
    )  # fmt: skip
    outcome = plan(Observed(0.0, (ended,)), INTENT, 1.0)
    assert outcome == BeginRollback("slot 0: b failed: it is not running (it exited with status 3)", "b")


def test_the_store_remembers_launches_and_deaths_only_where_they_matter() -> None:
    assert not {"launches", "deaths"} & set(Intent("f", launches=((0, 1),)).as_dict())
    intent = Intent("f", launches=((0, 3),), deaths=(Death(0, "a", "no key", swap=2, attempt=1),))
    assert Intent.from_dict(intent.as_dict()) == intent
