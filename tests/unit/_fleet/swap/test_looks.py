# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the engine reads where each read is a call that counts, and which data an action may depend on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.actions import (
    Act,
    Done,
    Drain,
    Launch,
    LaunchSlot,
    Outcome,
    Register,
    Remove,
    Switch,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.model import Intent
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.observed import InstanceView, Observed
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.planning.batch import REMOVAL_WAIT
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.swap.looks import (
    BOTH,
    INSTANCES,
    MEMBERS,
    OLDEST,
    may_be_partial,
    parts_needed,
    parts_shown,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.cloud_pace import cloud_pace
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import UP
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.world import Latencies
from ansible_collections.immutable.infra.tests.support.fleetlab import V1, V2, request
from ansible_collections.immutable.infra.tests.unit._fleet.swap.test_pace import CLOUD, INSTANT, Cloud

ONLY_INSTANCES, ONLY_MEMBERS, NOTHING = frozenset({INSTANCES}), frozenset({MEMBERS}), frozenset[str]()
WAVES = 4


class CountedCloud(Cloud):
    """Each call counts. ``sequence`` has all reads and changing calls apart from probes."""

    def __init__(self, latencies: Latencies = INSTANT) -> None:
        super().__init__(cloud_pace, latencies)
        self.provider.pace = cloud_pace
        self.sequence: list[str] = []
        self.world.change = self._noted(self.world.change)  # type: ignore[method-assign]
        self.world.read = self._noted(self.world.read)  # type: ignore[method-assign]

    def _noted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def noted(kind: str, *arguments: Any) -> Any:
            if kind != "probe":
                self.sequence.append(kind)
            return call(kind, *arguments)

        return noted

    def swap(self, **changes: object) -> float:
        self.run(request(V1, **changes))
        self.sequence.clear()
        began = self.world.clock.now()
        self.run(request(V2, **changes))
        return self.world.clock.now() - began


def view(number: int, **changes: Any) -> InstanceView:
    bare = InstanceView(
        id=f"i{number}", slot=number, image=V1, launch="launch1", state="running", created=1.0, started=1.0, proven=True
    )
    return replace(bare, healthy=True, **changes)


def needed(action: Any, *views: InstanceView, **intent: Any) -> frozenset[str]:
    return parts_needed(Act((action,)), Observed(100.0, views), Intent("shop", begun=True, **intent))


def test_a_wave_takes_three_reads_and_four_calls_or_two_and_three_if_draining_takes_no_place() -> None:
    lab = CountedCloud()
    lab.swap(size=5 * WAVES, surge=5, drain_timeout=0.0)
    first = ["instances", "volumes", "members"]
    wave = ["launch", "instances", "register", "members", "drain", "members", "remove"]
    assert lab.sequence == [*first, *wave * WAVES, "instances", "members"]
    lab = CountedCloud()
    lab.swap(size=5 * WAVES, surge=5, drain_timeout=0.0, count_draining=False, zones=("a", "b"))
    wave = ["launch", "instances", "register", "members", "drain"]
    assert lab.sequence == [*first, *wave * WAVES, "members", "remove", "instances", "members"]


def test_drained_instances_are_removed_by_one_call_at_the_latest_after_a_minute() -> None:
    lab = CountedCloud(replace(CLOUD, boot=20.0, drain=2.0))
    seconds = lab.swap(size=8, surge=1, drain_timeout=2.0, count_draining=False)
    assert lab.sequence.count("drain") == 8 and 3 <= lab.sequence.count("remove") <= seconds // REMOVAL_WAIT + 2
    assert lab.world.calls.count("launch") == 9  # one for the first version


def test_a_part_that_the_step_does_not_show_is_not_older_than_a_quarter_of_a_minute() -> None:
    lab = CountedCloud(replace(CLOUD, boot=200.0))
    read_at: dict[str, list[float]] = {"instances": [], "members": []}
    read = lab.world.read

    def note(kind: str, *arguments: Any) -> Any:
        if kind in read_at:
            read_at[kind].append(lab.world.clock.now())
        return read(kind, *arguments)

    lab.world.read = note  # type: ignore[method-assign]
    lab.swap(size=1)
    instances, members = read_at["instances"], read_at["members"]
    gaps = [later - earlier for earlier, later in zip(members, members[1:], strict=False)]
    assert max(gaps) <= 2 * OLDEST + 1.0 and len(members) < len(instances)


def test_the_fleet_is_not_read_right_after_an_action_once_it_is_known_how_long_its_step_takes() -> None:
    lab = CountedCloud(CLOUD)
    times: list[tuple[str, float]] = []
    lab.sequence = _Timed(times, lab.world.clock.now)  # type: ignore[assignment]
    lab.swap(size=6, surge=2, drain_timeout=CLOUD.drain)
    launches = [number for number, (kind, _at) in enumerate(times) if kind == "launch"]
    assert len(launches) == 1 + 3
    delays = [times[number + 1][1] - times[number][1] for number in launches[1:]]
    assert delays[0] == 0.0 and min(delays[1:]) > CLOUD.boot / 2, "the first wave shows how long a boot takes"


class _Timed(list[str]):
    """A sequence whose entries are noted with their time."""

    def __init__(self, times: list[tuple[str, float]], now: Callable[[], float]) -> None:
        super().__init__()
        self._times, self._now = times, now

    def append(self, kind: str) -> None:
        self._times.append((kind, self._now()))


def test_another_run_that_held_the_lease_in_between_makes_the_first_look_void() -> None:
    lab = CountedCloud()
    lab.run(request(V1, size=1))
    lab.sequence.clear()
    engine, seen = lab.engine(), []
    acquire = engine._services.lease.acquire

    def acquire_second(wait: float = 0.0) -> None:
        if not seen:
            seen.append(1)
            lab.run(request(V2, size=2))
            lab.sequence.clear()
        acquire(wait)

    engine._services.lease.acquire = acquire_second  # type: ignore[method-assign]
    engine.run(request(V2, size=1))
    assert lab.sequence[:3] == ["instances", "volumes", "members"]


@pytest.mark.parametrize(
    ("events", "counted", "parts"),
    [
        (["launched"], True, ONLY_INSTANCES),
        (["launched", "registered"], True, BOTH),
        (["launched", "draining"], True, BOTH),
        (["launched", "draining"], False, ONLY_INSTANCES),
        (["draining", "in service"], False, ONLY_MEMBERS),
        (["removed", "registered"], True, ONLY_MEMBERS),
        (["removed", "gone"], True, ONLY_INSTANCES),
        (["in service"], True, BOTH),
    ],
)
def test_the_awaited_step_says_what_a_look_reads(events: list[str], counted: bool, parts: frozenset[str]) -> None:
    assert parts_shown(events, counted) == parts


@pytest.mark.parametrize(
    ("action", "views", "intent", "parts"),
    [
        (Launch((LaunchSlot(0),)), [], {}, NOTHING),
        (Launch((LaunchSlot(0),)), [], {"count_draining": False}, ONLY_MEMBERS),
        (Launch((LaunchSlot(0, attempt=1),)), [], {}, BOTH),
        (Launch((LaunchSlot(0),)), [], {"launches": ((0, 1),)}, BOTH),
        (Register(("i1",)), [view(1)], {}, ONLY_INSTANCES),
        (Register(("i1",)), [view(1, member="drain")], {}, BOTH),
        (Register(("i1",)), [], {}, BOTH),
        (Drain(("i1",)), [view(1, member=UP)], {}, ONLY_MEMBERS),
        (Remove(("i1",)), [view(1)], {}, ONLY_MEMBERS),
        (Remove(("i1",)), [view(1, member="drain")], {}, BOTH),
        (Remove(("i1",)), [replace(view(1), state="stopped")], {}, BOTH),
        (Switch(("i1",), ()), [view(1)], {}, BOTH),
    ],
)
def test_an_action_depends_on_what_this_look_read(
    action: Any, views: list[InstanceView], intent: dict[str, Any], parts: frozenset[str]
) -> None:
    assert needed(action, *views, **intent) == parts


def test_an_end_depends_on_everything() -> None:
    outcome: Outcome = Done()
    assert parts_needed(outcome, Observed(1.0), Intent("shop")) == BOTH


def test_looks_are_complete_for_rollbacks_for_volumes_and_before_anything_began() -> None:
    begun = Intent("shop", begun=True)
    assert may_be_partial(begun)
    volumes = request(V1, data=True).intent.volumes
    for intent in (
        Intent("shop"),
        replace(begun, stage="rollback"),
        replace(begun, goal="absent"),
        replace(begun, volumes=volumes),
        replace(begun, origin=replace(begun.target, volumes=volumes)),
    ):
        assert not may_be_partial(intent)
