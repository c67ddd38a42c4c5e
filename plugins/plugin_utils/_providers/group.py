# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the rooms know of a group whose instances somebody else replaces: plain data and one protocol. Times are seconds since the epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

from .contract import InstanceState

# Statuses of an instance refresh that are known today. AWS may add others.
RefreshStatus = Literal[
    "Pending",
    "InProgress",
    "Baking",
    "Cancelling",
    "RollbackInProgress",
    "Successful",
    "Failed",
    "Cancelled",
    "RollbackSuccessful",
    "RollbackFailed",
]
PENDING: Final = "Pending"
IN_PROGRESS: Final = "InProgress"
BAKING: Final = "Baking"
CANCELLING: Final = "Cancelling"
ROLLING_BACK: Final = "RollbackInProgress"
SUCCESSFUL: Final = "Successful"
FAILED: Final = "Failed"
CANCELLED: Final = "Cancelled"
ROLLED_BACK: Final = "RollbackSuccessful"
ROLLBACK_FAILED: Final = "RollbackFailed"
FORWARD: tuple[RefreshStatus, ...] = (PENDING, IN_PROGRESS, BAKING)
BACK: tuple[RefreshStatus, ...] = (CANCELLING, ROLLING_BACK)
ENDED: tuple[RefreshStatus, ...] = (SUCCESSFUL, FAILED, CANCELLED, ROLLED_BACK, ROLLBACK_FAILED)

# Codes of errors that say no more than that the refresh is in another state than was seen: the next look tells.
RUNS_ALREADY = "InstanceRefreshInProgress"
RUNS_NO_MORE = "ActiveInstanceRefreshNotFound"
NO_WAY_BACK = "IrreversibleInstanceRefresh"


@dataclass(frozen=True)
class LaunchTemplate:
    """A launch template at one version, a number as text."""

    id: str
    version: str

    def __str__(self) -> str:
        return f"{self.id}:{self.version}"


@dataclass(frozen=True)
class GroupMember:
    """An instance as its group sees it."""

    id: str
    state: str  # Auto Scaling's own word, such as InService, Standby or Terminating:Wait
    healthy: bool
    template: LaunchTemplate | None  # None where it was launched from something else
    zone: str = ""
    protected: bool = False  # from scaling in

    @property
    def leaving(self) -> bool:
        return self.state.startswith(("Terminat", "Detach"))

    @property
    def serving(self) -> bool:
        return self.state == "InService" and self.healthy


@dataclass(frozen=True)
class Group:
    name: str
    template: LaunchTemplate  # what the group launches now
    named: str  # the version as it stands in the group: a number, $Latest or $Default
    image: str  # AMI that this version names, or "resolve:ssm:..."
    size: int  # desired capacity
    warmup: int  # seconds that apply where a refresh says nothing
    members: tuple[GroupMember, ...] = ()

    @property
    def pinned(self) -> bool:
        return self.named == self.template.version

    @property
    def reversible(self) -> bool:
        """Whether Auto Scaling can go back to what the group launches now, once the version is pinned."""
        return not self.image.startswith("resolve:")


@dataclass(frozen=True)
class Refresh:
    id: str
    status: str  # a RefreshStatus, or one that AWS added since
    reason: str = ""
    percent: int = 0
    left: int = 0  # instances
    template: LaunchTemplate | None = None  # that it aims at; the version as it was asked for. None: it was not told
    started: float = 0.0
    ended: float = 0.0

    @property
    def active(self) -> bool:
        """A status that is not known yet counts as one that goes on: nothing is begun beside it."""
        return self.status not in ENDED


@dataclass(frozen=True)
class GroupMachine:
    """An instance as EC2 describes it."""

    id: str
    image: str  # AMI
    state: InstanceState
    address: str  # where it is reached from here; "" where it has none
    launched: float
    zone: str
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DesiredLaunch:
    """What the group shall launch: what it launches now, with another image and our tags."""

    image: str  # AMI
    content: str  # fingerprint of the launch template's data that makes it
    tags: Mapping[str, str]
    name: str  # of the image
    source: LaunchTemplate  # what the group launches now
    template: LaunchTemplate | None  # the version that says so; None where it is still to be made


class AutoScalingGroup(Protocol):
    """One group. Reads are one or two calls each. Raises ProviderError with AWS's own code in its details."""

    @property
    def longest_call(self) -> float:
        """As of ``providers.base.Provider``."""

    @property
    def region(self) -> str: ...

    def group(self) -> Group:
        """Raises FleetError where there is no such group, or none that can be refreshed to an image."""

    def refreshes(self) -> list[Refresh]:
        """The newest first; at most one of them is active."""

    def machines(self) -> list[GroupMachine]: ...

    def wanted(self, group: Group, image: str, name: str, tags: Mapping[str, str]) -> DesiredLaunch: ...

    def make(self, wanted: DesiredLaunch) -> LaunchTemplate:
        """A version of the launch template; made once, however often it is asked for."""

    def pin(self, template: LaunchTemplate) -> None:
        """Let the group launch this version. No instance is touched."""

    def start(self, template: LaunchTemplate, preferences: Mapping[str, Any]) -> str:
        """Begin a refresh towards this version. Returns its id."""

    def cancel(self) -> None: ...

    def roll_back(self) -> None: ...
