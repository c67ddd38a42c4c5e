# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A lease: a document in the store that names one holder until an expiry. The holder renews it while it works.

The holder counts with its own monotonic clock, from before its write was sent, so it never assumes more time than it
has. Others take the lease over only after it has certainly expired: MARGIN seconds after the expiry in the document, by
the time of day, or, whatever the clocks say, after they saw the document unchanged for the length of the lease. Each
takeover has a higher ``epoch``.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from .._core.errors import ConflictError, LeaseLostError, LockedError, StoreError
from .._core.processes import process_alive, process_identity
from .._core.units import iso
from .base import ABSENT, Store
from .file import user_name

TTL = 60.0  # seconds that a lease lasts
MARGIN = 5.0  # seconds by which the times of day of two controllers may differ
POLL = 2.0  # seconds between two attempts of a waiting contender
RETRY_DELAY = 1.0  # seconds before a failed call of the store is retried
MUCH = 3  # a lease with more than so many times the seconds that it needs is made shorter; each change is a write
MAX_CONFLICTS = 5  # conditional writes that may fail because another one came first


def monotonic_seconds() -> float:
    """Return seconds that no change of the time of day affects, including time in suspend if the system counts it."""
    boot_time = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot_time is None else time.clock_gettime(boot_time)


class Clock(Protocol):
    """A time of day, and a way to let time pass."""

    def now(self) -> float:
        """Return the seconds since the epoch."""

    def wait(self, seconds: float) -> None:
        """Return after ``seconds``."""


class SystemClock:
    """The time of day of this machine."""

    def now(self) -> float:
        return time.time()

    def wait(self, seconds: float) -> None:
        time.sleep(max(0.0, seconds))


