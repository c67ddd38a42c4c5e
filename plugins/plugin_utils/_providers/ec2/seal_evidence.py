# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The evidence of all hosts of a fleet on EC2, read from where each of them reports it: its console or the bucket.

Evidence is read once for each boot: for the first time when a seal is due by what earlier boots took, then at
increasing intervals until it is there. The store keeps what was read, one
document for each fleet. If that document is lost, everything is read again, but a console may no longer contain the
evidence: EC2 keeps its newest 64 KB.

EC2 does not show that an instance was rebooted: its launch time stays. The host has then sealed itself again, with
another host key, and reported that in the same place. ``prove_again`` looks there once more.

A replaced root volume is another boot: see ``replaced_root``.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from ..._aws.clients import Clients
from ..._core.errors import ConflictError
from ..._store.base import ABSENT, Store
from .. import tags as tag_names
from ..contract import Evidence
from ..evidence import checked_evidence
from .consoles import Consoles
from .describe import BUCKET, boot_of, evidence_source, nonce_of, reports_evidence
from .evidence_bucket import EvidenceBucket, Reported
from .pace import cloud_pace
from .replaced_root import boot_suffix, replaced_root
from .tags import from_aws

SHORTEST_WAIT = 1.0  # seconds between two looks for the evidence of one boot
EARLIER = 0.95  # of the time at which a first look found evidence: where the next first look is
MAX_TIME = 3600.0  # seconds; a longer boot says nothing about others
KEEP_SECONDS = 86400.0
WRITE_TRIES = 5  # when other runs write the document at the same time


