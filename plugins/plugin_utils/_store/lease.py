# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One holder of a name: a document in the store, held for a time, renewed while it is used, and left behind by a controller that dies.

The holder counts by its own steady clock, from before its write was sent, so it never believes in more than it has. Others take the lease
over only when that time is surely over: by the time of day that the document tells and MARGIN more, or, whatever clocks say, once they
have seen the document unchanged for as long as it was asked for. Each take-over has a higher ``epoch``.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any, Protocol

from .._core.errors import ConflictError, LeaseLostError, LockedError, StoreError
from .._core.processes import alive as process_alive
from .._core.processes import identity
from .base import ABSENT, Store
from .file import user_name

TTL = 60.0  # seconds for which a lease is asked
MARGIN = 5.0  # seconds by which the times of day of two controllers may differ
POLL = 2.0  # seconds between two looks of one that waits
RETRY = 1.0  # seconds until a store that failed is tried again
MANY = 5  # conditional writes that others came before


def steady() -> float:
    """Seconds that no change of the time of day moves; a suspended machine's sleep is counted where the system can."""
    boot_time = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot_time is None else time.clock_gettime(boot_time)


class Clock(Protocol):
    """Seconds since the epoch, and a way to let time pass."""

    def now(self) -> float: ...

    def wait(self, seconds: float) -> None: ...


class SystemClock:
    """This machine's time of day."""

    def now(self) -> float:
        return time.time()

    def wait(self, seconds: float) -> None:
        time.sleep(max(0.0, seconds))


