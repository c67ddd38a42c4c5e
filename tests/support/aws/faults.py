# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Faults of the fake AWS: effects, and the calls that they apply to."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from .answers import Answer, Dropped, refusal
from .calls import Call
from .proxy import Proceed

Effect = Callable[[Call, Proceed], Answer]

THROTTLED = {"ec2": (503, "RequestLimitExceeded"), "s3": (503, "SlowDown"), "ssm": (400, "ThrottlingException")}
EXPIRED = {"ec2": (400, "RequestExpired"), "s3": (400, "ExpiredToken"), "ssm": (400, "ExpiredTokenException")}
DENIED = {"ec2": (403, "UnauthorizedOperation"), "ssm": (400, "AccessDeniedException")}

BROKEN = {
    ("ec2", 500): "InternalError",
    ("ec2", 503): "Unavailable",
    ("s3", 500): "InternalError",
    ("s3", 503): "ServiceUnavailable",
}


def drop(call: Call, proceed: Proceed) -> Answer:
    """The connection breaks before the call reaches AWS."""
    raise Dropped


def drop_after(call: Call, proceed: Proceed) -> Answer:
    """The answer is lost: a timeout after the effect."""
    proceed(call)
    raise Dropped


def throttle(call: Call, proceed: Proceed) -> Answer:
    status, code = THROTTLED.get(call.service, (400, "Throttling"))
    return refusal(call, status, code, "Rate exceeded" if call.service != "ec2" else "Request limit exceeded.")


def expired(call: Call, proceed: Proceed) -> Answer:
    status, code = EXPIRED.get(call.service, (403, "ExpiredToken"))
    return refusal(call, status, code, "The security token included in the request is expired")


def denied(call: Call, proceed: Proceed) -> Answer:
    status, code = DENIED.get(call.service, (403, "AccessDenied"))
    return refusal(
        call, status, code, f"You are not authorized to perform this operation. ({call.service}:{call.action})"
    )


def broken(status: int = 500) -> Effect:
    """500 or 503, with the service's own code."""
    return lambda call, _proceed: refusal(
        call, status, BROKEN.get((call.service, status), "InternalFailure"), "An internal error has occurred"
    )


def refuse(status: int, code: str, message: str) -> Effect:
    return lambda call, _proceed: refusal(call, status, code, message)


def slow(seconds: float) -> Effect:
    def effect(call: Call, proceed: Proceed) -> Answer:
        threading.Event().wait(seconds)
        return proceed(call)

    return effect


def before(callback: Callable[[], object]) -> Effect:
    """Call back just before the call, for example to lose an instance."""

    def effect(call: Call, proceed: Proceed) -> Answer:
        callback()
        return proceed(call)

    return effect


def after(callback: Callable[[], object]) -> Effect:
    """Call back between a call's effect and its answer."""

    def effect(call: Call, proceed: Proceed) -> Answer:
        answer = proceed(call)
        callback()
        return answer

    return effect


def kill(pid: int, late: bool = False) -> Effect:
    def effect(call: Call, proceed: Proceed) -> Answer:
        if late:
            proceed(call)
        os.kill(pid, signal.SIGKILL)
        raise Dropped

    return effect


@dataclass
class Fault:
    """Applies to ``times`` matching calls from the ``nth`` (0: to all that follow)."""

    effect: Effect
    action: str = ""  # "" for all
    service: str = ""
    nth: int = 1
    times: int = 1
    changing: bool | None = None
    matched: int = field(default=0)

    def matches(self, call: Call) -> bool:
        return (
            self.action in ("", call.action)
            and self.service in ("", call.service)
            and self.changing in (None, call.changing)
        )

    @property
    def met(self) -> int:
        """The number of calls that it applied to so far."""
        reached = max(0, self.matched - self.nth + 1)
        return min(reached, self.times) if self.times else reached


class Faults:
    """The outermost layer of the proxy."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> Fault:
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def __call__(self, call: Call, proceed: Proceed) -> Answer:
        for fault in self._due(call):
            proceed = _around(fault.effect, proceed)
        return proceed(call)

    def _due(self, call: Call) -> list[Fault]:
        due = []
        with self._lock:
            for fault in self._faults:
                if fault.matches(call):
                    met = fault.met
                    fault.matched += 1
                    if fault.met > met:
                        due.append(fault)
        return due


def _around(effect: Effect, proceed: Proceed) -> Proceed:
    return lambda call: effect(call, proceed)
