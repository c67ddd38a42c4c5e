# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The events of an instance in a swap's timeline. Records in the store hold them, so they keep their values."""

from __future__ import annotations

from typing import Final, Literal

InstanceEvent = Literal[
    "launched",
    "reimaged",
    "started again",
    "sealed",
    "volumes attached",
    "staged",
    "registered",
    "takes over",
    "in service",
    "draining",
    "deregistered",
    "told to stop",
    "powered off",
    "stopped",
    "removed",
    "gone",
    "previous root removed",
]

# Events that begin a step which the slot waits for.
AWAITED: Final[tuple[InstanceEvent, ...]] = (
    "launched",
    "reimaged",
    "started again",
    "sealed",
    "staged",
    "registered",
    "draining",
)

# Events that begin a step which mostly runs in the background of other steps.
BACKGROUND: Final[tuple[InstanceEvent, ...]] = ("told to stop", "removed")
