# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Properties of an instance refresh, whatever Auto Scaling answers and wherever runs are killed.

A run ends, there is one refresh at most, none targets an alias, and the group launches what its instances run.
``support.scaling`` asserts the first three at each call.
"""

from __future__ import annotations

from pathlib import Path

from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import FleetError, ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import AutoScaling
from ansible_collections.immutable.infra.plugins.plugin_utils._providers import group as h
from ansible_collections.immutable.infra.tests.support.killed import ControllerKilled
from ansible_collections.immutable.infra.tests.support.scaling import NEW, OLD, Lab, Scaling
from hypothesis import given
from hypothesis import strategies as st

GOING = [h.PENDING, h.IN_PROGRESS, h.BAKING, h.ROLLING_BACK, h.CANCELLING, "Pondering"]
HISTORIES = st.tuples(st.lists(st.sampled_from(GOING), max_size=8), st.sampled_from(h.ENDED)).map(
    lambda drawn: (*drawn[0], drawn[1])
)
BACK = st.sampled_from([h.ROLLED_BACK, h.ROLLBACK_FAILED, h.CANCELLED, h.FAILED]).map(lambda end: (h.ROLLING_BACK, end))
REFUSALS = st.lists(
    st.sampled_from(["", "", "", h.RUNS_ALREADY, h.RUNS_NO_MORE, h.NO_WAY_BACK, "ResourceContention", "AccessDenied"]),
    max_size=6,
)
RUNS = 8


@given(
    configured_version=st.sampled_from(["1", "$Latest", "$Default"]),
    script=HISTORIES,
    back=BACK,
    before=st.none() | st.tuples(st.sampled_from(["1", "2", "3"]), HISTORIES),
    refusals=REFUSALS,
    kills=st.lists(st.integers(1, 6), max_size=3),
    deadline=st.sampled_from([None, 20.0, 100.0]),
    unlisted_for=st.integers(0, 3),
    size=st.integers(0, 5),
)
def test_every_history_ends(
    configured_version, script, back, before, refusals, kills, deadline, unlisted_for, size
) -> None:
    images = {"1": OLD, "2": NEW, "3": "ami-third"} if before else {"1": OLD}
    if before and configured_version != "1":
        configured_version = "3"
    scaling = Scaling(
        configured_version=configured_version,
        images=images,
        script=script,
        rollback_script=back,
        refusals=list(refusals),
        unlisted_for=unlisted_for,
    ).add(size, configured_version if before else "1")
    if before:
        scaling.begin(*before)
    lab = Lab(scaling, Path("/"), spec=AutoScaling("shop", deadline=deadline))
    for run in range(RUNS):
        scaling.observations, scaling.killed_at = 0, len(scaling.calls) + kills[run] if run < len(kills) else -1
        try:
            lab.run()
        except ControllerKilled:
            continue
        except (FleetError, ProviderError) as error:
            if isinstance(error, ProviderError) or "which somebody else started" in error.message:
                continue
        assert not any(each.active for each in scaling.history)
        assert scaling.configured_version.isdecimal()
        assert not scaling.members or scaling.configured_version in {each.template.version for each in scaling.members}
    count = len(scaling.calls)
    assert count <= 8 * RUNS


@given(script=HISTORIES.filter(lambda history: history[-1] == h.SUCCESSFUL), size=st.integers(1, 5))
def test_the_run_after_a_success_changes_nothing(script, size) -> None:
    scaling = Scaling(script=script).add(size)
    lab = Lab(scaling, Path("/"))
    assert lab.run()["changed"]
    count = len(scaling.calls)
    assert not lab.run()["changed"] and len(scaling.calls) == count
