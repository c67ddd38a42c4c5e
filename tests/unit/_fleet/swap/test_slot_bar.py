# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The bar of slots that a terminal shows during a swap."""

from __future__ import annotations

from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.model import Intent
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.observed import InstanceView, Observed
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.swap.slot_bar import (
    renewed,
    slot_bar,
    slot_states,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import RUNNING, STOPPED, UP


def view(slot: int, image: str, *, serving: bool = True, state: str = RUNNING) -> InstanceView:
    return InstanceView(
        f"{image}-{slot}",
        slot,
        image=image,
        launch=image,
        state=state,
        created=0.0,
        started=0.0,
        proven=serving,
        healthy=serving,
        member=UP if serving else None,
    )


def states(size: int, *views: InstanceView) -> list[str]:
    return slot_states(Observed(0.0, tuple(views)), Intent("shop", image="new", launch="new", size=size))


def shown(size: int, *views: InstanceView) -> str:
    return slot_bar(states(size, *views))


def test_each_slot_shows_its_most_advanced_instance() -> None:
    views = [view(0, "new"), view(0, "old", state=STOPPED), view(1, "old"), view(1, "new", serving=False)]
    assert shown(4, *views, view(2, "old")) == "[#+=.]"
    assert shown(1, view(0, "new"), view(5, "old")) == "[#]", "a slot beyond the size is not shown"
    assert shown(0) == ""


def test_the_slots_that_the_new_version_serves_are_counted() -> None:
    views = [view(0, "new"), view(1, "old"), view(1, "new", serving=False), view(2, "new")]
    assert renewed(states(3, *views)) == "2 of 3 new"
    assert renewed(states(0)) == ""


def test_a_large_fleet_shows_the_least_advanced_of_several_slots() -> None:
    views = [view(slot, "old" if slot == 99 else "new") for slot in range(100)]
    assert shown(100, *views) == f"[{'#' * 33}=]"
