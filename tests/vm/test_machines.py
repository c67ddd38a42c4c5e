# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What must hold on real machines: nobody gets in where shells are off, killed swaps are finished, failed versions are taken back."""
from __future__ import annotations

import os

import pytest
from ansible_collections.immutable.infra.tests.support.machines import STORE, TOKEN, Service, ask

pytestmark = pytest.mark.vm


def test_nobody_gets_in_and_the_console_tells_the_seal(keeper: Service) -> None:
    told = keeper.module("fleet_info")
    assert [(each["slot"], each["sealed"], each["serving"]) for each in told["instances"]] == [(0, True, True), (1, True, True)]
    # Nobody can even try: no port of ssh's is given to the host.
    assert ["22" in host["variables"]["immutable_endpoints"] for host in told["hosts"]] == [False, False]


def test_attest_says_that_nobody_gets_in(keeper: Service) -> None:
    assert "lets nobody in" in keeper.play("attest", check=False)


def test_a_secret_reaches_the_hosts_and_nothing_else(keeper: Service) -> None:
    token = os.environ[TOKEN].encode()
    assert {ask(instance, "/token") for instance in keeper.instances()} == {(200, token)}
    holding = {path.name: path.stat().st_mode & 0o077 for path in STORE.rglob("*") if path.is_file() and token in path.read_bytes()}
    assert holding == {"launch.tar": 0}, "what a host is started with again holds it, for this user alone"


def test_a_second_run_does_nothing(keeper: Service) -> None:
    for playbook in ("bake", "verify", "promote", "swap"):
        assert "changed=0" in keeper.play(playbook)


@pytest.mark.parametrize(
    ("mark", "tree"),
    [
        pytest.param("slot 0: launched", True, id="tree at launch", marks=pytest.mark.long),
        pytest.param("slot 0: volumes detached", False, id="ansible-playbook alone between detach and attach"),
        pytest.param("slot 1: draining", True, id="tree while draining", marks=pytest.mark.long),
    ],
)
def test_a_killed_swap_is_finished_by_the_next_run(keeper: Service, mark: str, tree: bool) -> None:
    before = keeper.instances()
    for instance in before:
        assert ask(instance, "/words", f"{mark};".encode())[0] == 201
    words = {instance["slot"]: ask(instance, "/words")[1] for instance in before}
    greeting = f"after {mark}"
    keeper.define(greeting=greeting)
    keeper.kill_while_playing("swap", mark, tree)
    keeper.play("swap")
    after = keeper.instances()
    assert [(each["slot"], each["serving"]) for each in after] == [(0, True), (1, True)]
    assert not {each["id"] for each in after} & {each["id"] for each in before}
    assert keeper.machines() == sorted(each["id"] for each in after)
    assert {each["slot"]: ask(each, "/words")[1] for each in after} == words
    assert {ask(each, "/healthz")[1] for each in after} == {greeting.encode()}


def test_a_version_that_fails_is_taken_back_with_its_data(keeper: Service) -> None:
    before = keeper.instances()
    words = {instance["slot"]: ask(instance, "/words")[1] for instance in before}
    keeper.define(broken="yes")
    said = keeper.play("swap", check=False)
    assert "GET /healthz answered 500" in said
    after = keeper.instances()
    assert [each["id"] for each in after] == [each["id"] for each in before]
    assert all(each["serving"] for each in after)
    assert {each["slot"]: ask(each, "/words")[1] for each in after} == words
    assert keeper.machines() == sorted(each["id"] for each in after)
    assert keeper.newest_record()["lowest_in_service"] >= keeper.size - 1


@pytest.mark.long
def test_without_data_never_fewer_than_all_serve(plain: Service) -> None:
    before = plain.instances()
    plain.define(broken="yes")
    assert "GET /healthz answered 500" in plain.play("swap", check=False)
    after = plain.instances()
    assert [each["id"] for each in after] == [each["id"] for each in before]
    assert plain.newest_record()["lowest_in_service"] == plain.size
    assert plain.machines() == sorted(each["id"] for each in after)