class Lease:
    """The right to do what one document of the store protects, from ``acquire`` to ``release``."""

    advice = "wait for it"  # for a user whose run does not get the lease

    def __init__(
        self,
        store: Store,
        key: str,
        *,
        name: str,
        purpose: str,
        clock: Clock,
        ttl: float = TTL,
        monotonic: Callable[[], float] = monotonic_seconds,
        alive: Callable[[Mapping[str, Any]], bool | None] = process_alive,
    ) -> None:
        """Prepare the lease without acquiring it.

        Args:
            key: of the document in the store.
            name: of what the lease protects, for messages.
            purpose: what the holder does, for messages.
            ttl: seconds that the lease lasts after each renewal.
            monotonic: returns monotonic seconds, which must advance while ``clock`` waits.
            alive: whether the process with this identity is alive; see ``_core.processes.process_alive``.
        """
        self.name = name
        self.epoch = 0  # 0 if the lease is not held
        self.took_over: str | None = None  # the tag of the document that the present holding replaced; None if unknown
        self._store = store
        self._key = key
        self._purpose = purpose
        self._clock = clock
        self._ttl = ttl
        self._monotonic = monotonic
        self._alive = alive
        self._holder: dict[str, Any] = {}
        self._document: dict[str, Any] = {}  # the last one that this process is known to have written
        self._tag = ""
        self._expiry = 0.0  # by this process's monotonic clock
        self._long_at = 0.0  # when a call last needed more than the usual time, by the same clock
        # Expiries of all writes by ``turn``, because a write whose response was lost may have had its effect.
        self._expiries: dict[int, float] = {}

    def free_version(self) -> str | None:
        """The tag of the document if no one holds the lease, ABSENT if there is no document, None if someone may.

        If the lease is acquired later and ``took_over`` has the same tag, no one held it in between. Raises StoreError.
        """
        found = self._read()
        if found is None:
            return ABSENT
        return found[1] if found[0].get("released") else None

    def acquire(self, wait: float = 0.0) -> None:
        """Acquire the lease. Wait at most ``wait`` seconds for it.

        Raises LockedError, which says who holds the lease, why, since when and until when, and StoreError if the store
        still fails at the end.
        """
        self._holder = {"id": secrets.token_hex(8), "user": user_name(), **process_identity()}
        self._expiries.clear()
        self.took_over = None
        watcher = _LeaseWatcher(self._clock, self._monotonic, self._alive)
        deadline = self._monotonic() + wait
        conflicts = 0
        while True:
            try:
                found = self._read()
                if found and self._is_own(found[0]):
                    return self._adopt(found[0], found[1])
                if watcher.is_free(found):
                    return self._take(found)
                failure: StoreError = self._locked(found[0] if found else {})
            except ConflictError as error:  # another process came first, or the response to our own write was lost
                conflicts += 1
                if conflicts < MAX_CONFLICTS:
                    continue
                failure = error
            except StoreError as error:
                failure = error
            remaining = deadline - self._monotonic()
            if remaining <= 0:
                raise failure
            self._clock.wait(min(POLL, remaining))

    @contextmanager
    def held(self, wait: float = 0.0) -> Iterator[Lease]:
        """Hold the lease in a ``with`` block. See ``acquire``."""
        self.acquire(wait)
        try:
            yield self
        finally:
            self.release()

    def left(self) -> float:
        """Return the seconds for which the lease is certainly still held, or 0 if it is not held."""
        return max(0.0, self._expiry - self._monotonic()) if self.epoch else 0.0

    def need(self, seconds: float) -> None:
        """Make sure that more than ``seconds`` plus MARGIN are left, for a call with the timeout ``seconds``.

        The lease is renewed after half of its time. A lease that a longer call needed, which is over, is made shorter:
        at once if it is much longer, else once no such call has followed for half of the usual time. If this process
        died, others would wait that long. A failing store is retried while the lease lasts.

        Raises LeaseLostError if another process holds the lease, or if it could not be renewed in time.
        """
        enough = seconds + MARGIN
        if not self.epoch:
            raise LeaseLostError(f"the lease of {self.name} is not held; run again")
        ttl = max(self._ttl, enough + 2 * MARGIN)  # a long call needs a longer lease
        now = self._monotonic()
        self._long_at = now if ttl > self._ttl else self._long_at
        most = ttl if now - self._long_at >= self._ttl / 2 else MUCH * ttl
        give_up = now + ttl
        while not max(enough, self._ttl / 2) < self.left() <= most:
            try:
                self._renew(ttl)
            except StoreError as error:
                if self.left() > enough:
                    return
                if self.left() <= 0 or self._monotonic() >= give_up:
                    raise LeaseLostError(
                        f"the lease of {self.name} could not be renewed in time: {error.message}; run again to resume"
                    ) from error
                self._clock.wait(RETRY_DELAY)
            else:
                if self.left() > enough:
                    return
                if self._monotonic() >= give_up:
                    raise LeaseLostError(
                        f"the lease of {self.name} could not be renewed in time: the store is too slow; run again "
                        f"to resume"
                    )

    def release(self) -> None:
        """Release the lease if it is held. If the store fails, the lease expires later instead."""
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
            if not found or not self._is_own(found[0]):
                return
            tag = found[1]

    def _read(self) -> tuple[dict[str, Any], str] | None:
        found = self._store.read(self._key)
        if found is not None and not (isinstance(found[0], dict) and isinstance(found[0].get("holder"), dict)):
            raise StoreError(
                f"{self._key} in the store {self._store.location} is not a lease; "
                f"delete it once no run works on {self.name}"
            )
        return found

    def _take(self, found: tuple[dict[str, Any], str] | None) -> None:
        epoch = _number(found[0], "epoch") + 1 if found else 1
        document = {
            "name": self.name,
            "purpose": self._purpose,
            "holder": self._holder,
            "since": self._clock.now(),
            "epoch": int(epoch),
            "turn": len(self._expiries),
        }
        replaced = found[1] if found else ABSENT
        self._write(document, self._ttl, replaced)
        self.took_over = replaced

    def _renew(self, ttl: float) -> None:
        try:
            self._write({**self._document, "turn": len(self._expiries)}, ttl, self._tag)
        except ConflictError:
            found = self._read()
            if found is None or not self._is_own(found[0]):
                self.epoch = 0
                cause = f"taken over by {_describe_holder(found[0])}" if found else "deleted by another process"
                raise LeaseLostError(
                    f"the lease of {self.name} was {cause}, so nothing more was changed; run again to resume"
                ) from None
            self._adopt(found[0], found[1])  # our own write, whose response was lost

    def _write(self, document: dict[str, Any], ttl: float, expect: str) -> None:
        expiry = self._monotonic() + ttl  # the clock is read before the write is sent
        self._expiries[document["turn"]] = expiry
        self._expiry = min(self._expiry, expiry)  # a shorter lease counts even if the response is lost
        document = {**document, "ttl": ttl, "until": self._clock.now() + ttl, "released": False}
        self._hold(document, self._store.write(self._key, document, expect=expect), expiry)

    def _adopt(self, document: dict[str, Any], tag: str) -> None:
        self._hold(document, tag, self._expiries[document["turn"]])

    def _hold(self, document: dict[str, Any], tag: str, expiry: float) -> None:
        self._document, self._tag, self._expiry = document, tag, expiry
        self.epoch = document["epoch"]

    def _locked(self, document: Mapping[str, Any]) -> LockedError:
        until = iso(_number(document, "until"))
        message = f"{self.name} is held by {_describe_holder(document)}, until {until} unless it renews the lease"
        return LockedError(f"{message}; {self.advice} or stop it, then run again", lease=dict(document))

    def _is_own(self, document: Mapping[str, Any]) -> bool:
        return bool(document["holder"].get("id") == self._holder["id"] and not document.get("released"))


class _LeaseWatcher:
    """Decides when a contender may take the lease over.

    It reads the time of day once for each state of the document, so that a clock that jumps cannot shorten the wait.
    """

    def __init__(
        self, clock: Clock, monotonic: Callable[[], float], alive: Callable[[Mapping[str, Any]], bool | None]
    ) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._alive = alive
        self._tag: str | None = None  # of the last state that was read
        self._free_at = 0.0

    def is_free(self, found: tuple[dict[str, Any], str] | None) -> bool:
        """Whether the lease may be taken, given the document and tag that were just read."""
        if found is None or found[0].get("released"):
            return True
        document, tag = found
        if tag != self._tag:
            # The document was written before now and is valid for its ttl from then. How long ago the first state was
            # written is unknown, so its expiry by the time of day also counts.
            ttl = _number(document, "ttl")
            until_expiry = _number(document, "until") + MARGIN - self._clock.now()
            self._free_at = self._monotonic() + (ttl if self._tag is not None else min(ttl, max(0.0, until_expiry)))
            self._tag = tag
        return self._monotonic() >= self._free_at or self._alive(document["holder"]) is False


def _describe_holder(document: Mapping[str, Any]) -> str:
    holder = document.get("holder") or {}
    process = f"process {holder.get('pid', '?')} of {holder.get('user', '?')} on {holder.get('host', '?')}"
    return f"{process} since {iso(_number(document, 'since'))} ({document.get('purpose', 'no purpose given')})"


def _number(document: Mapping[str, Any], name: str) -> float:
    value = document.get(name)
    return float(value) if isinstance(value, (int, float)) else 0.0
