# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is special about each strategy, in complete swaps on the simulated provider."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import FleetError, GateError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import Metric, Stage
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.model import VolumeSpec
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.run import RunOptions
from ansible_collections.immutable.infra.tests.support.fleetlab import BROKEN, V1, V2, Lab, request

RATE = Metric(command=("rate",), most=1.0)


class RecordingGates:
    """Gates that record their calls and fail as given: by playbook, or as ``metric``."""

    def __init__(self, **failures: str) -> None:
        self.calls: list[str] = []
        self.failures = failures

    def play(self, gate, intent, instances) -> None:
        self.calls.append(gate.name)
        if gate.playbook in self.failures:
            raise GateError(self.failures[gate.playbook])

    def read(self, metric) -> str:
        self.calls.append("read")
        return self.failures.get("metric", "")


def swapped(**changes: object) -> Lab:
    lab = Lab()
    lab.run(with_origin(request(V1, **changes)))
    return lab


def with_origin(wanted):
    """Let a rollback launch old instances."""
    return replace(wanted, origin=wanted.payload)


def events(result: dict, *names: str) -> list[tuple[str, float]]:
    return [(each["event"], each["seconds"]) for each in result["timeline"] if each["event"] in names]


def blue_green(image: str = V2, size: int = 3, **changes: object):
    return with_origin(request(image, size=size, strategy="blue_green", surge=size, **changes))


def test_blue_green_switches_all_traffic_at_once():
    lab = swapped()
    result = lab.run(blue_green())
    assert len({at for _event, at in events(result, "takes over", "draining")}) == 1
    assert len(events(result, "takes over")) == len(events(result, "draining")) == 3
    assert (result["lowest_in_service"], result["peak"]) == (3, 6)
    assert lab.images() == {0: [V2], 1: [V2], 2: [V2]} and lab.world.calls.count("switch") == 1


def test_while_the_old_fleet_is_warm_a_rollback_is_a_switch():
    lab = swapped()
    result = lab.run(blue_green(keep_old=600.0), RunOptions(wait=False))
    assert result["paused"] == "the old fleet stays warm"
    assert {tuple(sorted(images)) for images in lab.images().values()} == {(V1, V2)}
    old = {each for each, machine in lab.world.machines.items() if machine.instance.image == V1}
    lab.world.calls.clear()
    began = lab.world.clock.now()
    lab.run(blue_green(V1))
    assert "launch" not in lab.world.calls and lab.serving() == old == set(lab.world.machines)
    assert lab.world.clock.now() - began < 30


def test_after_keep_old_the_next_run_removes_the_old_fleet():
    lab = swapped()
    lab.run(blue_green(keep_old=600.0), RunOptions(wait=False))
    lab.world.clock.advance(601.0)
    assert lab.run(blue_green(keep_old=600.0), RunOptions(wait=False))["changed"]
    assert lab.images() == {0: [V2], 1: [V2], 2: [V2]}
    assert not lab.run(blue_green(keep_old=600.0))["changed"]


@pytest.mark.parametrize("hours", [1, 24])
def test_patience_does_not_end_a_soak_or_a_warm_old_fleet(hours):
    lab = swapped()
    lab.run(blue_green(keep_old=hours * 3600.0))
    assert lab.images() == {0: [V2], 1: [V2], 2: [V2]}
    lab.run(with_origin(request(V1, strategy="canary", stages=(Stage(1, soak=hours * 3600.0),))))
    assert lab.images() == {0: [V1], 1: [V1], 2: [V1]}


def test_a_second_fleet_that_fails_never_gets_a_request():
    lab = swapped()
    before = lab.serving()
    with pytest.raises(FleetError, match="was not healthy"):
        lab.run(blue_green(BROKEN))
    assert lab.serving() == before == set(lab.world.machines) and "switch" not in lab.world.calls


