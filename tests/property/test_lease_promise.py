# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Two controllers never both believe that they hold a fleet, whatever their clocks, the store and their pauses do.

The clocks differ by at most the margin.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

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
NUMBER = st.integers(0, 2)


@dataclass
class CallEvent:
    """What happens around one call of the store, or around one wait."""

    before: float  # seconds that pass before the effect
    fault: Literal["", "before", "after", "kill_before", "kill_after"]  # relative to the effect
    after: float  # seconds that pass after the effect
    other: tuple[int, str] | None  # what another controller does just before the effect


EVENT = st.builds(
    CallEvent,
    before=PAUSE,
    fault=st.sampled_from(["", "", "", "", "before", "after", "kill_before", "kill_after"]),
    after=PAUSE,
    other=st.none() | st.tuples(NUMBER, st.sampled_from(["acquire", "need", "release", "skew"])),
)
QUIET = CallEvent(0.0, "", 0.0, None)
# A long wait while the holder keeps working, except for an occasional pause.
WHILE_HELD = st.builds(
    CallEvent,
    before=st.sampled_from([0.0, 1.0, 29.0]),
    fault=st.just(""),
    after=st.just(0.0),
    other=st.none() | st.tuples(NUMBER, st.just("need")),
)
AHEAD = st.lists(EVENT, max_size=5) | st.lists(WHILE_HELD, max_size=12)


class World:
    """The store, the real time and the controllers."""

    def __init__(self) -> None:
        self.real = 1_000_000.0
        self.store = MemoryStore()
        self.upcoming: list[CallEvent] = []
        self.controllers: list[Controller] = []
        self.holders: dict[int, str] = {}  # by epoch

    def around(self, effect: Callable[[], Any]) -> Any:
        event = self.upcoming.pop(0) if self.upcoming else QUIET
        self.advance(event.before)
        if event.other:
            number, action = event.other
            self.controllers[number].do(action)
        if event.fault == "kill_before":
            raise ControllerKilled
        if event.fault == "before":
            raise StoreError("failed")
        result = effect()
        self.check()
        if event.fault == "kill_after":
            raise ControllerKilled
        self.advance(event.after)
        if event.fault == "after":
            raise StoreError("failed after its effect")
        return result

    def advance(self, seconds: float) -> None:
        self.real += seconds
        self.check()

    def check(self) -> None:
        believers = [controller.number for controller in self.controllers if controller.lease.left() > 0]
        assert len(believers) <= 1, f"{believers} hold it at once"
        found = self.store.read(KEY)
        if found:
            assert self.holders.setdefault(found[0]["epoch"], found[0]["holder"]["id"]) == found[0]["holder"]["id"], (
                "one epoch for two holders"
            )
            assert max(self.holders) == found[0]["epoch"], "the epoch decreased"


class Controller:
    """A series of runs with their own clocks. It is the clock and the store of its lease."""

    location = "memory"

    def __init__(self, world: World, number: int, skew: float) -> None:
        self.world, self.number, self.skew = world, number, skew
        self.busy = False
        self.restart()

    def restart(self) -> None:
        self.lease = Lease(
            self, "shop-prod", f"run {self.number}", self, monotonic=self.monotonic, alive=lambda _holder: None
        )  # type: ignore[arg-type]

    def monotonic(self) -> float:
        return self.world.real + 1000.0 * self.number

    def now(self) -> float:
        return self.world.real + self.skew

    def wait(self, seconds: float) -> None:
        self.world.around(lambda: self.world.advance(seconds))

    def read(self, key: str) -> Any:
        return self.world.around(lambda: self.world.store.read(key))

    def write(self, key: str, document: Any, expect: str | None = None) -> str:
        tag: str = self.world.around(lambda: self.world.store.write(key, document, expect=expect))
        return tag

    def do(self, action: str, **options: Any) -> None:
        if action == "skew":
            self.skew = -self.skew
            return
        if self.busy or (action == "acquire" and self.lease.epoch):
            return
        self.busy = True
        try:
            if action == "need":
                seconds = options.get("seconds", 50.0)
                self.lease.need(seconds)
                # Only the next call notices what happens after the last response.
                assert self.world.upcoming or self.lease.left() > seconds
            else:
                getattr(self.lease, action)(**options)
        except (StoreError, LockedError, ConflictError, LeaseLostError):
            pass
        except ControllerKilled:
            self.restart()
        finally:
            self.busy = False


class Leases(RuleBasedStateMachine):
    @initialize(skews=st.tuples(SKEW, SKEW, SKEW))
    def begin(self, skews: tuple[float, float, float]) -> None:
        self.world = World()
        self.world.controllers = [Controller(self.world, number, skew) for number, skew in enumerate(skews)]

    @rule(number=NUMBER, wait=st.sampled_from([0.0, 5.0, 70.0, 200.0]), ahead=AHEAD)
    def acquire(self, number: int, wait: float, ahead: list[CallEvent]) -> None:
        self._do(number, ahead, "acquire", wait=wait)

    @rule(number=NUMBER, seconds=st.sampled_from([1.0, 20.0, 50.0, 120.0]), ahead=AHEAD)
    def need(self, number: int, seconds: float, ahead: list[CallEvent]) -> None:
        self._do(number, ahead, "need", seconds=seconds)

    @rule(number=NUMBER, ahead=st.lists(EVENT, max_size=3))
    def release(self, number: int, ahead: list[CallEvent]) -> None:
        self._do(number, ahead, "release")

    @rule(number=NUMBER)
    def kill(self, number: int) -> None:
        self.world.controllers[number].restart()

    @rule(number=NUMBER, skew=SKEW)
    def set_clock(self, number: int, skew: float) -> None:
        self.world.controllers[number].skew = skew

    @rule(seconds=PAUSE)
    def pause(self, seconds: float) -> None:
        self.world.advance(seconds)

    @rule(number=NUMBER)
    def a_dead_holder_is_replaced_in_time(self, number: int) -> None:
        for controller in self.world.controllers:
            controller.restart()
        self.world.upcoming = []
        found = self.world.store.read(KEY)
        ttl = TTL if found is None else found[0]["ttl"]
        started = self.world.real
        self.world.controllers[number].lease.acquire(wait=ttl + 2 * MARGIN)
        assert self.world.real - started <= ttl + POLL

    @invariant()
    def one_holder(self) -> None:
        if hasattr(self, "world"):
            self.world.check()

    def _do(self, number: int, ahead: list[CallEvent], action: str, **options: Any) -> None:
        self.world.upcoming = list(ahead)
        self.world.controllers[number].do(action, **options)
        self.world.upcoming = []


TestLeases = Leases.TestCase
TestLeases.settings = settings(stateful_step_count=20)
