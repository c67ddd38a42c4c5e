# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Swaps of containers with data: they are killed at every step, fail, and leave everything as it must be.

All tests of one service are in one file, which one worker runs.
"""

from __future__ import annotations

import os

import pytest
from ansible_collections.immutable.infra.tests.support.file_trees import files_with
from ansible_collections.immutable.infra.tests.support.machines import TOKEN, Service, ask
from ansible_collections.immutable.infra.tests.support.swap_checks import (
    HOT,
    RECREATE,
    ROLLING,
    complete_after_kill,
    greeting_of,
    ids,
    leave_nothing_of_a_killed_verification,
    record_the_downtime,
    strategy_of,
    take_back,
)

# What YAML, JSON, Jinja, shells and systemd give a meaning of their own.
HOSTILE = """{{ 1 + 1 }} {% raw %} ${HOME} $HOME %h `id` 'a' "b" \\ \\n # ; = 0027 \t\r
second line \x1b[1m é \U0001f600 """


def test_nobody_can_log_in(keeper: Service) -> None:
    fleet = keeper.module("fleet_info")
    assert [(each["slot"], each["sealed"], each["serving"]) for each in fleet["instances"]] == [
        (0, True, True),
        (1, True, True),
    ]
    assert ["22" in host["variables"]["immutable_endpoints"] for host in fleet["hosts"]] == [False, False]


def test_a_secret_reaches_the_containers_and_nothing_else(keeper: Service) -> None:
    token = os.environ[TOKEN].encode()
    assert {ask(instance, "/token") for instance in keeper.instances()} == {(200, token)}
    machines = keeper.store / "container/machines"
    for path in files_with(keeper.store, token):
        assert machines in path.parents, path
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_second_run_does_nothing(keeper: Service) -> None:
    keeper.define(fleet={})
    for playbook in ("bake", "verify", "promote", "swap"):
        assert "changed=0" in keeper.play(playbook)


def test_a_container_stops_in_order(keeper: Service) -> None:
    """It reacts to the signal, long before the timeout that kills it."""
    words = keeper.write("before it;")
    keeper.greet(HOSTILE, fleet={})
    output = keeper.play("swap")
    keeper.converged(HOSTILE, words)  # a service gets a setting as it is written
    assert "powered off" not in output


def test_an_absent_fleet_leaves_nothing_and_comes_back_with_its_data(keeper: Service) -> None:
    words = keeper.write("absent;")
    greeting = greeting_of(keeper)
    keeper.define(fleet={})
    result = keeper.module("fleet", state="absent")
    assert result["changed"] and keeper.machines() == [] and keeper.instances() == []
    assert not keeper.module("fleet", state="absent")["changed"]
    keeper.play("swap")
    keeper.converged(greeting, words)


def test_a_killed_verification_leaves_nothing(keeper: Service) -> None:
    leave_nothing_of_a_killed_verification(keeper, "booted ")


def test_the_downtime_is_recorded(keeper: Service) -> None:
    record_the_downtime(keeper)


def test_a_failed_version_is_rolled_back_with_its_data(keeper: Service) -> None:
    take_back(keeper, {})


@pytest.mark.parametrize("hot", [False, pytest.param(True, marks=pytest.mark.long)], ids=["cold", "hot"])
def test_a_failed_version_is_rolled_back_under_recreate(keeper: Service, hot: bool) -> None:
    take_back(keeper, {"strategy": "recreate", "hot": hot}, same=False)


def test_a_container_that_is_killed_is_replaced_with_its_data(keeper: Service) -> None:
    words = keeper.write("killed;")
    greeting = greeting_of(keeper)
    before = keeper.instances()
    keeper.greet(greeting, fleet={})  # the definition may still hold what failed
    keeper.power_off(before[0]["id"])
    assert [each["serving"] for each in keeper.instances() if each["slot"] == 1] == [True]
    keeper.play("swap")
    after = keeper.converged(greeting, words)
    assert ids(after)[1] == ids(before)[1]


@pytest.mark.parametrize(
    ("fleet", "mark", "tree"),
    [
        (ROLLING, "slot 0: launched", True),
        (ROLLING, "slot 0: draining", False),
        (ROLLING, "slot 0: told to stop", True),
        (ROLLING, "slot 0: volumes detached", False),
        (ROLLING, "slot 0: volumes attached", True),
        (ROLLING, "slot 1: registered", True),
        (RECREATE, "slot 0: launched", True),
        (HOT, "slot 0: volumes detached", True),
    ],
    ids=strategy_of,
)
def test_with_data(keeper: Service, fleet: dict[str, object], mark: str, tree: bool) -> None:
    complete_after_kill(keeper, fleet, mark, tree)
