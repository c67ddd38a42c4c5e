# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The playbooks of a swap under a real ansible-playbook: what they get, how they fail, and what terminates them."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import GateError, LeaseLostError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition import load as loading
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import Metric
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.actions import Gate
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.lease import TTL, Lease
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.model import Intent, Version
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.playbook_gates import PlaybookGates
from ansible_collections.immutable.infra.plugins.plugin_utils._hosts.playbook import PlaybookRun
from ansible_collections.immutable.infra.plugins.plugin_utils._hosts.vault_passwords import VaultPassword
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import (
    FLEET,
    RUNNING,
    STOPPED,
    Evidence,
    Instance,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.clock import VirtualClock
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.provider import SimulatedProvider
from ansible_collections.immutable.infra.plugins.plugin_utils._store.file import FileStore
from ansible_collections.immutable.infra.plugins.plugin_utils._store.memory import MemoryStore
from ansible_collections.immutable.infra.tests.support import traps
from ansible_collections.immutable.infra.tests.support.vaults import encrypt_file

ROOT = Path(loading.__file__).parents[6]  # where this collection was imported from
OLD, NEW = "sha256:" + "a" * 64, "sha256:" + "b" * 64
INTENT = Intent(
    "shop-local",
    strategy="canary",
    image=NEW,
    image_name="shop-2.0-bbb",
    launch="new",
    size=3,
    origin=Version(OLD, "shop-1.0-aaa", "old", 2),
)
STAGE = Gate("stage 1 check", playbook="gate.yml", slots=(0,))
BEFORE = Gate("before_swap", playbook="gate.yml")
DEFINITION = """
schema: 1
service: shop
version: "2.0"
image:
  base: {debian: bookworm}
  provision: {playbook: provision/main.yml}
health: {http: {port: 8080}}
fleet: {size: 3, playbook_timeout: %s}
targets:
  local:
    provider: simulated
    authorized_key: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGNgFyoQ1ufyCXbVvgEEXVAgQpBw6eUj1pEYtGmbb0Vh me"
"""
pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="waits for processes of others by pidfd")


def instance(slot: int, image: str, **changes: Any) -> Instance:
    launch = "new" if image == NEW else "old"
    tags = {"image_name": f"shop-{image[7:10]}", "shell": "restricted"}
    made = Instance(
        id=f"i-{slot}-{launch}",
        fleet="shop-local",
        slot=slot,
        image=image,
        launch=launch,
        state=RUNNING,
        purpose=FLEET,
        created=1.0,
        nonce="n",
        evidence=Evidence(image, "n", host_key="", shell="restricted"),
        tags=tags,
    )
    return replace(made, **changes)


INSTANCES = [instance(0, OLD, state=STOPPED), instance(0, NEW, created=2.0), instance(1, OLD), instance(2, NEW)]


class Lab:
    def __init__(self, folder: Path, timeout: str = "5m") -> None:
        (folder / "provision").mkdir()
        (folder / "provision/main.yml").write_text("- hosts: all\n  tasks: []\n")
        (folder / "immutable.yml").write_text(DEFINITION % timeout)
        self.folder, self.clock, self.lines = folder, VirtualClock(), list[str]()
        self.leases = MemoryStore()
        self.lease = Lease(
            self.leases, "shop-local", "swap", self.clock, monotonic=self.clock.now, alive=lambda _holder: None
        )
        self.on_line: Callable[[str], None] = self.lines.append

    def gates(self, *vault: VaultPassword) -> PlaybookGates:
        run = PlaybookRun(vault, {"ANSIBLE_COLLECTIONS_PATH": str(ROOT), "ANSIBLE_LOCALHOST_WARNING": "0"})
        definition, store = loading.load_definition(self.folder), FileStore(self.folder / "store")
        return PlaybookGates(
            definition,
            "local",
            store=store,
            provider=SimulatedProvider(),
            run=run,
            lease=self.lease,
            report=self.say,
        )

    def say(self, line: str) -> None:
        self.on_line(line)  # a test may replace it

    def play(
        self,
        tasks: list[dict[str, Any]],
        gate: Gate = BEFORE,
        hosts: str = "localhost",
        *vault: VaultPassword,
        found: Sequence[Instance] = tuple(INSTANCES),
    ) -> None:
        self.write(tasks, hosts)
        self.gates(*vault).play(gate, INTENT, found)

    def write(self, tasks: list[dict[str, Any]], hosts: str = "localhost") -> None:
        (self.folder / "gate.yml").write_text(yaml.safe_dump([{"hosts": hosts, "gather_facts": False, "tasks": tasks}]))

    def noted(self) -> Any:
        return json.loads((self.folder / "noted.json").read_text())


