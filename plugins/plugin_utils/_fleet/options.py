# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a user wants of a fleet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from .run import RunOptions


@dataclass(frozen=True)
class FleetOptions:
    """What a user wants of a fleet, as the module ``fleet`` documents it."""

    state: Literal["present", "absent"] = "present"
    channel: str = "prod"
    image: str | None = None  # one of the channel's history, by digest or name; None for the channel's image
    rollback: bool = False
    remove_volumes: Sequence[str] = ()
    ignore_windows: bool = False
    latencies: Mapping[str, float] = field(default_factory=dict)  # seconds by name, for predictions
    lock_timeout: float = 0.0  # seconds to wait for the lease of another run
    wait: bool = True
    approve: bool = False

    @property
    def run(self) -> RunOptions:
        return RunOptions(self.lock_timeout, self.wait, self.approve)

    @property
    def follows_channel(self) -> bool:
        """Whether the fleet is to run the channel's image, and no earlier one."""
        return self.state == "present" and self.image is None and not self.rollback
