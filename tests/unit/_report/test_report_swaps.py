# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A swap as a drawing, in words and in numbers: from records of the real engine in the simulated cloud."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import FleetError
from ansible_collections.immutable.infra.plugins.plugin_utils._report.frames import MAX_FRAMES, capacity_of
from ansible_collections.immutable.infra.plugins.plugin_utils._report.lanes import (
    Segment,
    Track,
    entries_of,
    merged,
    tracks_of,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._report.swaps import MAX_EVENTS, swap_view
from ansible_collections.immutable.infra.tests.support import fleetlab, report_pages
from hypothesis import given, settings
from hypothesis import strategies as st


def swapped(*images: str, **changes: Any) -> dict[str, Any]:
    """The facts of the last of these swaps, one after the other."""
    lab = fleetlab.Lab()
    for image in images:
        try:
            lab.run(fleetlab.request(image, **changes))
        except FleetError:
            assert image == fleetlab.BROKEN
    return report_pages.swaps(lab)[0]


def test_each_instance_goes_through_its_phases() -> None:
    story = swapped(fleetlab.V1, fleetlab.V2)
    entries = entries_of(story["timeline"])
    tracks = tracks_of(entries, entries[-1].seconds)
    phases = [(track.slot, track.fresh, [each.phase for each in track.segments]) for track in tracks]
    old, new = ["serving", "draining", "stopping"], ["booting", "checking", "serving"]
    assert phases == [(slot, fresh, new if fresh else old) for slot in range(3) for fresh in (False, True)]
    for track in tracks:
        joined = zip(track.segments, track.segments[1:], strict=False)
        assert all(before.end == after.begin for before, after in joined)


def test_capacity_is_never_drawn_higher_than_it_was() -> None:
    story = swapped(fleetlab.V1, fleetlab.V2, unavailable=2)
    capacity = capacity_of(entries_of(story["timeline"]))
    assert min(serving for _at, serving in capacity) == story["lowest"]
    view = swap_view(story)
    assert {"name": "floor", "value": "1"} in view["summary"]
    assert view["chart"]["capacity"]["floor"]["count"] == 1
    assert min(frame[1] for frame in view["frames"]) == story["lowest"]


def test_a_new_fleet_has_no_floor_and_ends_in_service() -> None:
    view = swap_view(swapped(fleetlab.V1))
    assert "floor" not in {each["name"] for each in view["summary"]}
    assert view["frames"][-1][1:3] == [3, 3]
    assert "new" in {path["kind"] for path in view["chart"]["paths"]}


def test_a_rollback_says_why_and_with_which_last_words() -> None:
    view = swap_view(swapped(fleetlab.V1, fleetlab.BROKEN))
    assert (view["status"], view["tone"]) == ("rolled back", "bad")
    assert "was not healthy within" in view["reason"] and view["last_words"]
    assert [row["kind"] for row in view["events"]].count("rollback") == 1
    assert "rollback" in {mark["kind"] for mark in view["chart"]["marks"]}


def test_gates_and_waves_are_marked() -> None:
    view = swap_view(swapped(fleetlab.V1, fleetlab.V2, before_swap="before.yml", size=4, surge=2))
    kinds = [mark["kind"] for mark in view["chart"]["marks"]]
    assert kinds.count("wave") == 2 and "gate" in kinds
    assert {"name": "waves", "value": "2"} in view["summary"]


def test_an_instance_that_is_reimaged_has_two_lives() -> None:
    events = [("draining", 1.0), ("deregistered", 4.0), ("reimaged", 5.0), ("sealed", 25.0), ("in service", 30.0)]
    entries = entries_of([{"seconds": at, "event": event, "slot": 0, "instance": "i-1"} for event, at in events])
    old, new = tracks_of(entries, 40.0)
    assert (old.fresh, [each.phase for each in old.segments], old.end) == (
        False,
        ["serving", "draining", "stopping"],
        5,
    )
    assert (new.fresh, [each.phase for each in new.segments], new.begin) == (
        True,
        ["booting", "checking", "serving"],
        5,
    )


def test_slots_that_a_swap_did_not_reach_stay_in_the_drawing() -> None:
    view = swap_view(swapped(fleetlab.V1, fleetlab.BROKEN, size=4))
    assert [lane["text"] for lane in view["chart"]["lanes"]] == [f"slot {slot}" for slot in range(4)]


def test_a_large_swap_stays_small() -> None:
    view = swap_view(report_pages.large(size=200, ended=1)["fleets"][0]["swaps"][0])
    assert view["chart"]["dense"] and len(view["chart"]["paths"]) < 10 and len(view["chart"]["lanes"]) <= 11
    assert len(view["events"]) <= MAX_EVENTS and len(view["events"]) + view["events_left_out"] == 1600
    assert len(view["frames"]) <= MAX_FRAMES
    assert view["frames"][-1][2] == 200


def test_a_prediction_says_what_it_would_do() -> None:
    story = swapped(fleetlab.V1, fleetlab.V2)
    predicted = swap_view({**story, "kind": "prediction"})
    assert (predicted["status"], predicted["tone"]) == ("would finish", "good")
    assert swap_view({**story, "kind": "prediction", "last_failure": {"at": "then"}})["tone"] == "wait"
    stopped = swap_view({**story, "kind": "rehearsal", "stops": "slot 0 failed"})
    assert (stopped["status"], stopped["reason"]) == ("would stop", "slot 0 failed")
    assert swap_view({**story, "kind": "prediction", "pauses": "window"})["status"] == "would pause"


def test_the_refresh_of_a_group_has_events_and_no_lanes() -> None:
    intent = swapped(fleetlab.V1)["intent"]
    entries = [{"at": "", "seconds": 3, "event": "refresh started", "slot": None, "instance": None}]
    view = swap_view({"kind": "swap", "intent": {**intent, "strategy": "autoscaling"}, "timeline": entries})
    assert view["chart"] is None and [row["event"] for row in view["events"]] == ["refresh started"]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=4,
)
ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "seconds": ANYTHING | st.floats(0, 1e9),
        "event": ANYTHING | st.sampled_from(["launched", "in service", "draining", "gone", "died at launch: x"]),
        "slot": ANYTHING | st.integers(0, 3),
        "instance": ANYTHING | st.sampled_from(["a", "b"]),
        "serving": ANYTHING | st.integers(0, 5),
        "healthy": ANYTHING | st.integers(0, 5),
        "draining": ANYTHING | st.integers(0, 5),
    },
)


