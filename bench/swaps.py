# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run the cases. All figures here but ``cpu`` are of a virtual clock, and the same on every machine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .cases import COUNTED, WAVES, Case
from .lab import CLOUD, NEW, OLD, Lab, RunCost, request

SLOWER = 1.10  # times the bound that a swap may take
SPREAD = 0.2  # share by which latencies vary
EACH = 4  # changing calls for an instance, at most, where no two take the same time
CPU = 20.0  # times the work of the controller, at ten times the size; quadratic would be 100


@dataclass(frozen=True)
class Measured:
    case: Case
    swap: RunCost
    quiet: RunCost  # the same request once more

    @property
    def name(self) -> str:
        return f"{self.case.name}, {self.case.size:,}"

    @property
    def bound(self) -> float:
        return self.case.formula.seconds(CLOUD, self.case.waves)

    @property
    def over(self) -> float:
        """Share of the bound."""
        return self.swap.seconds / self.bound - 1

    @property
    def calls(self) -> float:
        """Changing calls, in a wave or for a volume."""
        return self.swap.calls.total() / (self.case.volumes or self.case.waves)

    @property
    def looks(self) -> int:
        return self.swap.reads["instances"]


def measure(case: Case) -> Measured:
    return _measure(case, Lab(forgets_drained=case.forgets_drained))


def measure_spread(size: int) -> Measured:
    """A rolling swap in which no two instances take the same time."""
    case = Case(
        f"rolling, latencies vary by {SPREAD:.0%}", size, COUNTED, EACH * size // WAVES, {"surge": size // WAVES}
    )
    return _measure(case, Lab(spread=SPREAD))


def _measure(case: Case, lab: Lab) -> Measured:
    changes = dict(case.intent)
    data = bool(changes.pop("data", False))
    lab.measure(request(OLD, case.size, data))
    asked = request(NEW, case.size, data, **changes)
    return Measured(case, lab.measure(asked), lab.measure(asked))


def missed(found: Sequence[Measured]) -> list[str]:
    """The goals that were missed, one line each."""
    return [line for each in found for line in _missed(each)] + _uneven(found)


def missed_work(found: Sequence[Measured]) -> list[str]:
    """The missed goals that depend on the machine: the work of the controller, from one size to the next."""
    worse = [(name, times) for name, times in growth(found) if times > CPU]
    return [
        f"{name}: the controller works {times:.1f} times as long for ten times the instances, more than {CPU:g}"
        for name, times in worse
    ]


def growth(found: Sequence[Measured]) -> list[tuple[str, float]]:
    """By name of the case: how many times as long the controller works for 1,000 instances as for 100, in as many waves."""
    work = {(each.case.name, each.case.size): (each.case.waves, each.swap.cpu) for each in found}
    pairs = [
        (name, spent, work[name, 10 * size])
        for (name, size), spent in work.items()
        if size >= 100 and (name, 10 * size) in work
    ]
    return [(name, more / less) for name, (few, less), (many, more) in pairs if few == many]


def missed_calls(found: Sequence[Measured]) -> list[str]:
    """All goals but that of time: a bound of means binds nobody whose latencies vary."""
    return [line for each in found for line in (*_wrong(each), *_noisy(each))]


def _missed(each: Measured) -> Iterable[str]:
    yield from _wrong(each)
    if each.swap.seconds > SLOWER * each.bound:
        yield f"{each.name}: {each.swap.seconds:.1f} s, more than {SLOWER:g} times the bound of {each.bound:.1f} s"
    yield from _noisy(each)


def _wrong(each: Measured) -> Iterable[str]:
    result = each.swap.result
    if result["image"] != NEW or not all(one["serving"] and not one["outdated"] for one in result["instances"]):
        yield f"{each.name}: the swap did not end with the new image everywhere"


def _noisy(each: Measured) -> Iterable[str]:
    quiet = each.quiet
    if each.calls > each.case.most_calls:
        yield f"{each.name}: {each.calls:g} mutating calls per {'volume' if each.case.volumes else 'wave'}, more than {each.case.most_calls}"
    # A look that is to be acted on probes those that a look while waiting spared: the provider is not asked again for that.
    bounds = {"probe": 2 * each.looks}
    if any(count > bounds.get(kind, each.looks) for kind, count in each.swap.reads.items()):
        yield f"{each.name}: more than one read of a kind in a look: {dict(each.swap.reads)}"
    if quiet.calls or quiet.writes or quiet.result["changed"] or quiet.seconds:
        yield f"{each.name}: a run after success made {quiet.calls.total()} mutating calls and {quiet.writes} writes to the store"
    if max(quiet.reads.values()) > 1:
        yield f"{each.name}: a run after success read more than once: {dict(quiet.reads)}"


def _uneven(found: Sequence[Measured]) -> list[str]:
    """A swap of as many waves looks as often, whatever its size. Calls for single volumes are left out: hosts then differ, as do looks."""
    looks: dict[tuple[str, int], set[int]] = {}
    for each in found:
        if not each.case.volumes:
            looks.setdefault((each.case.name, each.case.waves), set()).add(each.looks)
    return [
        f"{name}: as many waves took {sorted(counts)} looks, by size"
        for (name, _waves), counts in looks.items()
        if len(counts) > 1
    ]
