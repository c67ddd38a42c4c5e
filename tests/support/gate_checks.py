# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What holds for the gates of a canary on every provider with real machines: playbooks, a metric, an approval."""

from __future__ import annotations

from .echo_service import ROOT_IS_READ_ONLY
from .machines import Service
from .swap_checks import greeting_of, ids

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
CHECK = f"""
- name: Check the canary from inside
  hosts: immutable_stage
  gather_facts: false
  tasks:
{ROOT_IS_READ_ONLY}"""
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


def _gated(metric: str) -> dict[str, object]:
    stage = {
        "instances": 1,
        "soak": "3s",
        "metric": {"command": ["echo", metric], "most": 1, "every": "1s"},
        "check": "swaps/check.yml",
        "approval": True,
    }
    return {"strategy": "canary", "canary": [stage], "before_swap": "swaps/before.yml", "after_swap": "swaps/after.yml"}


def _write_playbooks(service: Service, check: str) -> None:
    for name, text in (("before.yml", NOTE), ("after.yml", NOTE), ("check.yml", check)):
        (service.swaps / name).write_text(text, encoding="utf-8")


def wait_for_approval(service: Service) -> None:
    """A canary runs each gate once and waits. The run that approves completes the swap."""
    _write_playbooks(service, CHECK + NOTE)
    before = set(ids(service.instances()))
    service.greet("gated", fleet=_gated("0.5"))
    assert "stage 1 is done and waits for approval" in service.play("swap")
    assert len(before & set(ids(service.instances()))) == service.size - 1
    service.play("swap", approve="true")
    service.converged("gated")
    gates = (service.swaps / "gates").read_text(encoding="utf-8").splitlines()
    assert gates == [f"{gate} of {service.size}" for gate in ("before_swap", "stage 1 check", "after_swap")]
    assert "changed=0" in service.play("swap")


def take_back_a_refused_canary(service: Service, metric: str, check: str, reason: str) -> None:
    """A gate refuses. The canary goes, its slot gets the old version again, and no slot is ever out of service.

    Args:
        metric: the number that the metric prints.
        check: the playbook of the stage.
        reason: what the run must print.
    """
    _write_playbooks(service, check)
    greeting = greeting_of(service)
    service.greet(f"refused by {metric}", fleet=_gated(metric))
    assert reason in service.play("swap", check=False)
    service.converged(greeting)
    assert service.newest_record()["lowest_in_service"] == service.size


# The arguments of ``take_back_a_refused_canary``.
REFUSALS = [("2", CHECK, "the number is 2, more than 1"), ("0.5", REFUSAL, "Find a page that does not exist")]