class Lease:
    """The right to do what one document of the store stands for, for one ``acquire`` to ``release``."""

    waiting = "wait for it"  # what a user can do who does not get it

    def __init__(
        self,
        store: Store,
        key: str,
        name: str,
        purpose: str,
        clock: Clock,
        ttl: float = TTL,
        monotonic: Callable[[], float] = steady,
        alive: Callable[[Mapping[str, Any]], bool | None] = process_alive,
    ) -> None:
        """``name`` is what people are told. ``monotonic`` must move while ``clock`` waits.

        ``alive`` is asked of the holder's part of the document: False only where it is surely dead.
        """
        self.name = name
        self.epoch = 0  # 0 until it is held
        self._store = store
        self._key = key
        self._purpose = purpose
        self._clock = clock
        self._ttl = ttl
        self._monotonic = monotonic
        self._alive = alive
        self._holder: dict[str, Any] = {}
        self._document: dict[str, Any] = {}  # as last known to be written by us
        self._tag = ""
        self._ends = 0.0  # by our own steady clock
        self._asked: dict[
            int, float
        ] = {}  # ends of what was asked for, by ``turn``: an answer that was lost may have had its effect

    def acquire(self, wait: float = 0.0) -> None:
        """Hold the lease, after ``wait`` seconds at the latest.

        Raises LockedError, which says who holds it, why, since and until when; StoreError where the store failed to the end.
        """
        self._holder = {"id": secrets.token_hex(8), "user": user_name(), **identity()}
        self._asked.clear()
        watch = _LeaseWatcher(self._clock, self._monotonic, self._alive)
        deadline = self._monotonic() + wait
        conflicts = 0
        while True:
            try:
                found = self._read()
                if found and self._is_mine(found[0]):
                    return self._adopt(found[0], found[1])
                if watch.free(found):
                    return self._take(found)
                failure: StoreError = self._locked(found[0] if found else {})
            except ConflictError as error:  # somebody was quicker, or a write of ours whose answer was lost
                conflicts += 1
                if conflicts < MANY:
                    continue
                failure = error
            except StoreError as error:
                failure = error
            left = deadline - self._monotonic()
            if left <= 0:
                raise failure
            self._clock.wait(min(POLL, left))

    @contextmanager
    def held(self, wait: float = 0.0) -> Iterator[Lease]:
        self.acquire(wait)
        try:
            yield self
        finally:
            self.release()

    def left(self) -> float:
        """Seconds that are left, at least. 0 where it is not held."""
        return max(0.0, self._ends - self._monotonic()) if self.epoch else 0.0

    def need(self, seconds: float) -> None:
        """See that more than ``seconds`` and MARGIN are left, for a call with that time-out. Renews where half of the time is over.

        A failing store is tried again while the lease lasts. Raises LeaseLostError when somebody else has it, or nothing could be renewed in time.
        """
        enough = seconds + MARGIN
        if not self.epoch:
            raise LeaseLostError(f"the lease of {self.name} is not held; run again")
        ttl = max(self._ttl, enough + 2 * MARGIN)  # a call that may take long asks for longer
        give_up = self._monotonic() + ttl
        while self.left() <= max(enough, self._ttl / 2):
            try:
                self._renew(ttl)
            except StoreError as error:
                if self.left() > enough:
                    return
                if self.left() <= 0 or self._monotonic() >= give_up:
                    raise LeaseLostError(
                        f"the lease of {self.name} could not be renewed in time: {error.message}; run again to go on"
                    ) from error
                self._clock.wait(RETRY)
            else:
                if self.left() > enough:
                    return
                if self._monotonic() >= give_up:
                    raise LeaseLostError(
                        f"the lease of {self.name} could not be renewed in time: the store is too slow; run again to go on"
                    )

    def release(self) -> None:
        """Let go. One that was lost is nothing to release, and one that the store fails to note runs out by itself."""
        if not self.epoch:
            return
        self.epoch, tag = 0, self._tag
        for _attempt in range(3):
            try:
                self._store.write(self._key, {**self._document, "released": True}, expect=tag)
                return
            except ConflictError:
                pass
            except StoreError:
                continue
            try:
                found = self._read()
            except StoreError:
                continue
            if not found or not self._is_mine(found[0]):
                return
            tag = found[1]

    def _read(self) -> tuple[dict[str, Any], str] | None:
        found = self._store.read(self._key)
        if found is not None and not (isinstance(found[0], dict) and isinstance(found[0].get("holder"), dict)):
            raise StoreError(
                f"{self._key} in the store {self._store.location} is no lease; remove it when no run works on {self.name}"
            )
        return found

    def _take(self, found: tuple[dict[str, Any], str] | None) -> None:
        epoch = _number(found[0], "epoch") + 1 if found else 1
        told = {"name": self.name, "purpose": self._purpose, "holder": self._holder, "since": self._clock.now()}
        document = {**told, "epoch": int(epoch), "turn": len(self._asked)}
        self._write(document, self._ttl, found[1] if found else ABSENT)

    def _renew(self, ttl: float) -> None:
        try:
            self._write({**self._document, "turn": len(self._asked)}, ttl, self._tag)
        except ConflictError:
            found = self._read()
            if found is None or not self._is_mine(found[0]):
                self.epoch = 0
                who = f"taken over by {_who(found[0])}" if found else "removed by somebody"
                raise LeaseLostError(
                    f"the lease of {self.name} was {who}, so nothing more was changed; run again to go on"
                ) from None
            self._adopt(found[0], found[1])  # a write of ours whose answer was lost

    def _write(self, document: dict[str, Any], ttl: float, expect: str) -> None:
        ends = self._monotonic() + ttl  # the clock is read before the write is sent
        self._asked[document["turn"]] = ends
        document = {**document, "ttl": ttl, "until": self._clock.now() + ttl, "released": False}
        self._hold(document, self._store.write(self._key, document, expect=expect), ends)

    def _adopt(self, document: dict[str, Any], tag: str) -> None:
        self._hold(document, tag, self._asked[document["turn"]])

    def _hold(self, document: dict[str, Any], tag: str, ends: float) -> None:
        self._document, self._tag, self._ends = document, tag, ends
        self.epoch = document["epoch"]

    def _locked(self, document: Mapping[str, Any]) -> LockedError:
        until = _iso(_number(document, "until"))
        message = f"{self.name} is held by {_who(document)}, until {until} unless it renews; {self.waiting} or stop it, then run again"
        return LockedError(message, lease=dict(document))

    def _is_mine(self, document: Mapping[str, Any]) -> bool:
        return bool(document["holder"].get("id") == self._holder["id"] and not document.get("released"))


class _LeaseWatcher:
    """One contender's eye on the document. The time of day is read once for each state of it, so a clock that jumps hurries nothing."""

    def __init__(
        self, clock: Clock, monotonic: Callable[[], float], alive: Callable[[Mapping[str, Any]], bool | None]
    ) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._alive = alive
        self._tag: str | None = None  # of the state that was seen last
        self._free_at = 0.0

    def free(self, found: tuple[dict[str, Any], str] | None) -> bool:
        """Whether what was read just now may be taken."""
        if found is None or found[0].get("released"):
            return True
        document, tag = found
        if tag != self._tag:
            # It was written before now, and holds for its ttl from there. Of the first state it is not known how long before.
            ttl = _number(document, "ttl")
            over = _number(document, "until") + MARGIN - self._clock.now()
            self._free_at = self._monotonic() + (ttl if self._tag is not None else min(ttl, max(0.0, over)))
            self._tag = tag
        return self._monotonic() >= self._free_at or self._alive(document["holder"]) is False


def _who(document: Mapping[str, Any]) -> str:
    holder = document.get("holder") or {}
    who = f"process {holder.get('pid', '?')} of {holder.get('user', '?')} on {holder.get('host', '?')}"
    return f"{who} since {_iso(_number(document, 'since'))} ({document.get('purpose', 'no purpose told')})"


def _number(document: Mapping[str, Any], name: str) -> float:
    value = document.get(name)
    return float(value) if isinstance(value, (int, float)) else 0.0


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="seconds")
