# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Failures during a swap of containers: a version that never gets healthy, a killed load balancer or container."""

from __future__ import annotations

import pytest
from ansible_collections.immutable.infra.tests.support.machines import Service
from ansible_collections.immutable.infra.tests.support.swap_checks import (
    CANARY,
    greeting_of,
    ids,
    reconfigure_the_load_balancer,
    restart_the_load_balancer,
    take_back,
)


def test_a_failed_version_is_rolled_back_with_its_data(keeper: Service) -> None:
    take_back(keeper, {})


@pytest.mark.parametrize("fleet", [{}, {"strategy": "blue_green"}, CANARY], ids=["rolling", "blue_green", "canary"])
def test_without_data_all_slots_serve_all_the_time(plain: Service, fleet: dict[str, object]) -> None:
    take_back(plain, fleet)


@pytest.mark.parametrize("hot", [False, True], ids=["cold", "hot"])
def test_a_failed_version_is_rolled_back_under_recreate(keeper: Service, hot: bool) -> None:
    take_back(keeper, {"strategy": "recreate", "hot": hot}, same=False)


@pytest.mark.parametrize("mark", ["slot 0: launched", "slot 1: launched", "slot 0: draining"])
def test_a_load_balancer_that_is_killed_during_a_swap_is_restarted(plain: Service, mark: str) -> None:
    restart_the_load_balancer(plain, mark)


def test_a_load_balancer_with_a_new_configuration_loses_no_request(plain: Service) -> None:
    reconfigure_the_load_balancer(plain)


def test_a_container_that_is_killed_is_replaced_with_its_data(keeper: Service) -> None:
    words = keeper.write("killed;")
    greeting = greeting_of(keeper)
    before = keeper.instances()
    keeper.define(fleet={})
    keeper.power_off(before[0]["id"])
    assert [each["serving"] for each in keeper.instances() if each["slot"] == 1] == [True]
    keeper.play("swap")
    after = keeper.converged(greeting, words)
    assert ids(after)[1] == ids(before)[1]
