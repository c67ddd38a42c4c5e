# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Real machines without failures: no login if shells are off, secrets only on the hosts, orderly shutdowns."""

from __future__ import annotations

import os
from pathlib import Path

from ansible_collections.immutable.infra.tests.support.file_trees import files_with
from ansible_collections.immutable.infra.tests.support.machines import STORE, TOKEN, Service, ask

# What YAML, JSON, Jinja, shells and systemd give a meaning of their own.
HOSTILE = """{{ 1 + 1 }} {% raw %} ${HOME} $HOME %h `id` 'a' "b" \\ \\n # ; = 0027 \t\r
second line \x1b[1m é \U0001f600 """


def test_nobody_can_log_in_and_the_console_shows_the_seal(keeper: Service) -> None:
    fleet = keeper.module("fleet_info")
    assert [(each["slot"], each["sealed"], each["serving"]) for each in fleet["instances"]] == [
        (0, True, True),
        (1, True, True),
    ]
    # The SSH port of the guest is not even forwarded.
    assert ["22" in host["variables"]["immutable_endpoints"] for host in fleet["hosts"]] == [False, False]


def test_their_processes_have_few_rights(keeper: Service) -> None:
    """They are not root, although root started them, and share no user."""
    folder = STORE / "qemu/machines" / keeper.fleet
    pids = [(folder / name / "qemu.pid").read_text("ascii").strip() for name in keeper.machines()]
    texts = [Path(f"/proc/{pid}/status").read_text("utf-8") for pid in pids]
    rights = [dict(line.split(":\t") for line in text.splitlines()) for text in texts]
    assert [(each["Seccomp"], each["NoNewPrivs"], each["CapEff"]) for each in rights] == [
        ("2", "1", "0000000000000000")
    ] * keeper.size
    if os.geteuid() == 0:
        users = {each["Uid"].split()[0] for each in rights}
        assert len(users) == keeper.size
        assert "0" not in users


def test_attest_reports_that_nobody_can_log_in(keeper: Service) -> None:
    assert "does not allow logins (shell: off)" in keeper.play("attest", check=False)


def test_a_secret_reaches_the_hosts_and_nothing_else(keeper: Service) -> None:
    token = os.environ[TOKEN].encode()
    assert {ask(instance, "/token") for instance in keeper.instances()} == {(200, token)}
    holding = {path.name: path.stat().st_mode & 0o077 for path in files_with(STORE, token)}
    assert holding == {"launch.tar": 0}, "only the launch document holds it, readable only by this user"


def test_a_second_run_does_nothing(keeper: Service) -> None:
    for playbook in ("bake", "verify", "promote", "swap"):
        assert "changed=0" in keeper.play(playbook)


def test_a_sealed_host_shuts_down_in_order(keeper: Service) -> None:
    """The host reacts to its power button, long before the timeout that powers it off."""
    words = keeper.write("before it;")
    keeper.greet(HOSTILE)
    output = keeper.play("swap")
    keeper.converged(HOSTILE, words)  # a service gets a setting as it is written
    at = {(entry["event"], entry["instance"]): entry["seconds"] for entry in keeper.newest_record()["timeline"]}
    seconds_to_stop = [
        at["stopped", instance] - seconds for (event, instance), seconds in at.items() if event == "told to stop"
    ]
    print(f"seconds from the power button to the end: {seconds_to_stop}")
    assert len(seconds_to_stop) == keeper.size
    assert "powered off" not in output
