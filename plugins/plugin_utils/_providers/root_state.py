# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a provider knows of the replacement of an instance's root."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

RootChange = Literal["", "requested", "busy", "failed"]
REQUESTED: Final = "requested"  # recorded, but not begun: the run was interrupted in between
BUSY: Final = "busy"  # the root cannot be replaced now: a replacement is in progress, or the instance starts
FAILED: Final = "failed"


@dataclass(frozen=True, slots=True)
class RootState:
    """The root of an instance that was reimaged; all fields are empty for other instances."""

    previous: str = ""  # digest of the image whose root is kept, so that it can come back
    change: RootChange = ""
    problem: str = ""  # why the change is in this state, in the provider's words


ORIGINAL: Final = RootState()  # of an instance that keeps no other root
