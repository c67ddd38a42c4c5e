# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What was observed of a fleet. Frozen plain data.

Times are seconds since the epoch by the provider's clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .._providers.contract import (
    DRAIN,
    PENDING,
    RUNNING,
    STOPPED,
    STOPPING,
    UP,
    InstanceState,
    MemberState,
    Volume,
)
from .._providers.root_state import ORIGINAL, RootState


@dataclass(frozen=True, slots=True)
class InstanceView:
    """An instance as the provider, the load balancer and the probe describe it together."""

    id: str
    slot: int
    image: str  # digest
    launch: str  # fingerprint
    state: InstanceState
    created: float
    started: float
    proven: bool  # it sealed itself in its present boot, with this image and the nonce of this launch
    refuted: bool = False  # it sealed itself, but as something else
    healthy: bool = False  # the last probe passed
    problem: str = ""  # why it is not proven or not healthy
    waiting_since: float = 0.0  # since when it could have been healthy but was not; only if it is proven
    healthy_since: float = 0.0  # since when each observation of this run found it healthy; only if it is healthy
    member: MemberState | None = None  # None if the load balancer does not know it
    in_flight: int | None = None
    member_since: float = 0.0
    volumes: tuple[str, ...] = ()  # ids of attached volumes
    address: tuple[str, int] | None = None  # where it takes traffic
    image_name: str = ""
    zone: str = ""
    swap: int = -1  # serial of the swap that launched it
    attempt: int = 0  # how many instances of that swap its slot had lost before
    stopping_since: float = 0.0  # only while STOPPING
    awaits_removal: bool = False  # see ``contract.Instance``
    passing: bool = False  # the load balancer's checks pass, whether or not it gets requests
    tainted: str = ""  # why it must be replaced
    protected: str = ""  # why it must not be touched without permission
    standby: str = ""  # why a user keeps it out of traffic
    stop_reason: str = ""  # why it stopped, in the provider's words
    drained_since: float = 0.0  # since when it is no member any more; only if this run drained it
    root: RootState = ORIGINAL

    @property
    def running(self) -> bool:
        return self.state != STOPPED

    @property
    def live(self) -> bool:
        """Whether it runs and was not asked to stop."""
        return self.state in (PENDING, RUNNING)

    @property
    def stopping(self) -> bool:
        return self.state == STOPPING

    @property
    def ready(self) -> bool:
        """Whether it can be put in service: it is proven and its probe passes."""
        return self.state == RUNNING and self.proven and self.healthy

    @property
    def checked_since(self) -> float:
        """Since when the load balancer's checks could have passed."""
        return max(self.member_since, self.healthy_since or self.waiting_since)

    @property
    def serving(self) -> bool:
        return self.ready and self.member == UP

    def counts(self, draining: bool) -> bool:
        """Whether it takes a place under the ceiling: it is live and, unless ``draining``, not drained by this run."""
        return self.live and (draining or not (self.member == DRAIN or self.drained_since))


@dataclass(frozen=True, slots=True)
class Death:
    """An instance that died at its launch and no longer exists."""

    slot: int
    id: str
    reason: str  # in the provider's words
    swap: int = -1  # serial of the swap that launched it
    attempt: int = 0


@dataclass(frozen=True)
class Observed:
    at: float
    instances: tuple[InstanceView, ...] = ()
    volumes: tuple[Volume, ...] = ()
    orphaned_members: tuple[str, ...] = ()  # members whose instance is gone
    alarms: tuple[str, ...] = ()  # why the swap must roll back, according to metrics
    revoked: Mapping[str, str] = field(default_factory=dict)  # why images must not be put in service, by digest
    deaths: tuple[Death, ...] = ()
    calls_count: bool = False  # at the provider, so that removals may wait for one another
    replaces_in: InstanceState | None = None  # see ``contract.Reimager``; None without one

    @property
    def serving(self) -> int:
        return sum(view.serving for view in self.instances)

    def counted(self, draining: bool) -> int:
        """How many instances the ceiling counts. Draining ones count only with ``draining``."""
        return sum(view.counts(draining) for view in self.instances)
