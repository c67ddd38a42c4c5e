# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Kill the controller around the changing calls of a swap in a cloud, run it again and compare the end."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from .killed import ControllerKilled

OLD, NEW = "sha256:01d", "sha256:2ed"  # the images of a lab
MOST_RUNS = 60  # of one history


class Lab(Protocol):
    """A fleet in a cloud, with a new controller for each run."""

    lines: list[str]  # what the runs reported

    def run(self, image: str = NEW) -> dict[str, Any]:
        """One run. Raises what the engine raises."""

    def killer(self, nth: int, late: bool) -> AbstractContextManager[object]:
        """Raise ControllerKilled at the nth changing call, before it is sent or (``late``) after its effect."""

    def count_changes(self) -> int:
        """Changing calls since the last ``forget``."""

    def forget(self) -> None:
        """Clear what was recorded, and end all faults."""

    def finish(self, image: str = NEW) -> None:
        """Run without faults, and assert that the fleet is settled on the image."""

    def assert_settled(self, image: str = NEW) -> None:
        """Assert that only this image runs, that no promise was broken, and that another run changes nothing."""


@dataclass
class SweepResult:
    calls: int = 0  # changing ones of a swap without a kill
    kills: int = 0
    different_ends: list[str] = field(default_factory=list)  # one text for each such kill


def killed(lab: Lab, image: str, nth: int, late: bool) -> bool:
    """Kill a run at its nth changing call. Returns False if it made fewer calls and ended by itself."""
    with lab.killer(nth, late):
        try:
            lab.run(image)
        except ControllerKilled:
            return True
    return False


def kill_every_run(lab: Lab, late: bool) -> int:
    """Kill each run after its first change (``late``) or before its second. Returns the number of killed runs."""
    for kills in range(MOST_RUNS):
        if not killed(lab, NEW, 1 if late else 2, late):
            return kills
    raise AssertionError(f"{MOST_RUNS} runs were not enough: {lab.lines[-10:]}")


def sweep(
    lab: Lab, boundaries: list[tuple[int, bool]], most: int = 0, images: tuple[str, str] = (OLD, NEW)
) -> SweepResult:
    """Swap to and fro between two images. Each swap is killed at one boundary and run again.

    The first swap counts the changing calls, and no run is killed.

    Args:
        boundaries: numbers of changing calls, and whether the kill is after the call. All, if there are none.
        most: kills at most so many of all, evenly spread over the swap; 0 for no limit.
        images: what the killed swaps go to in turn. The fleet runs the first one, and goes to the second one first.
    """
    swept = SweepResult()
    lab.forget()
    lab.run(images[1])
    swept.calls = lab.count_changes()
    lab.assert_settled(images[1])
    every = boundaries or [(nth, late) for nth in range(1, swept.calls + 1) for late in (False, True)]
    for nth, late in spread(every, most) if most else every:
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


def spread(boundaries: list[tuple[int, bool]], most: int) -> list[tuple[int, bool]]:
    """As many of the boundaries, evenly spread: the first and the last one, and those between."""
    last, count = len(boundaries) - 1, min(most, len(boundaries))
    return [boundaries[round(number * last / max(1, count - 1))] for number in range(count)]