@settings(max_examples=40)
@given(st.lists(ENTRY, max_size=12) | ANYTHING)
def test_a_damaged_timeline_is_drawn_as_far_as_it_goes(timeline: Any) -> None:
    view = swap_view({"kind": "swap", "fleet": "shop", "intent": None, "timeline": timeline})
    assert len(view["events"]) <= (len(timeline) if isinstance(timeline, list) else 0)


@pytest.mark.parametrize(
    "entries",
    [
        [{"seconds": 1.79e308, "event": "gone"}],
        [{"seconds": 10**99, "event": "gone"}],
        [{"seconds": 1, "event": "launched", "slot": 10**99, "instance": "a"}],
        [{"seconds": 1, "event": "launched", "serving": 10**99, "healthy": 0, "draining": 0}],
    ],
)
def test_numbers_without_a_bound_are_drawn_or_left_out(entries: list[dict[str, Any]]) -> None:
    lab = fleetlab.Lab()
    lab.run(fleetlab.request(fleetlab.V1))
    story = report_pages.swaps(lab)[0]
    intent = {**story["intent"], "size": 10**99}
    view = swap_view({**story, "intent": intent, "timeline": entries, "duration": 1e308})
    assert len(str(view)) < 10_000


def _foremost(tracks: list[Track], begin: float, end: float) -> tuple[str, bool] | None:
    """The phase of the foremost instance, by looking at all of them."""
    ranks = ["unhealthy", "checking", "booting", "draining", "serving", "stopping", "stopped"]
    present = [
        (ranks.index(each.phase), not track.fresh)
        for track in tracks
        for each in track.segments
        if each.begin <= begin and each.end >= end
    ]
    return (ranks[min(present)[0]], not min(present)[1]) if present else None


SEGMENTS = st.builds(
    lambda begin, length, phase: Segment(float(begin), float(begin + length), phase),
    st.integers(0, 8),
    st.integers(1, 4),
    st.sampled_from(["unhealthy", "booting", "serving", "stopped"]),
)
TRACKS = st.lists(
    st.builds(lambda fresh, parts: Track(0, "a", fresh, parts), st.booleans(), st.lists(SEGMENTS, max_size=3)),
    max_size=5,
)


@settings(max_examples=60)
@given(TRACKS)
def test_a_slot_shows_its_foremost_instance_at_each_moment(tracks: list[Track]) -> None:
    shown = merged(tracks)
    for second in range(12):
        at = [(each.phase, fresh) for each, fresh in shown if each.begin <= second and each.end >= second + 1]
        wanted = _foremost(tracks, second, second + 1)
        assert at == ([wanted] if wanted else [])


def test_the_work_for_one_slot_grows_with_its_instances_alone() -> None:
    """A timeline of the store can have all its entries in one slot. Looking at all of them each time took minutes."""
    number = 40_000
    tracks = [Track(0, f"i-{each}", True, [Segment(each, each + 2.0, "booting")]) for each in range(number)]
    assert merged(tracks) == [(Segment(0, number + 1.0, "booting"), True)]
