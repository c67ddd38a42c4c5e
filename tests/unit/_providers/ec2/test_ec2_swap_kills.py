# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller is killed around changing calls of a swap on EC2, and the next run reaches the same result."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.tests.support.aws.playbook import SIZE, FleetPlaybook
from ansible_collections.immutable.infra.tests.support.aws.server import Cloud
from ansible_collections.immutable.infra.tests.support.aws.swaplab import NEW, OLD, STRATEGIES, Clock, SwapLab, sampled
from ansible_collections.immutable.infra.tests.support.swap_kills import kill_every_run, sweep


@pytest.mark.parametrize(
    ("strategy", "late"),
    sampled(
        product(STRATEGIES, (False, True)),
        ("rolling, data", True),
        ("blue_green", True),
        ("canary", False),
        ("recreate", True),
    ),
)
def test_a_swap_completes_though_every_run_dies_after_one_change(
    cloud: Cloud, clock: Clock, strategy: str, late: bool
) -> None:
    lab = SwapLab(cloud, clock, 2, strategy).with_old_image()
    assert kill_every_run(lab, late) > 4
    lab.assert_settled()


@pytest.mark.long
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_result_is_the_same_wherever_a_run_is_killed(cloud: Cloud, clock: Clock, strategy: str) -> None:
    lab = SwapLab(cloud, clock, 2, strategy).with_old_image()
    lab.run(NEW)  # it also sets the deregistration delay
    swept = sweep(lab, [], images=(NEW, OLD))
    assert not swept.different_ends, swept.different_ends[0]
    assert swept.kills == 2 * swept.calls
    print(f"{strategy}: {swept.calls} changing calls, {swept.kills} kills")


def _sigkilled(book: FleetPlaybook, boundaries: list[tuple[int, bool]], clock: Clock) -> int:
    """Swap back and forth, killing each run once and repeating it. Returns the number of kills."""
    kills = 0
    for nth, late in boundaries:
        image = (kills + 1) % 2
        book.promote(image)
        if not book.killed(nth, late):
            break
        kills += 1
        book.swap()
        book.watcher.assert_settled(clock, book.amis[image], SIZE, False)
        book.cloud.proxy.forget()
        assert "changed=0" in book.swap() and not book.cloud.count(changing=True)
    return kills


@pytest.fixture
def book(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: Any) -> FleetPlaybook:
    monkeypatch.setattr(cloud.proxy, "layers", list(cloud.proxy.layers))
    playbook = FleetPlaybook(cloud, tmp_path, getattr(request, "param", {"strategy": "rolling", "surge": 2}))
    playbook.promote(0)
    playbook.swap()
    return playbook


def test_ansible_playbook_and_all_its_processes_are_killed(book: FleetPlaybook) -> None:
    assert _sigkilled(book, [(1, True)], Clock()) == 1


@pytest.mark.long
@pytest.mark.parametrize(
    "book",
    [{"strategy": "rolling", "surge": 2}, {"strategy": "blue_green"}],
    ids=["rolling", "blue_green"],
    indirect=True,
)
def test_ansible_playbook_is_killed_at_every_change(book: FleetPlaybook) -> None:
    book.promote(1)
    book.swap()
    book.cloud.proxy.forget()
    book.promote(0)
    book.swap()
    calls = book.cloud.count(changing=True)
    kills = _sigkilled(book, [(nth, late) for nth in range(1, calls + 1) for late in (False, True)], Clock())
    print(f"{calls} changing calls, {kills} kills")
    assert kills == 2 * calls