class SealEvidence:
    """Raises ProviderError, StoreError.

    Args:
        bucket: where hosts put evidence, None if the store is not in S3.
    """

    def __init__(self, clients: Clients, store: Store, bucket: EvidenceBucket | None = None) -> None:
        self._store = store
        self._consoles = Consoles(clients)
        self._bucket = bucket
        self._kept: dict[str, dict[str, Reported]] = {}  # by fleet, then by boot; a console has no versions
        self._unproven: dict[str, Evidence] = {}  # by boot, evidence of another launch: it is looked for again
        self._seen: dict[str, float] = {}  # by boot: when it was first observed here (monotonic)
        self._looks: dict[str, float] = {}  # by boot: when it was last looked for (monotonic)
        self._unreachable: list[str] = []  # a line if hosts put evidence into a bucket that is not the store
        self._again: set[str] | None = None  # the boots that were looked at again; None if that was not requested

    @property
    def warnings(self) -> list[str]:
        """A line for each host whose evidence could not be read or is not believed."""
        return [*self._consoles.warnings, *(self._bucket.warnings if self._bucket else self._unreachable)]

    def evidence(self, fleet: str, described: Sequence[Mapping[str, Any]]) -> Mapping[str, Evidence]:
        """By boot, the evidence of all instances that have sealed themselves. Looks for what is due.

        Args:
            described: the fleet's instances as EC2 describes them.
        """
        boots = {boot_of(instance): instance for instance in described if reports_evidence(instance)}
        known = self._load(fleet) if boots else {}
        now, usual = time.monotonic(), _usual_time(known.values())
        for boot in boots:
            self._seen.setdefault(boot, now)
        due = {
            boot: instance
            for boot, instance in boots.items()
            if (self._due(boot, instance, usual) if boot not in known else self._asked_again(boot))
        }
        if due:
            first = {boot for boot in due if boot not in self._looks}
            self._looks.update(dict.fromkeys(due, now))
            read, rebooted = self._read(due, known)
            self._unproven.update({boot: found.evidence for boot, found in read.items()})
            new = {
                boot: replace(found, after=(now - self._seen[boot]) * (EARLIER if boot in first else 1.0))
                for boot, found in read.items()
                if found.evidence.nonce == nonce_of(due[boot])
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

    def console(self, instance_id: str) -> str:
        """The console's newest lines, or what EC2 has of it. Raises ProviderError."""
        return self._consoles.text(instance_id)

    def forget(self, described: Sequence[Mapping[str, Any]]) -> None:
        """Remove what these instances, which end for good, put into the bucket."""
        putting = [instance for instance in described if evidence_source(instance) == BUCKET]
        if putting and self._bucket:
            self._bucket.remove(putting)

    def _read(
        self, due: Mapping[str, Mapping[str, Any]], known: Mapping[str, Reported]
    ) -> tuple[Mapping[str, Reported], Collection[str]]:
        """What was found, by boot, and the boots that have begun again since they were last looked at."""
        putting = {boot: instance for boot, instance in due.items() if evidence_source(instance) == BUCKET}
        read: dict[str, Reported] = {}
        if putting and self._bucket:
            kept: dict[str, set[str]] = {}
            for boot, found in known.items():
                kept.setdefault(_instance_of(boot), set()).add(found.version)
            read.update(self._bucket.read(putting, kept))
        elif putting:
            self._unreachable = ["hosts put their evidence into a bucket, and this store is not in S3"]
        printing = [boot for boot in due if boot not in putting]
        printed = self._consoles.read([due[boot] for boot in printing]) if printing else {}
        rebooted = []
        for boot, (evidence, complete) in printed.items():
            if evidence:
                read[boot] = Reported(evidence)
            if complete:
                rebooted.append(boot)
        earlier = {boot for boot, found in read.items() if _of_replaced_root(found.evidence, due[boot], known)}
        new = {boot: found for boot, found in read.items() if boot not in earlier}
        return new, [boot for boot in rebooted if boot not in earlier]

    def _asked_again(self, boot: str) -> bool:
        if self._again is None or boot in self._again:
            return False
        self._again.add(boot)
        return True

    def _due(self, boot: str, described: Mapping[str, Any], usual: float) -> bool:
        if boot not in self._looks:
            # By either clock: that of the controller may be wrong, or this run may have come late.
            return max(_age(described), time.monotonic() - self._seen[boot]) >= usual
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

        A console keeps only its newest lines, so evidence that was read once may never be readable again.

        Args:
            present: the boots of this observation. A boot that is missing may only be late, so it is kept for at least
                ``KEEP_SECONDS``.
        """
        now, reimaged = time.time(), {_instance_of(boot) for boot in present if "/" in boot}
        for _attempt in range(WRITE_TRIES):
            document = self._store.read(_key(fleet))
            kept = {
                boot: entry
                for boot, entry in (document[0] if document else {}).items()
                if _said(entry)
                and boot not in lost
                and (boot in present or _instance_of(boot) in reimaged or now - entry["at"] < KEEP_SECONDS)
            }
            added = {boot: _entry(found, now) for boot, found in new.items()}
            try:
                self._store.write(_key(fleet), {**kept, **added}, expect=document[1] if document else ABSENT)
                return
            except ConflictError:
                continue  # another run wrote it
        raise ConflictError(f"other runs keep changing the evidence of {fleet}; run again")


def _instance_of(boot: str) -> str:
    return boot.partition("@")[0]


def _of_replaced_root(found: Evidence, described: Mapping[str, Any], known: Mapping[str, Reported]) -> bool:
    """Whether evidence of a reimaged instance is what an earlier root reported.

    A replacement keeps the nonce, and the console shows the output of both roots. Each boot makes its own host
    key, so a known line is an earlier one. Without SSH there is no key. The same line is then accepted if it is that of
    the image that the instance is to run: EC2 vouches for the root volume.
    """
    suffix = boot_suffix(described)
    if not suffix:
        return False
    tags, instance_id = from_aws(described.get("Tags", ())), described["InstanceId"]
    expected, replaced = tags.get(tag_names.IMAGE, ""), replaced_root(tags, instance_id)
    if replaced and found.digest == replaced.image != expected:
        return True
    earlier = [
        each.evidence for boot, each in known.items() if _instance_of(boot) == instance_id and not boot.endswith(suffix)
    ]
    return found in earlier and bool(found.host_key or found.digest != expected)


def _age(described: Mapping[str, Any]) -> float:
    """Seconds since the present start of the instance."""
    return time.time() - float(described["LaunchTime"].timestamp())


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