def test_a_failure_while_the_old_fleet_is_warm_switches_back():
    lab = swapped()
    before = lab.serving()
    lab.run(blue_green(keep_old=600.0), RunOptions(wait=False))
    lab.world.machines[min(lab.serving())].never_healthy = True
    with pytest.raises(FleetError):
        lab.run(blue_green(keep_old=600.0))
    assert lab.serving() == before == set(lab.world.machines)


def canary(*stages: Stage, image: str = V2, **changes: object):
    return with_origin(request(image, size=4, strategy="canary", stages=stages, **changes))


def test_a_stage_swaps_its_slots_and_then_asks_its_gates():
    lab = swapped(size=4)
    lab.gates = RecordingGates()
    result = lab.run(canary(Stage(1, soak=300.0, metric=RATE, check="check.yml"), Stage(2)))
    order = [each["event"] for each in result["timeline"]]
    assert (
        order.index("stage 1 reached: 1 of 4")
        < order.index("gate: stage 1 check")
        < order.index("stage 1 passed")
        < order.index("stage 2 reached: 2 of 4")
    )
    assert [name for name in lab.gates.calls if name != "read"] == ["stage 1 check"] and lab.gates.calls.count(
        "read"
    ) > 3
    assert lab.images() == {slot: [V2] for slot in range(4)} and result["lowest_in_service"] == 4


@pytest.mark.parametrize(
    "failures, reason",
    [
        ({"metric": "0.5 is more than 0.1"}, "stage 1: 0.5 is more"),
        ({"check.yml": "the page is empty"}, "stage 1 check: the page is empty"),
    ],
)
def test_a_failed_gate_rolls_back_the_canary(failures, reason):
    lab = swapped(size=4)
    lab.gates = RecordingGates(**failures)
    with pytest.raises(FleetError, match=reason):
        lab.run(canary(Stage(1, soak=300.0, metric=RATE, check="check.yml")))
    assert lab.images() == {slot: [V1] for slot in range(4)} and len(lab.serving()) == 4


def test_a_canary_that_stops_serving_during_its_soak_is_rolled_back():
    lab = swapped(size=4)

    def become_unhealthy(line: str) -> None:
        if "reached" in line:
            next(each for each in lab.world.machines.values() if each.instance.image == V2).never_healthy = True

    lab.lines = type(
        "Lines", (list,), {"append": lambda self, line: (list.append(self, line), become_unhealthy(line))}
    )()
    with pytest.raises(FleetError, match="stage 1: .* stopped serving"):
        lab.run(canary(Stage(1, soak=300.0)))
    assert lab.images() == {slot: [V1] for slot in range(4)}


def test_a_later_run_approves_only_the_gate_that_asked():
    lab = swapped(size=4)
    stages = (Stage(1, approval=True), Stage(2, approval=True))
    result = lab.run(canary(*stages), RunOptions(approve=True))  # no gate has asked for approval yet
    assert (result["approval"], result["paused"]) == ("stage 1 approval", "stage 1 is done and waits for approval")
    again = lab.run(canary(*stages))
    assert again["approval"] == "stage 1 approval" and not again["changed"]
    assert lab.run(canary(*stages), RunOptions(approve=True))["approval"] == "stage 2 approval"
    assert sorted(lab.images().values()) == [[V1], [V1], [V2], [V2]]
    assert lab.run(canary(*stages), RunOptions(approve=True))["paused"] is None
    assert lab.images() == {slot: [V2] for slot in range(4)}


@pytest.mark.parametrize("hot", [False, True])
@pytest.mark.parametrize("data", [False, True])
def test_recreate_never_has_two_versions_in_service_and_reports_its_downtime(hot, data):
    changes = {"size": 1, "data": data}
    lab = swapped(**changes)
    serving: list[set[str]] = []
    lab.world.after = lambda _call: serving.append({lab.world.machines[each].instance.image for each in lab.serving()})
    result = lab.run(
        with_origin(request(V2, strategy="recreate", hot=hot, surge=1 if hot else 0, unavailable=1, **changes))
    )
    assert all(len(images) <= 1 for images in serving)
    assert lab.images() == {0: [V2]} and result["lowest_in_service"] == 0
    latencies = lab.world.latencies
    boot = 0 if hot else latencies.boot
    assert result["downtime"] == pytest.approx(
        latencies.drain + latencies.stop + boot + latencies.health + latencies.check, abs=latencies.health + 0.5
    )


