# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Swaps of containers without data: no request is lost where that is promised, and they are killed at every step.

All tests of one service are in one file, which one worker runs.
"""

from __future__ import annotations

import pytest
from ansible_collections.immutable.infra.tests.support.gate_checks import (
    REFUSALS,
    take_back_a_refused_canary,
    wait_for_approval,
)
from ansible_collections.immutable.infra.tests.support.machines import Service
from ansible_collections.immutable.infra.tests.support.swap_checks import (
    BLUE_GREEN,
    CANARY,
    HOT,
    RECREATE,
    ROLLING,
    complete_after_kill,
    lose_no_request,
    reconfigure_the_load_balancer,
    refuse_or_wait_for_another_run,
    restart_the_load_balancer,
    roll_back_twice,
    strategy_of,
    take_back,
)

long = pytest.mark.long


def test_rollbacks_to_a_kept_and_to_a_removed_fleet(plain: Service) -> None:
    roll_back_twice(plain)


@pytest.mark.parametrize("fleet", [{}, {"strategy": "blue_green"}, CANARY], ids=["rolling", "blue_green", "canary"])
def test_no_request_is_lost(plain: Service, fleet: dict[str, object]) -> None:
    lose_no_request(plain, fleet)


@pytest.mark.parametrize("fleet", [{}, {"strategy": "blue_green"}, CANARY], ids=["rolling", "blue_green", "canary"])
def test_without_data_all_slots_serve_all_the_time(plain: Service, fleet: dict[str, object]) -> None:
    take_back(plain, fleet)


@pytest.mark.parametrize(
    "mark", ["slot 0: launched", *(pytest.param(mark, marks=long) for mark in ("slot 1: launched", "slot 0: draining"))]
)
def test_a_load_balancer_that_is_killed_during_a_swap_is_restarted(plain: Service, mark: str) -> None:
    restart_the_load_balancer(plain, mark)


def test_a_load_balancer_with_a_new_configuration_loses_no_request(plain: Service) -> None:
    reconfigure_the_load_balancer(plain)


def test_a_second_run_at_once_is_refused_or_waits_for_its_turn(plain: Service) -> None:
    refuse_or_wait_for_another_run(plain)


def test_a_canary_runs_its_gates_and_waits_for_approval(plain: Service) -> None:
    wait_for_approval(plain)


@pytest.mark.parametrize(
    ("metric", "check", "reason"),
    [pytest.param(*REFUSALS[0], id="metric", marks=long), pytest.param(*REFUSALS[1], id="playbook")],
)
def test_a_refusing_gate_takes_the_canary_back(plain: Service, metric: str, check: str, reason: str) -> None:
    take_back_a_refused_canary(plain, metric, check, reason)


@pytest.mark.parametrize(
    ("fleet", "mark", "tree"),
    [
        (ROLLING, "slot 0: launched", False),
        (ROLLING, "slot 1: registered", True),
        (BLUE_GREEN, "slot 0: launched", True),
        (BLUE_GREEN, "takes over", True),
        (BLUE_GREEN, "slot 1: deregistered", False),
        (CANARY, "in service", True),
        (RECREATE, "slot 1: told to stop", True),
        (HOT, "slot 0: sealed", False),
    ],
    ids=strategy_of,
)
def test_without_data(plain: Service, fleet: dict[str, object], mark: str, tree: bool) -> None:
    complete_after_kill(plain, fleet, mark, tree)
