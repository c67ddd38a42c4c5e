# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The evidence of all hosts of a fleet in a cloud, where each look at a console or an object costs a call.

Evidence is read once for each boot: for the first time when a seal is due by what earlier boots took, then at
increasing intervals until it is there. The store keeps what was read, one document for each fleet. If that document is
lost, everything is read again, but a console may no longer contain the evidence.

A cloud may not show that an instance was rebooted. The host has then sealed itself again, with another host key, and
reported that in the same place. ``prove_again`` looks there once more.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from .._core.errors import ConflictError
from .._store.base import ABSENT, Store
from .cloud_pace import cloud_pace
from .contract import Evidence
from .evidence import checked_evidence

SHORTEST_WAIT = 1.0  # seconds between two looks for the evidence of one boot
EARLIER = 0.95  # of the time at which a first look found evidence: where the next first look is
MAX_TIME = 3600.0  # seconds; a longer boot says nothing about others
KEEP_SECONDS = 86400.0
WRITE_TRIES = 5  # when other runs write the document at the same time


@dataclass(frozen=True)
class Boot:
    """One boot of one instance that reports evidence, and can have done so by now."""

    nonce: str  # of its launch
    began: float  # when, by the cloud's clock
    described: Mapping[str, Any]  # the instance as the cloud describes it


@dataclass(frozen=True)
class Reported:
    """Evidence that was read."""

    evidence: Evidence
    version: str = ""  # of the object that it was in; a console has none
    # Seconds from the first observation of the boot until it was there, at most; 0 if it was there at once.
    after: float = field(default=0.0, compare=False)


# Reads what is due, by boot. Second argument: the evidence that is known. Returns what was found, by boot, and the
# boots that have begun again since they were last looked at.
ReadEvidence = Callable[[Mapping[str, Boot], Mapping[str, Reported]], tuple[Mapping[str, Reported], Collection[str]]]


class EvidenceRecord:
    """Raises ProviderError, StoreError. Boots have texts as identities: ``<instance id>@...``."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: dict[str, dict[str, Reported]] = {}  # by fleet, then by boot; a console has no versions
        self._unproven: dict[str, Evidence] = {}  # by boot, evidence of another launch: it is looked for again
        self._seen: dict[str, float] = {}  # by boot: when it was first observed here (monotonic)
        self._looks: dict[str, float] = {}  # by boot: when it was last looked for (monotonic)
        self._again: set[str] | None = None  # the boots that were looked at again; None if that was not requested

    def evidence(self, fleet: str, boots: Mapping[str, Boot], read_due: ReadEvidence) -> Mapping[str, Evidence]:
        """By boot, the evidence of all instances that have sealed themselves. Looks for what is due."""
        known = self._load(fleet) if boots else {}
        now, usual = time.monotonic(), _usual_time(known.values())
        for boot in boots:
            self._seen.setdefault(boot, now)
        due = {
            boot: one
            for boot, one in boots.items()
            if (self._due(boot, one, usual) if boot not in known else self._asked_again(boot))
        }
        if due:
            first = {boot for boot in due if boot not in self._looks}
            self._looks.update(dict.fromkeys(due, now))
            read, rebooted = read_due(due, known)
            self._unproven.update({boot: found.evidence for boot, found in read.items()})
            new = {
                boot: replace(found, after=(now - self._seen[boot]) * (EARLIER if boot in first else 1.0))
                for boot, found in read.items()
                if found.evidence.nonce == due[boot].nonce
            }
            lost = {boot for boot in rebooted if boot in known and boot not in new}
            changed = {boot: found for boot, found in new.items() if known.get(boot) != found}
            known.update(changed)
            for boot in lost:
                del known[boot]
            if changed or lost:
                self._save(fleet, changed, boots, lost)
        return {
            **{boot: self._unproven[boot] for boot in boots if boot in self._unproven},
            **{boot: found.evidence for boot, found in known.items()},
        }

    def prove_again(self) -> None:
        """Let the next look at each fleet read the evidence of all its hosts, which may have been rebooted."""
        self._again = set()

    def _asked_again(self, boot: str) -> bool:
        if self._again is None or boot in self._again:
            return False
        self._again.add(boot)
        return True

    def _due(self, boot: str, one: Boot, usual: float) -> bool:
        if boot not in self._looks:
            # By either clock: that of the controller may be wrong, or this run may have come late.
            return max(time.time() - one.began, time.monotonic() - self._seen[boot]) >= usual
        last = self._looks[boot]
        return time.monotonic() - last >= max(SHORTEST_WAIT, cloud_pace(last - self._seen[boot]))

    def _load(self, fleet: str) -> dict[str, Reported]:
        if fleet not in self._kept:
            document = self._store.read(_key(fleet))
            read = {boot: _said(entry) for boot, entry in document[0].items()} if document else {}
            self._kept[fleet] = {boot: found for boot, found in read.items() if found}
        return self._kept[fleet]

    def _save(
        self, fleet: str, new: Mapping[str, Reported], present: Collection[str], lost: Collection[str] = ()
    ) -> None:
        """Add evidence to the document, which other runs read and write, too, and remove that of ``lost`` boots.

        A console keeps only its newest lines, so evidence that was read once may never be readable again. Boots of an
        instance whose root was replaced have a slash, and all of them are kept.

        Args:
            present: the boots of this observation. A boot that is missing may only be late, so it is kept for at least
                ``KEEP_SECONDS``.
        """
        now, reimaged = time.time(), {instance_of_boot(boot) for boot in present if "/" in boot}
        for _attempt in range(WRITE_TRIES):
            document = self._store.read(_key(fleet))
            kept = {
                boot: entry
                for boot, entry in (document[0] if document else {}).items()
                if _said(entry)
                and boot not in lost
                and (boot in present or instance_of_boot(boot) in reimaged or now - entry["at"] < KEEP_SECONDS)
            }
            added = {boot: _entry(found, now) for boot, found in new.items()}
            try:
                self._store.write(_key(fleet), {**kept, **added}, expect=document[1] if document else ABSENT)
                return
            except ConflictError:
                continue  # another run wrote it
        raise ConflictError(f"other runs keep changing the evidence of {fleet}; run again")


def instance_of_boot(boot: str) -> str:
    """The instance's id."""
    return boot.partition("@")[0]


def _usual_time(known: Iterable[Reported]) -> float:
    """Seconds from the first observation of a boot until its evidence is there; 0 if that is not known."""
    times = [found.after for found in known if found.after]
    return statistics.median(times) if times else 0.0


def _entry(found: Reported, now: float) -> dict[str, Any]:
    """The entry of the document. ``object`` is the version of the object that the evidence was in."""
    return {
        "at": now,
        "said": asdict(found.evidence),
        **({"object": found.version} if found.version else {}),
        **({"after": round(found.after, 1)} if found.after else {}),
    }


def _said(entry: Any) -> Reported | None:
    """The evidence in an entry of the document. A damaged entry is ignored, so that it is read again."""
    if not isinstance(entry, dict) or not isinstance(entry.get("at"), (int, float)):
        return None
    said, version, after = entry.get("said"), entry.get("object"), entry.get("after")
    evidence = checked_evidence(said) if isinstance(said, dict) else None
    if evidence is None:
        return None
    return Reported(
        evidence,
        version if isinstance(version, str) else "",
        float(after) if isinstance(after, (int, float)) and 0 < after < MAX_TIME else 0.0,
    )


def _key(fleet: str) -> str:
    return f"evidence/{fleet}.json"
