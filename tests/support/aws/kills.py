# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Kill the controller around the changing calls of a swap on EC2, run it again and compare the end."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..killed import ControllerKilled
from .swaplab import NEW, OLD, Killer, SwapLab

MOST_RUNS = 60  # of one history


@dataclass
class SweepResult:
    calls: int = 0  # changing ones of a swap without a kill
    kills: int = 0
    different_ends: list[str] = field(default_factory=list)  # one text for each such kill


def killed(lab: SwapLab, image: str, nth: int, late: bool) -> bool:
    """Kill a run at its nth changing call. Returns False if it made fewer calls and ended by itself."""
    with Killer(lab.cloud, nth, late).armed():
        try:
            lab.run(image)
        except ControllerKilled:
            return True
    return False


def kill_every_run(lab: SwapLab, late: bool) -> int:
    """Kill each run after its first change (``late``) or before its second. Returns the number of killed runs."""
    for kills in range(MOST_RUNS):
        if not killed(lab, NEW, 1 if late else 2, late):
            return kills
    raise AssertionError(f"{MOST_RUNS} runs were not enough: {lab.lines[-10:]}")


def sweep(lab: SwapLab, boundaries: list[tuple[int, bool]]) -> SweepResult:
    """Swap to and fro between two images. Each swap is killed at one boundary and run again."""
    swept, images = SweepResult(), [NEW, OLD]
    lab.run(NEW)
    lab.forget()
    lab.run(OLD)  # the first run also sets the deregistration delay
    swept.calls = lab.cloud.count(changing=True)
    lab.assert_settled(OLD)
    for nth, late in boundaries or [(nth, late) for nth in range(1, swept.calls + 1) for late in (False, True)]:
        image = images[swept.kills % 2]
        lab.forget()
        assert killed(lab, image, nth, late), f"there is no change number {nth}"
        swept.kills += 1
        try:
            lab.finish(image)
        except Exception as error:  # the table counts it, and the next swap begins where this one ended
            swept.different_ends.append(
                f"{'after' if late else 'before'} change {nth}: {type(error).__name__}: {error}\n"
                + "\n".join(lab.lines[-40:])
            )
            return swept
    return swept