@pytest.mark.parametrize("data", [False, True])
@pytest.mark.parametrize("hot", [False, True])
def test_recreate_starts_the_old_instance_again_if_the_new_one_fails(hot, data):
    lab = swapped(size=2, data=data)
    old = set(lab.world.machines)
    with pytest.raises(FleetError, match="was not healthy"):
        lab.run(
            with_origin(
                request(
                    BROKEN,
                    size=2,
                    data=data,
                    strategy="recreate",
                    hot=hot,
                    surge=2 if hot and not data else int(hot),
                    unavailable=2,
                )
            )
        )
    assert lab.serving() == old == set(lab.world.machines)
    assert all(volume.attached_to in old for volume in lab.world.volumes.values())


def test_slots_with_data_are_recreated_one_after_the_other():
    lab = swapped(size=3, data=True)
    result = lab.run(with_origin(request(V2, size=3, data=True, strategy="recreate", surge=0, unavailable=1)))
    assert result["lowest_in_service"] == 2 and lab.images() == {slot: [V2] for slot in range(3)}


@pytest.mark.parametrize("strategy", ["rolling", "recreate"])
def test_a_volume_grows_and_changes_its_type_during_a_swap(strategy):
    lab = swapped(size=2, data=True)
    larger = (VolumeSpec("uploads", 4096, "/data", kind="fast"),)
    lab.run(
        with_origin(request(V1, size=2, data=True, strategy=strategy, volumes=larger, launch="larger", unavailable=1))
    )
    assert [(each.size, each.kind) for each in lab.world.volumes.values()] == [(4096, "fast")] * 2
    assert len(lab.serving()) == 2 and len(lab.world.volumes) == 2


def test_zones_are_swapped_one_after_the_other():
    lab = swapped(size=4, zones=("a", "b"))
    result = lab.run(with_origin(request(V2, size=4, zones=("a", "b"), surge=2)))
    launched = [each["slot"] for each in result["timeline"] if each["event"] == "launched"]
    assert launched == [0, 2, 1, 3]
    assert {machine.instance.zone for machine in lab.world.machines.values() if machine.instance.slot in (0, 2)} == {
        "a"
    }


def test_draining_instances_do_not_count_without_count_draining():
    durations = {}
    for counted in (True, False):
        lab = swapped(size=4)
        lab.world.latencies = replace(lab.world.latencies, drain=20.0)
        began = lab.world.clock.now()
        lab.run(with_origin(request(V2, size=4, count_draining=counted)))
        durations[counted] = lab.world.clock.now() - began
    assert durations[True] - durations[False] == pytest.approx(3 * 20.0, abs=3.0)


@pytest.mark.parametrize("strategy", [{}, {"strategy": "recreate", "hot": True, "surge": 1}], ids=["rolling", "hot"])
def test_a_host_without_its_volume_is_neither_healthy_nor_in_service(strategy):
    lab = swapped(size=2, data=True)
    new: set[str] = set()

    def look(_call: object) -> None:
        world = lab.world
        for name, machine in world.machines.items():
            if machine.instance.image == V2 and not world.volumes_of(name):
                new.add(name)
                assert not world.healthy(machine) and name not in world.members

    lab.world.after = look
    lab.run(with_origin(request(V2, size=2, data=True, **strategy)))
    assert lab.images() == {0: [V2], 1: [V2]} and len(lab.serving()) == 2
    assert len(new) == 2, "each host was there before its volume"
