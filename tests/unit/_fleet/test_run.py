# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The skeleton of a run: when it takes the lease, how it retries, and what an error carries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import (
    AbandonedError,
    FleetError,
    GateError,
    ProviderError,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._core.progress import silent
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.actions import AFTER_SWAP, BEFORE_SWAP, Gate
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.gates import OpenGates
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.ledger import Ledger
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.model import DONE, Intent
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.ports import NoGuard, NoLease
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.run import (
    FleetRun,
    RetryPolicy,
    RunOptions,
    RunServices,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.clock import VirtualClock
from ansible_collections.immutable.infra.plugins.plugin_utils._store.memory import MemoryStore


class Lease(NoLease):
    def __init__(self) -> None:
        self.calls: list[str] = []
        self.needs: list[float] = []

    def acquire(self, wait: float = 0.0) -> None:
        self.calls.append(f"acquire {wait:g}")

    def need(self, seconds: float) -> None:
        self.needs.append(seconds)

    def release(self) -> None:
        self.calls.append("release")


class Gone(NoGuard):
    def check(self) -> None:
        raise AbandonedError("the controller is gone")


class Run(FleetRun[str]):
    """Its steps are given: "end" ends it, "change" saves the intent, an error is raised."""

    retry_policy = RetryPolicy(tries=4, delay=2.0, margin=10.0)

    def __init__(self, *steps: str | Exception, guard: NoGuard | None = None, wait: float = 0.0) -> None:
        self.lease, self.clock, self.store = Lease(), VirtualClock(), MemoryStore()
        services = RunServices(
            store=self.store, guard=guard or NoGuard(), lease=self.lease, gates=OpenGates(), report=silent
        )
        super().__init__(services, self.clock, "shop", RunOptions(lock_timeout=wait))
        self.steps = list(steps)
        self.events: list[str] = []
        self.prepared: list[tuple[str, bool]] = []

    def _requested(self) -> Intent:
        return Intent("shop", image="sha256:1")

    def _first_step(self) -> str:
        self._load_intent()
        return str(self.steps[0])

    def _ends_early(self, step: str) -> bool:
        return step == "end"

    def _prepare(self, step: str, resumed: bool) -> None:
        self.prepared.append((step, resumed))

    def _next_step(self) -> str:
        step = self.steps.pop(0)
        if isinstance(step, Exception):
            raise step
        return step

    def _carry_out(self, step: str) -> dict[str, Any] | None:
        if step == "end":
            self._close(DONE)
            return self._result(step)
        self._begin()
        return None

    def _may_retry(self, error: ProviderError) -> bool:
        return not error.permanent

    def _note(self, event: str) -> None:
        self.events.append(event)

    def _record(self) -> dict[str, Any]:
        return {"events": self.events}

    def _result(self, step: str | None) -> dict[str, Any]:
        return {"ended": step, "events": list(self.events)}


def test_a_run_with_nothing_to_do_takes_no_lease() -> None:
    run = Run("end")
    assert run.run() == {"ended": "end", "events": []}
    assert run.lease.calls == [] and run.store.list("") == []


def test_a_run_holds_the_lease_and_closes_the_ledger() -> None:
    run = Run("change", "change", "end", wait=7.0)
    assert run.run()["ended"] == "end" and run.lease.calls == ["acquire 7", "release"]
    assert run.prepared == [("change", False)]
    ledger = Ledger(run.store, "shop")
    assert ledger.last().status == DONE and ledger.records(1)[0]["events"] == []


def test_provider_errors_are_retried_with_growing_delays() -> None:
    run = Run("change", *[ProviderError("busy")] * 3, "end")
    began = run.clock.now()
    run.run()
    assert run.clock.now() - began == 2.0 + 4.0 + 8.0
    assert run.events == ["retrying: busy"] * 3
    assert [seconds for seconds in run.lease.needs if seconds] == [12.0, 14.0, 18.0]


def test_a_success_resets_the_count_of_failures() -> None:
    failures = [ProviderError("busy")] * 3
    assert Run("change", *failures, "change", *failures, "end").run()["ended"] == "end"


def test_retries_are_bounded_and_the_error_carries_the_result() -> None:
    run = Run("change", *[ProviderError("busy", code="Throttling")] * 4, "end")
    with pytest.raises(ProviderError, match="busy") as error:
        run.run()
    assert error.value.details == {"ended": None, "events": ["retrying: busy"] * 3, "code": "Throttling"}
    assert run.lease.calls == ["acquire 0", "release"]


def test_whether_to_retry_is_decided_by_the_attribute_not_by_the_details() -> None:
    with pytest.raises(ProviderError, match="no permission"):
        Run("change", ProviderError("no permission", permanent=True), "end").run()
    assert Run("change", ProviderError("busy", lasting=True, spent=True), "end").run()["ended"] == "end"


def test_an_interrupted_run_is_resumed() -> None:
    first = Run("change", FleetError("interrupted"))
    with pytest.raises(FleetError):
        first.run()
    second = Run("end")
    second.store, second._ledger = first.store, Ledger(first.store, "shop")
    second._ends_early = lambda _step: False  # type: ignore[method-assign]  # as for an open intent
    second.run()
    assert second.prepared == [("end", True)]
    assert second.events == ["resuming a swap that an earlier run began"]


def test_nothing_is_written_once_the_controller_is_gone() -> None:
    run = Run("change", "end", guard=Gone())
    with pytest.raises(AbandonedError) as error:
        run.run()
    assert run.store.list("") == [] and error.value.details["ended"] is None
    assert run.lease.calls == ["acquire 0", "release"]


class ClosedGates(OpenGates):
    def play(self, gate: Gate, intent: Intent, instances: Sequence[object]) -> None:  # noqa: ARG002
        raise GateError("it says no", rc=2)


@pytest.mark.parametrize("name", [BEFORE_SWAP, AFTER_SWAP])
def test_a_gate_around_the_swap_stops_the_run(name: str) -> None:
    run = Run("change")
    run._gates = ClosedGates()
    with pytest.raises(FleetError, match=f"{name}: it says no") as error:
        run._pass_gate(Gate(name, playbook="check.yml"), [])
    assert error.value.details == {"rc": 2} and run._intent.passed == ()


def test_a_gate_of_a_stage_is_for_the_run_to_judge() -> None:
    run = Run("change")
    run._gates = ClosedGates()
    with pytest.raises(GateError):
        run._pass_gate(Gate("stage 1 check", playbook="check.yml"), [])
    run._gates = OpenGates()
    run._pass_gate(Gate("stage 1 check", playbook="check.yml"), [])
    assert run._intent.passed == ("stage 1 check",)
    assert run.events == ["gate: stage 1 check"] * 2 + ["passed: stage 1 check"]
