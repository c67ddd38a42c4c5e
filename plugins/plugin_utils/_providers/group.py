# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A group whose instances its provider replaces by itself, such as EC2 Auto Scaling: plain data and one protocol.

Times are seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

from .contract import Evidence, InstanceState, LaunchRequest

# Statuses of an instance refresh that are known today. AWS may add others.
# https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_InstanceRefresh.html
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

# Error codes that only say that the refresh is in another state than observed: the next observation shows which.
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
    state: str  # lifecycle state, such as InService, Standby or Terminating:Wait
    healthy: bool
    template: LaunchTemplate | None  # None if it was launched from something else
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
    configured_version: str  # as set in the group: a number, $Latest or $Default
    image: str  # AMI that this version launches, or "resolve:ssm:..."
    size: int  # desired capacity
    warmup: int  # seconds, for a refresh that sets none itself
    members: tuple[GroupMember, ...] = ()

    @property
    def pinned(self) -> bool:
        return self.configured_version == self.template.version

    @property
    def reversible(self) -> bool:
        """Whether Auto Scaling can roll back to what the group launches now, once the version is pinned."""
        return not self.image.startswith("resolve:")


@dataclass(frozen=True)
class Refresh:
    """An instance refresh: it replaces the group's instances by instances of one template."""

    id: str
    status: str  # a RefreshStatus, or one that AWS added since
    reason: str = ""
    percent: int = 0
    remaining: int = 0  # instances
    template: LaunchTemplate | None = None  # its target, with the version as it was requested; None if unknown
    started: float = 0.0
    ended: float = 0.0

    @property
    def active(self) -> bool:
        """An unknown status counts as active, so that nothing starts at the same time."""
        return self.status not in ENDED


@dataclass(frozen=True)
class GroupMachine:
    """An instance of a group as EC2 describes it."""

    id: str
    image: str  # AMI
    state: InstanceState
    address: str  # at which it is reached from here; "" if it has none
    launched: float
    zone: str
    tags: Mapping[str, str] = field(default_factory=dict)  # by name, see ``_providers/tags``
    evidence: Evidence | None = None  # None until it sealed itself in its present boot


@dataclass(frozen=True)
class DesiredLaunch:
    """What the group shall launch: what it launches now, with another image, launch document or tags."""

    image: str  # AMI
    content: str  # fingerprint of the data of the launch template version
    request: LaunchRequest  # of any of its instances
    name: str  # of the image
    source: LaunchTemplate  # what the group launches now
    template: LaunchTemplate | None  # the version with this content; None until it is created
    # False for a version that an earlier release made without a launch document, so its instances cannot seal.
    seals: bool = True
    drops_user_data: bool = False  # whether a new version replaces user data of the source's own


class AutoScalingGroup(Protocol):
    """One group. Each read is one or two calls. Raises ProviderError with AWS's code."""

    @property
    def longest_call(self) -> float:
        """See ``contract.Provider``."""

    @property
    def region(self) -> str:
        """The AWS region."""

    @property
    def account(self) -> str:
        """The ID of the AWS account if images are baked in another one, else ""."""

    def group(self) -> Group:
        """Raises FleetError if there is no such group, or if it cannot be refreshed to an image."""

    def refreshes(self) -> list[Refresh]:
        """The newest first; at most one of them is active."""

    def machines(self) -> list[GroupMachine]:
        """The instances of the group as EC2 describes them, with the evidence of those that sealed themselves.

        A console is read until it shows the evidence, at increasing intervals.
        """

    def prove_again(self) -> None:
        """Let the next look read the evidence of every host again. See ``contract.Provider``."""

    def desired_launch(self, group: Group, image: str, name: str, request: LaunchRequest) -> DesiredLaunch:
        """What the group shall launch to run an image.

        Args:
            image: AMI.
            name: of the image.
            request: of any instance of the group; its slot, volumes and zone do not count.
        """

    def machine(self, group: Group) -> Mapping[str, Any]:
        """The settings of a machine that the group's launch template sets, by the names of the contract's provider."""

    def pin_secrets(self, parameters: Sequence[str]) -> Mapping[str, str]:
        """See ``contract.PinSecrets``."""

    def create_version(self, desired: DesiredLaunch) -> LaunchTemplate:
        """Create the version of the launch template. Idempotent."""

    def pin(self, template: LaunchTemplate) -> None:
        """Let the group launch this version. No instance is touched."""

    def start(self, template: LaunchTemplate, preferences: Mapping[str, Any]) -> str:
        """Start a refresh to this version. Returns its id."""

    def cancel(self) -> None:
        """Cancel the active refresh."""

    def roll_back(self) -> None:
        """Roll the active refresh back."""
