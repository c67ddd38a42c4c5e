# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What must hold on real machines that nothing disturbs: nobody gets in where shells are off, secrets stay where they belong, they shut down in order."""

from __future__ import annotations

import os

import pytest
from ansible_collections.immutable.infra.tests.support.machines import STORE, TOKEN, Service, ask

pytestmark = pytest.mark.vm


def test_nobody_gets_in_and_the_console_tells_the_seal(keeper: Service) -> None:
    told = keeper.module("fleet_info")
    assert [(each["slot"], each["sealed"], each["serving"]) for each in told["instances"]] == [
        (0, True, True),
        (1, True, True),
    ]
    # Nobody can even try: no port of ssh's is given to the host.
    assert ["22" in host["variables"]["immutable_endpoints"] for host in told["hosts"]] == [False, False]


def test_attest_says_that_nobody_gets_in(keeper: Service) -> None:
    assert "lets nobody in" in keeper.play("attest", check=False)


def test_a_secret_reaches_the_hosts_and_nothing_else(keeper: Service) -> None:
    token = os.environ[TOKEN].encode()
    assert {ask(instance, "/token") for instance in keeper.instances()} == {(200, token)}
    holding = {
        path.name: path.stat().st_mode & 0o077
        for path in STORE.rglob("*")
        if path.is_file() and token in path.read_bytes()
    }
    assert holding == {"launch.tar": 0}, "what a host is started with again holds it, for this user alone"


def test_a_second_run_does_nothing(keeper: Service) -> None:
    for playbook in ("bake", "verify", "promote", "swap"):
        assert "changed=0" in keeper.play(playbook)


def test_a_sealed_host_shuts_down_in_order(keeper: Service) -> None:
    """By its power button, long before it would be powered off."""
    words = keeper.write("before it;")
    keeper.greet("shut down")
    said = keeper.play("swap")
    keeper.converged("shut down", words)
    at = {(entry["event"], entry["instance"]): entry["seconds"] for entry in keeper.newest_record()["timeline"]}
    took = [at["stopped", instance] - seconds for (event, instance), seconds in at.items() if event == "told to stop"]
    print(f"seconds from the power button to the end: {took}")
    assert len(took) == keeper.size
    assert "powered off" not in said
