# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where hosts on EC2 report their evidence: on their consoles, or in the bucket. See ``_providers/seal_evidence``.

EC2 keeps the newest 64 KB of a console. It does not show that an instance was rebooted: its launch time stays.

A replaced root volume is another boot: see ``replaced_root``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ..._aws.clients import Clients
from ..._store.base import Store
from .. import tags as tag_names
from ..contract import Evidence
from ..seal_evidence import Boot, EvidenceRecord, Reported, instance_of_boot
from .consoles import Consoles
from .describe import BUCKET, boot_of, evidence_source, nonce_of, reports_evidence
from .evidence_bucket import EvidenceBucket
from .replaced_root import boot_suffix, replaced_root
from .tags import from_aws


class SealEvidence:
    """Raises ProviderError, StoreError.

    Args:
        bucket: where hosts put evidence, None if the store is not in S3.
    """

    def __init__(self, clients: Clients, store: Store, bucket: EvidenceBucket | None = None) -> None:
        self._consoles = Consoles(clients)
        self._bucket = bucket
        self._kept = EvidenceRecord(store)
        self._unreachable: list[str] = []  # a line if hosts put evidence into a bucket that is not the store

    @property
    def warnings(self) -> list[str]:
        """A line for each host whose evidence could not be read or is not believed."""
        return [*self._consoles.warnings, *(self._bucket.warnings if self._bucket else self._unreachable)]

    def evidence(self, fleet: str, described: Sequence[Mapping[str, Any]]) -> Mapping[str, Evidence]:
        """By boot, the evidence of all instances that have sealed themselves. Looks for what is due.

        Args:
            described: the fleet's instances as EC2 describes them.
        """
        boots = {boot_of(one): _boot(one) for one in described if reports_evidence(one)}
        return self._kept.evidence(fleet, boots, self._read)

    def prove_again(self) -> None:
        """Let the next look at each fleet read the evidence of all its hosts, which may have been rebooted."""
        self._kept.prove_again()

    def console(self, instance_id: str) -> str:
        """The console's newest lines, or what EC2 has of it. Raises ProviderError."""
        return self._consoles.text(instance_id)

    def forget(self, described: Sequence[Mapping[str, Any]]) -> None:
        """Remove what these instances, which end for good, put into the bucket."""
        putting = [instance for instance in described if evidence_source(instance) == BUCKET]
        if putting and self._bucket:
            self._bucket.remove(putting)

    def _read(
        self, boots: Mapping[str, Boot], known: Mapping[str, Reported]
    ) -> tuple[Mapping[str, Reported], Collection[str]]:
        """See ``ReadEvidence``."""
        due = {boot: one.described for boot, one in boots.items()}
        putting = {boot: instance for boot, instance in due.items() if evidence_source(instance) == BUCKET}
        read: dict[str, Reported] = {}
        if putting and self._bucket:
            kept: dict[str, set[str]] = {}
            for boot, found in known.items():
                kept.setdefault(instance_of_boot(boot), set()).add(found.version)
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


def _boot(described: Mapping[str, Any]) -> Boot:
    return Boot(nonce_of(described), float(described["LaunchTime"].timestamp()), described)


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
        each.evidence
        for boot, each in known.items()
        if instance_of_boot(boot) == instance_id and not boot.endswith(suffix)
    ]
    return found in earlier and bool(found.host_key or found.digest != expected)
