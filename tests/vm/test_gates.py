# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The gates of a canary on real hosts: playbooks that log in, a metric, an approval."""

from __future__ import annotations

import json

import pytest
from ansible_collections.immutable.infra.tests.support.machines import Service

pytestmark = [pytest.mark.vm, pytest.mark.long]

NOTE = """
- name: Record that the gate ran
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Record it
      ansible.builtin.lineinfile:
        path: "{{ playbook_dir }}/gates"
        line: "{{ immutable_swap.gate }} of {{ immutable_swap.size }}"
        create: true
        mode: "0644"
"""
CHECK = """
- name: Check the canary from inside
  hosts: immutable_stage
  gather_facts: false
  tasks:
    - name: It is sealed
      ansible.builtin.command:
        argv: [grep, -q, '"sealed":true', /etc/ansible/facts.d/immutable.fact]
      changed_when: false
"""
REFUSAL = """
- name: Refuse
  hosts: immutable_stage
  gather_facts: false
  tasks:
    - name: Find a page that does not exist
      ansible.builtin.command:
        argv: [test, -e, /nowhere]
      changed_when: false
"""


def gated(metric: str) -> dict[str, object]:
    stage = {
        "instances": 1,
        "soak": "3s",
        "metric": {"command": ["echo", metric], "most": 1, "every": "1s"},
        "check": "check.yml",
        "approval": True,
    }
    return {"strategy": "canary", "canary": [stage], "before_swap": "before.yml", "after_swap": "after.yml"}


def test_a_canary_runs_its_gates_and_waits_for_approval(plain: Service) -> None:
    for name, text in (("before.yml", NOTE), ("after.yml", NOTE), ("check.yml", CHECK + NOTE)):
        (plain.folder / name).write_text(text, encoding="utf-8")
    before = {each["id"] for each in plain.instances()}
    plain.greet("gated", fleet=gated("0.5"))
    assert "stage 1 is done and waits for approval" in plain.play("swap")
    assert len(before & {each["id"] for each in plain.instances()}) == plain.size - 1
    plain.play("swap", approve="true")
    plain.converged("gated")
    gates = (plain.folder / "gates").read_text(encoding="utf-8").splitlines()
    assert gates == [f"{gate} of {plain.size}" for gate in ("before_swap", "stage 1 check", "after_swap")]
    assert "changed=0" in plain.play("swap")


@pytest.mark.parametrize(
    "metric, check, reason",
    [("2", CHECK, "the number is 2, more than 1"), ("0.5", REFUSAL, "Find a page that does not exist")],
)
def test_a_refusing_gate_rolls_the_canary_back(plain: Service, metric: str, check: str, reason: str) -> None:
    for name, text in (("before.yml", NOTE), ("after.yml", NOTE), ("check.yml", check)):
        (plain.folder / name).write_text(text, encoding="utf-8")
    before = plain.instances()
    plain.greet(f"refused by {json.dumps(metric)}", fleet=gated(metric))
    assert reason in plain.play("swap", check=False)
    assert [each["id"] for each in plain.instances()] == [each["id"] for each in before]
    assert plain.newest_record()["lowest_in_service"] == plain.size
