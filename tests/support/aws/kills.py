# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Kill the controller around the changing calls of a swap on EC2, run it again, and find the same end."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..killed import ControllerKilled
from .swaplab import NEW, OLD, Killer, SwapLab

MOST = 60  # runs that one history may take


@dataclass
class Swept:
    calls: int = 0  # changing ones of a swap that nobody kills
    kills: int = 0
    others: list[str] = field(default_factory=list)  # kills after which the end was another, and how


def killed(lab: SwapLab, image: str, nth: int, late: bool) -> bool:
    """A run that ends at its nth changing call. False where it made fewer and came to its end."""
    with Killer(lab.cloud, nth, late).armed():
        try:
            lab.run(image)
        except ControllerKilled:
            return True
    return False


def one_after_the_other(lab: SwapLab, late: bool) -> int:
    """Each run is killed around its first change (late), or makes one and is killed before its second. Returns how many died."""
    for died in range(MOST):
        if not killed(lab, NEW, 1 if late else 2, late):
            return died
    raise AssertionError(f"{MOST} runs did not reach it: {lab.lines[-10:]}")


def sweep(lab: SwapLab, boundaries: list[tuple[int, bool]]) -> Swept:
    """One swap after the other, to the one image and back to the other, each killed at one boundary and run again."""
    swept, images = Swept(), [NEW, OLD]
    lab.run(NEW)
    lab.forget()
    lab.run(OLD)  # the first one has the deregistration delay to set
    swept.calls = lab.cloud.count(changing=True)
    lab.rest(OLD)
    for nth, late in boundaries or [(nth, late) for nth in range(1, swept.calls + 1) for late in (False, True)]:
        image = images[swept.kills % 2]
        lab.forget()
        assert killed(lab, image, nth, late), f"there is no change number {nth}"
        swept.kills += 1
        try:
            lab.finish(image)
        except Exception as error:  # the table counts them, and the next one begins where this one ended
            swept.others.append(
                f"{'after' if late else 'before'} change {nth}: {type(error).__name__}: {error}\n"
                + "\n".join(lab.lines[-40:])
            )
            return swept
    return swept
