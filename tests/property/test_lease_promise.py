# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Never do two controllers believe that they hold a fleet, whatever their clocks (within the margin), the store and their own pauses do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import hypothesis.strategies as st
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import (
    ConflictError,
    LeaseLostError,
    LockedError,
    StoreError,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.lease import MARGIN, POLL, TTL, Lease
from ansible_collections.immutable.infra.plugins.plugin_utils._store.memory import MemoryStore
from ansible_collections.immutable.infra.tests.support.killed import ControllerKilled
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

SKEW = st.floats(-MARGIN / 2, MARGIN / 2)
PAUSE = st.sampled_from([0.0, 0.1, 1.0, 5.0, 29.0, 31.0, 55.0, 60.0, 64.0, 66.0, 300.0])
KEY = "leases/shop-prod.json"
WHO = st.integers(0, 2)


@dataclass
class Happening:
    """What comes about around one call of the store, or one wait."""

    before: float  # seconds that pass first
    fault: str  # "", before, after (the effect), or kill
    then: float
    other: tuple[int, str] | None  # what another controller does right before the effect


HAPPENING = st.builds(
    Happening,
    before=PAUSE,
    fault=st.sampled_from(["", "", "", "", "before", "after", "kill_before", "kill_after"]),
    then=PAUSE,
    other=st.none() | st.tuples(WHO, st.sampled_from(["acquire", "need", "release", "skew"])),
)
QUIET = Happening(0.0, "", 0.0, None)
# A long wait beside a holder that goes on with its work, and now and then does not.
BESIDE = st.builds(
    Happening,
    before=st.sampled_from([0.0, 1.0, 29.0]),
    fault=st.just(""),
    then=st.just(0.0),
    other=st.none() | st.tuples(WHO, st.just("need")),
)
AHEAD = st.lists(HAPPENING, max_size=5) | st.lists(BESIDE, max_size=12)


class World:
    def __init__(self) -> None:
        self.real = 1_000_000.0
        self.store = MemoryStore()
        self.ahead: list[Happening] = []
        self.controllers: list[Controller] = []
        self.holders: dict[int, str] = {}  # by fencing number

    def around(self, who: Controller, effect: Callable[[], Any]) -> Any:
        happening = self.ahead.pop(0) if self.ahead else QUIET
        self.passes(happening.before)
        if happening.other:
            number, what = happening.other
            self.controllers[number].do(what)
        if happening.fault == "kill_before":
            raise ControllerKilled
        if happening.fault == "before":
            raise StoreError("failed")
        answer = effect()
        self.check()
        if happening.fault == "kill_after":
            raise ControllerKilled
        self.passes(happening.then)
        if happening.fault == "after":
            raise StoreError("failed after its effect")
        return answer

    def passes(self, seconds: float) -> None:
        self.real += seconds
        self.check()

    def check(self) -> None:
        believers = [each.number for each in self.controllers if each.lease.left() > 0]
        assert len(believers) <= 1, f"{believers} hold it at once"
        found = self.store.read(KEY)
        if found:
            assert self.holders.setdefault(found[0]["epoch"], found[0]["holder"]["id"]) == found[0]["holder"]["id"], (
                "one fencing number for two holders"
            )
            assert max(self.holders) == found[0]["epoch"], "the fencing number went back"


class Controller:
    """One run after another, each under its own clocks. It is the clock and the store of its lease."""

    location = "memory"

    def __init__(self, world: World, number: int, skew: float) -> None:
        self.world, self.number, self.skew = world, number, skew
        self.busy = False
        self.renew()

    def renew(self) -> None:
        self.lease = Lease(
            self, "shop-prod", f"run {self.number}", self, monotonic=self.steady, alive=lambda _holder: None
        )  # type: ignore[arg-type]

    def steady(self) -> float:
        return self.world.real + 1000.0 * self.number

    def now(self) -> float:
        return self.world.real + self.skew

    def wait(self, seconds: float) -> None:
        self.world.around(self, lambda: self.world.passes(seconds))

    def read(self, key: str) -> Any:
        return self.world.around(self, lambda: self.world.store.read(key))

    def write(self, key: str, document: Any, expect: str | None = None) -> str:
        answer: str = self.world.around(self, lambda: self.world.store.write(key, document, expect=expect))
        return answer

    def do(self, what: str, **options: Any) -> None:
        if what == "skew":
            self.skew = -self.skew
            return
        if self.busy or (what == "acquire" and self.lease.epoch):
            return
        self.busy = True
        try:
            if what == "need":
                seconds = options.get("seconds", 50.0)
                self.lease.need(seconds)
                # What happens after the last answer is only seen by the next call.
                assert self.world.ahead or self.lease.left() > seconds
            else:
                getattr(self.lease, what)(**options)
        except (StoreError, LockedError, ConflictError, LeaseLostError):
            pass
        except ControllerKilled:
            self.renew()
        finally:
            self.busy = False


class Leases(RuleBasedStateMachine):
    @initialize(skews=st.tuples(SKEW, SKEW, SKEW))
    def begin(self, skews: tuple[float, float, float]) -> None:
        self.world = World()
        self.world.controllers = [Controller(self.world, number, skew) for number, skew in enumerate(skews)]

    @rule(who=WHO, wait=st.sampled_from([0.0, 5.0, 70.0, 200.0]), ahead=AHEAD)
    def acquire(self, who: int, wait: float, ahead: list[Happening]) -> None:
        self._do(who, ahead, "acquire", wait=wait)

    @rule(who=WHO, seconds=st.sampled_from([1.0, 20.0, 50.0, 120.0]), ahead=AHEAD)
    def need(self, who: int, seconds: float, ahead: list[Happening]) -> None:
        self._do(who, ahead, "need", seconds=seconds)

    @rule(who=WHO, ahead=st.lists(HAPPENING, max_size=3))
    def release(self, who: int, ahead: list[Happening]) -> None:
        self._do(who, ahead, "release")

    @rule(who=WHO)
    def kill(self, who: int) -> None:
        self.world.controllers[who].renew()

    @rule(who=WHO, skew=SKEW)
    def set_clock(self, who: int, skew: float) -> None:
        self.world.controllers[who].skew = skew

    @rule(seconds=PAUSE)
    def pause(self, seconds: float) -> None:
        self.world.passes(seconds)

    @rule(who=WHO)
    def a_dead_holder_is_followed_in_time(self, who: int) -> None:
        for controller in self.world.controllers:
            controller.renew()
        self.world.ahead = []
        found = self.world.store.read(KEY)
        ttl = TTL if found is None else found[0]["ttl"]
        began = self.world.real
        self.world.controllers[who].lease.acquire(wait=ttl + 2 * MARGIN)
        assert self.world.real - began <= ttl + POLL

    @invariant()
    def one_holder(self) -> None:
        if hasattr(self, "world"):
            self.world.check()

    def _do(self, who: int, ahead: list[Happening], what: str, **options: Any) -> None:
        self.world.ahead = list(ahead)
        self.world.controllers[who].do(what, **options)
        self.world.ahead = []


TestLeases = Leases.TestCase
TestLeases.settings = settings(stateful_step_count=20)
