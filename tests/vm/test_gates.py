# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The gates of a canary on virtual machines: playbooks that log in, a metric, an approval."""

from __future__ import annotations

import pytest
from ansible_collections.immutable.infra.tests.support.gate_checks import (
    REFUSALS,
    take_back_a_refused_canary,
    wait_for_approval,
)
from ansible_collections.immutable.infra.tests.support.machines import Service

pytestmark = pytest.mark.long


def test_a_canary_runs_its_gates_and_waits_for_approval(plain: Service) -> None:
    wait_for_approval(plain)


@pytest.mark.parametrize(("metric", "check", "reason"), REFUSALS, ids=["metric", "playbook"])
def test_a_refusing_gate_rolls_the_canary_back(plain: Service, metric: str, check: str, reason: str) -> None:
    take_back_a_refused_canary(plain, metric, check, reason)
