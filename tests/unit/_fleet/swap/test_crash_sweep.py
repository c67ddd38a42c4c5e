# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Kill the controller before and after every provider call of a swap, run again, and compare the ends."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.immutable.infra.tests.support.cases import NEW, OLD
from ansible_collections.immutable.infra.tests.support.crashes import IMAGES, SWAPS, end_of, replace, sweep, within

DOCS = Path(__file__).resolve().parents[4] / "docs/explanation/testing.md"


@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize("strategy", SWAPS)
def test_the_end_is_the_same_wherever_it_was_killed(strategy, image):
    (_what, images, serving, _volumes), _trial = end_of(replace(SWAPS[strategy], image=image))
    assert images == [(slot, NEW if image == "good" else OLD, "running") for slot in range(3)] and serving == [0, 1, 2]
    swept = sweep(strategy, image)
    assert swept.kills >= 2 * swept.calls
    assert not swept.others


@pytest.mark.parametrize("strategy", SWAPS)
def test_the_end_is_the_same_where_another_call_completes_a_removal(strategy):
    swept = sweep(strategy, "good", completes_removals=False)
    assert swept.calls >= sweep(strategy, "good").calls
    assert swept.kills >= 2 * swept.calls
    assert not swept.others


def test_the_table_in_the_docs_is_up_to_date():
    text = DOCS.read_text(encoding="utf-8")
    assert within(text) == text, "run: make docs-tables"