def note(text: str) -> dict[str, Any]:
    return {
        "name": "Note",
        "ansible.builtin.copy": {"content": text, "dest": "{{ playbook_dir }}/noted.json", "mode": "0600"},
        "delegate_to": "localhost",
    }


def test_a_playbook_gets_the_facts_of_the_swap(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.play([note("{{ immutable_swap | to_json }}")])
    assert lab.noted() == {
        "fleet": "shop-local",
        "service": "shop",
        "target": "local",
        "strategy": "canary",
        "gate": "before_swap",
        "image": NEW,
        "image_name": "shop-2.0-bbb",
        "from_image": OLD,
        "from_image_name": "shop-1.0-aaa",
        "size": 3,
        "endpoint": "http://192.0.2.254/",
    }
    assert any("TASK [Note]" in line for line in lab.lines)


def test_text_from_outside_is_never_a_template(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    hostile = traps.template(tmp_path / "ran")
    tags = {"image_name": hostile, "version": hostile, "build": hostile, "shell": hostile}
    lab.write(
        [
            {"ansible.builtin.set_fact": {"copied": "{{ immutable_version }}", "swap": "{{ immutable_swap }}"}},
            note("{{ [hostvars[inventory_hostname], copied, swap, immutable_swap, group_names] | to_json }}"),
            {"ansible.builtin.debug": {"msg": "{{ copied }} {{ swap }}"}},
        ],
        "immutable_fleet",
    )
    found = [instance(0, NEW, tags=tags, endpoints={22: (hostile, 22)})]
    lab.gates().play(BEFORE, replace(INTENT, image_name=hostile), found)
    assert not (tmp_path / "ran").exists()
    facts, copied, swap, given, _groups = lab.noted()
    assert facts["immutable_version"] == facts["ansible_host"] == copied == hostile
    assert swap["image_name"] == given["image_name"] == hostile


def test_a_check_sees_the_fleet_and_the_hosts_of_its_stage(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.play(
        [note("{{ {'groups': groups, 'slot': hostvars[groups.immutable_stage[0]].immutable_slot} | to_json }}")], STAGE
    )
    groups = lab.noted()["groups"]
    assert groups["immutable_fleet"] == ["shop-local-0", "shop-local-1", "shop-local-2"]
    assert groups["immutable_stage"] == ["shop-local-0"] and lab.noted()["slot"] == 0
    assert (
        groups["outdated"] == ["shop-local-1"]
        and groups["service_shop"] == groups["sealed"] == groups["immutable_fleet"]
    )
    assert set(groups["image_shop_bbb"]) == {"shop-local-0", "shop-local-2"}


def test_instances_with_other_settings_do_not_belong_to_the_stage(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    found = [instance(0, NEW, launch="old"), instance(0, NEW, id="i-0-second", created=2.0)]
    lab.play([note("{{ groups.immutable_stage | to_json }}")], STAGE, found=found)
    assert lab.noted() == ["shop-local-0-2"]


def test_a_check_without_a_host_to_check_does_not_pass(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    with pytest.raises(GateError, match=r"no host of slot 0 runs shop-2\.0-bbb, so there is nothing to check"):
        lab.play([], STAGE, "immutable_stage", found=[instance(0, OLD), instance(1, NEW)])


def test_modules_and_configuration_beside_the_playbook_are_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    traps.write_modules(tmp_path, tmp_path / "ran")
    (tmp_path / "ansible.cfg").write_text("[defaults]\nroles_path = /trap\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)) + os.pathsep)
    monkeypatch.delenv("ANSIBLE_CONFIG", raising=False)
    lab = Lab(tmp_path)
    lab.play([note("{{ lookup('config', 'DEFAULT_ROLES_PATH') | to_json }}")])
    assert "/trap" not in lab.noted()
    assert not (tmp_path / "ran").exists()


def test_the_task_that_failed_is_named(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    tasks = [{"name": "Orders must be complete", "ansible.builtin.fail": {"msg": "3 orders missing"}}]
    with pytest.raises(
        GateError,
        match=r"the playbook gate\.yml failed: task 'Orders must be complete' \(.*gate\.yml:\d+\): 3 orders missing",
    ) as caught:
        lab.play(tasks)
    [failed] = caught.value.details["failed_tasks"]
    assert failed["host"] == "localhost" and caught.value.details["last_lines"]


def test_a_playbook_that_cannot_be_read_is_a_failure_too(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    with pytest.raises(GateError, match=r"the playbook gate\.yml failed: .*no_such_module"):
        lab.play([{"no_such_module": {}}])


def test_a_playbook_that_takes_too_long_is_terminated(tmp_path: Path) -> None:
    lab = Lab(tmp_path, "1s")
    with pytest.raises(GateError, match=r"the playbook gate\.yml did not end within 1 s"):
        lab.play([{"name": "Sleep", "ansible.builtin.command": "sleep 300"}])


def test_vaulted_variables_are_decrypted(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    (tmp_path / "vars.yml").write_text("token: hidden-token\n")
    encrypt_file(tmp_path / "vars.yml", "team", "a long password")
    tasks: list[dict[str, Any]] = [
        {"ansible.builtin.include_vars": {"file": "vars.yml"}},
        note("{{ token | to_json }}"),
    ]
    lab.play(
        tasks,
        BEFORE,
        "localhost",
        VaultPassword("other", b"another password"),
        VaultPassword("team", b"a long password"),
    )
    assert lab.noted() == "hidden-token"


def test_the_lease_is_renewed_while_a_playbook_runs(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.lease.acquire()

    def on_line(line: str) -> None:
        lab.clock.wait(20.0)  # each line takes 20 s

    lab.on_line = on_line
    lab.play([{"ansible.builtin.debug": {"msg": f"line {number}"}} for number in range(10)])
    assert lab.clock.now() > 3 * TTL and lab.lease.left() > 0


def waits(folder: Path, before: str = ":") -> dict[str, Any]:
    """A task that writes its process id to a fifo and then waits."""
    os.mkfifo(folder / "pid")
    return {
        "name": "Wait",
        "ansible.builtin.command": {"argv": ["sh", "-c", f"{before}; echo $$ > {folder}/pid; exec sleep 300"]},
    }


def process(folder: Path) -> int:
    return os.pidfd_open(int((folder / "pid").read_text()))


def gone(process: int) -> bool:
    ended = bool(select.select([process], [], [], 60.0)[0])
    os.close(process)
    return ended


def test_a_playbook_ends_when_the_lease_is_lost(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.lease.acquire()
    processes: list[int] = []

    def on_line(line: str) -> None:
        if "TASK [Wait]" in line:
            processes.append(process(tmp_path))
            lab.clock.wait(TTL * 2)
            Lease(
                lab.leases,
                "shop-local",
                "another swap",
                lab.clock,
                monotonic=lab.clock.now,
                alive=lambda _holder: False,
            ).acquire()

    lab.on_line = on_line
    with pytest.raises(LeaseLostError, match=r"taken over by .*another swap"):
        lab.play([waits(tmp_path)])
    assert gone(processes[0])


def test_a_playbook_ends_with_the_controller(tmp_path: Path) -> None:
    """Also a task that ignores the interruption, which ansible-playbook passes on to it."""
    Lab(tmp_path).write([waits(tmp_path, before="trap '' INT")])
    caller = f"""
from pathlib import Path
from ansible_collections.immutable.infra.plugins.plugin_utils._hosts.playbook import PlaybookRun

run = PlaybookRun((), {{"ANSIBLE_COLLECTIONS_PATH": {str(ROOT)!r}}})
run(Path({str(tmp_path)!r}, "gate.yml"), {{}}, workdir=Path({str(tmp_path)!r}), timeout=300.0, report=lambda line: None)
"""
    with subprocess.Popen(
        [sys.executable, "-c", caller], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ) as controller:
        waiting = process(tmp_path)
        controller.kill()
    assert gone(waiting)


def test_a_metric_is_read_in_the_definitions_folder(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    (tmp_path / "rate").write_text("0.5")
    metric = Metric(command=("cat", "rate"), most=0.4)
    assert lab.gates().read(metric) == "command cat: the number is 0.5, more than 0.4"
    assert lab.gates().read(replace(metric, most=0.5)) == ""


def test_a_metric_that_does_not_answer_is_read_once_more(tmp_path: Path) -> None:
    gates = Lab(tmp_path).gates()
    script = "echo x >> log; test $(wc -l < log) -ge {} && echo {}"
    problems = {
        needed: gates.read(Metric(command=("sh", "-c", f"{script.format(needed, 1)}; :"), most=1.0))
        for needed in (2, 9)
    }
    assert problems == {2: "", 9: "command sh: the answer is empty"}
    assert (tmp_path / "log").read_text().count("x") == 4
    (tmp_path / "log").unlink()
    assert gates.read(Metric(command=("sh", "-c", script.format(1, 5)), most=1.0)).endswith("more than 1")
    assert (tmp_path / "log").read_text().count("x") == 1
