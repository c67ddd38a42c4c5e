# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs the cases. All figures except ``cpu`` come from a virtual clock, so they are the same on every machine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .cases import COUNTED, WAVES, Case
from .lab import CLOUD, NEW, OLD, Lab, RunCost, request

MOST_TIME = 1.10  # of a swap, times its bound
SPREAD = 0.2  # share by which latencies vary
MOST_CALLS_PER_INSTANCE = 4  # changing ones, if latencies vary
MOST_WORK = (
    20.0  # of the controller at ten times the size, times that at the smaller size; quadratic growth would be 100
)


@dataclass(frozen=True)
class Measured:
    """What a case took."""

    case: Case
    swap: RunCost
    rerun: RunCost  # of the same request

    @property
    def name(self) -> str:
        return f"{self.case.name}, {self.case.size:,}"

    @property
    def bound(self) -> float:
        return self.case.bound.seconds(CLOUD, self.case.waves)

    @property
    def over(self) -> float:
        """By which share of the bound the swap took longer."""
        return self.swap.seconds / self.bound - 1

    @property
    def calls(self) -> float:
        """Changing calls per wave, or per volume."""
        return self.swap.calls.total() / (self.case.volumes or self.case.waves)

    @property
    def observations(self) -> int:
        return self.swap.reads["instances"]


def measure(case: Case) -> Measured:
    return _measure(case, Lab(forgets_drained=case.forgets_drained))


def measure_spread(size: int) -> Measured:
    """A rolling swap in which no two instances take the same time."""
    surge = size // WAVES
    case = Case(
        f"rolling, latencies vary by {SPREAD:.0%}",
        size,
        COUNTED,
        most_calls=MOST_CALLS_PER_INSTANCE * surge,
        intent={"surge": surge},
    )
    return _measure(case, Lab(spread=SPREAD))


def _measure(case: Case, lab: Lab) -> Measured:
    changes = dict(case.intent)
    data = bool(changes.pop("data", False))
    lab.measure(request(OLD, case.size, data))
    swap = request(NEW, case.size, data, **changes)
    return Measured(case, swap=lab.measure(swap), rerun=lab.measure(swap))


def missed(measured: Sequence[Measured]) -> list[str]:
    """The missed goals, one line each."""
    return [line for one in measured for line in _missed(one)] + _missed_constancy(measured)


def missed_work(measured: Sequence[Measured]) -> list[str]:
    """The missed goals for the work of the controller, which depend on the machine."""
    return [
        f"{name}: the controller works {times:.1f} times as long for ten times the instances, more than {MOST_WORK:g}"
        for name, times in growth(measured)
        if times > MOST_WORK
    ]


def growth(measured: Sequence[Measured]) -> list[tuple[str, float]]:
    """By case: the controller's work for ten times the instances in as many waves, as a multiple of the smaller one."""
    work = {(one.case.name, one.case.size): (one.case.waves, one.swap.cpu) for one in measured}
    pairs = [
        (name, small, work[name, 10 * size])
        for (name, size), small in work.items()
        if size >= 100 and (name, 10 * size) in work
    ]
    return [
        (name, large_cpu / small_cpu)
        for name, (small_waves, small_cpu), (large_waves, large_cpu) in pairs
        if small_waves == large_waves
    ]


def missed_calls(measured: Sequence[Measured]) -> list[str]:
    """All missed goals except those for time: a bound of mean latencies does not hold if latencies vary."""
    return [line for one in measured for line in (*_missed_result(one), *_missed_calls(one))]


def _missed(one: Measured) -> Iterable[str]:
    yield from _missed_result(one)
    if one.swap.seconds > MOST_TIME * one.bound:
        yield f"{one.name}: {one.swap.seconds:.1f} s, more than {MOST_TIME:g} times the bound of {one.bound:.1f} s"
    yield from _missed_calls(one)


def _missed_result(one: Measured) -> Iterable[str]:
    result = one.swap.result
    completed = all(instance["serving"] and not instance["outdated"] for instance in result["instances"])
    if result["image"] != NEW or not completed:
        yield f"{one.name}: the swap did not end with the new image everywhere"


def _missed_calls(one: Measured) -> Iterable[str]:
    rerun, most = one.rerun, one.case.most_calls
    if one.calls > most:
        unit = "volume" if one.case.volumes else "wave"
        yield f"{one.name}: {one.calls:g} mutating calls per {unit}, more than {most}"
    # An observation before an action makes up the probes that observations during a wait skipped.
    bounds = {"probe": 2 * one.observations}
    if any(count > bounds.get(kind, one.observations) for kind, count in one.swap.reads.items()):
        yield f"{one.name}: more than one read of a kind in an observation: {dict(one.swap.reads)}"
    if rerun.calls or rerun.writes or rerun.result["changed"] or rerun.seconds:
        calls = rerun.calls.total()
        yield f"{one.name}: a run after success made {calls} mutating calls and {rerun.writes} writes to the store"
    if max(rerun.reads.values()) > 1:
        yield f"{one.name}: a run after success read more than once: {dict(rerun.reads)}"


def _missed_constancy(measured: Sequence[Measured]) -> list[str]:
    """The number of observations must depend on the waves and not on the size.

    Cases with volumes are left out. There, each volume needs calls of its own, so the instances are ready at different
    times, and the number of observations differs.
    """
    observations: dict[tuple[str, int], set[int]] = {}
    for one in measured:
        if not one.case.volumes:
            observations.setdefault((one.case.name, one.case.waves), set()).add(one.observations)
    return [
        f"{name}: the same number of waves took {sorted(counts)} observations, by size"
        for (name, _waves), counts in observations.items()
        if len(counts) > 1
    ]
