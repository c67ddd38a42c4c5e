# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The evidence that hosts on EC2 printed on their consoles when they sealed themselves.

Reading a console is one call for each instance. So a console is read only until it contains the evidence, at increasing
intervals. The store keeps what was read, one document for each fleet. If that document is lost, the consoles are read
again, but consoles of old boots may no longer contain the evidence: EC2 keeps their newest 64 KB.

EC2 does not show that an instance was rebooted: its launch time stays. The host has then sealed itself again, with
another host key, and printed that on the same console. ``prove_again`` reads every console once more for that.

A replaced root volume is another boot: see ``replaced_root``.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

from ..._aws.clients import Clients, aws_errors
from ..._core.errors import ConflictError, ProviderError
from ..._store.base import ABSENT, Store
from .. import tags as tag_names
from ..contract import Evidence
from ..evidence import checked_evidence, last_boot, parse_evidence
from .describe import boot_of, reads_console
from .pace import cloud_pace
from .replaced_root import boot_suffix, replaced_root
from .tags import from_aws

SHORTEST_WAIT = 1.0  # seconds between two reads of one console
MAX_THREADS = 8
KEEP_SECONDS = 86400.0
WRITE_TRIES = 5  # when other runs write the document at the same time
# AWS's codes for instance types whose latest console output cannot be read.
NO_LATEST_OUTPUT = ("UnsupportedOperation", "InvalidParameterCombination")


class Consoles:
    """Raises ProviderError, StoreError."""

    def __init__(self, clients: Clients, store: Store) -> None:
        self._clients = clients
        self._store = store
        self.warnings: list[str] = []  # a line for each console that could not be read
        self._evidence: dict[str, dict[str, Evidence]] = {}  # by fleet, then by boot
        self._unproven: dict[str, Evidence] = {}  # by boot, evidence of another launch: a console is read again for it
        self._reads: dict[str, tuple[float, float]] = {}  # by boot: times of the first and the last read (monotonic)
        self._again: set[str] | None = None  # the boots that were read once more; None if that was not requested

    def evidence(self, fleet: str, described: Sequence[Mapping[str, Any]]) -> Mapping[str, Evidence]:
        """By boot, the evidence of all instances that have sealed themselves. Reads the consoles that are due.

        Args:
            described: the fleet's instances as EC2 describes them.
        """
        boots = {boot_of(instance): instance for instance in described if reads_console(instance)}
        known = self._load(fleet) if boots else {}
        due = [boot for boot in boots if (self._due(boot) if boot not in known else self._asked_again(boot))]
        if due:
            with ThreadPoolExecutor(max_workers=min(MAX_THREADS, len(due))) as pool:
                read = dict(zip(due, pool.map(lambda boot: self._read(boots[boot], known), due), strict=True))
            self._unproven.update({boot: found for boot, (found, _rebooted) in read.items() if found})
            new = {
                boot: found
                for boot, (found, _rebooted) in read.items()
                if found and found.nonce == _nonce_of(boots[boot])
            }
            lost = {boot for boot, (_found, rebooted) in read.items() if rebooted and boot in known and boot not in new}
            changed = {boot: found for boot, found in new.items() if known.get(boot) != found}
            known.update(changed)
            for boot in lost:
                del known[boot]
            if changed or lost:
                self._save(fleet, changed, boots, lost)
        return {**{boot: self._unproven[boot] for boot in boots if boot in self._unproven}, **known}

    def prove_again(self) -> None:
        """Let the next look at each fleet read the consoles of all its hosts, which may have been rebooted."""
        self._again = set()

    def text(self, instance_id: str) -> str:
        """The console's newest lines, or what EC2 has of it. Raises ProviderError."""
        return str(self._output(instance_id).get("Output", ""))

    def _read(self, described: Mapping[str, Any], known: Mapping[str, Evidence]) -> tuple[Evidence | None, bool]:
        """The evidence of the last boot on the console, and whether the console shows the beginning of that boot.

        Output that is older than this start of the instance is ignored, and so is evidence of a root that was replaced
        since. A console that cannot be read is no evidence, and does not keep the others from being read.
        """
        now = time.monotonic()
        boot = boot_of(described)
        self._reads[boot] = (self._reads.get(boot, (now, now))[0], now)
        try:
            output = self._output(described["InstanceId"])
        except ProviderError as error:
            if error.permanent:  # no console can be read
                raise
            if error.code != "InvalidInstanceID.NotFound" and error.message not in self.warnings:  # else it has ended
                self.warnings.append(error.message)
            return None, False
        if "Timestamp" in output and int(output["Timestamp"].timestamp()) < int(described["LaunchTime"].timestamp()):
            return None, False
        text, complete = last_boot(str(output.get("Output", "")))
        found = parse_evidence(text, _nonce_of(described))
        return (None, False) if found and _of_replaced_root(found, described, known) else (found, complete)

    def _output(self, instance_id: str) -> Mapping[str, Any]:
        try:
            with aws_errors(doing=f"reading the console of {instance_id}"):
                return dict(self._clients.ec2.get_console_output(InstanceId=instance_id, Latest=True))
        except ProviderError as error:
            if error.code not in NO_LATEST_OUTPUT:
                raise
        with aws_errors(doing=f"reading the console of {instance_id}"):
            return dict(self._clients.ec2.get_console_output(InstanceId=instance_id))

    def _asked_again(self, boot: str) -> bool:
        if self._again is None or boot in self._again:
            return False
        self._again.add(boot)
        return True

    def _due(self, boot: str) -> bool:
        if boot not in self._reads:
            return True
        first, last = self._reads[boot]
        return time.monotonic() - last >= max(SHORTEST_WAIT, cloud_pace(last - first))

    def _load(self, fleet: str) -> dict[str, Evidence]:
        if fleet not in self._evidence:
            document = self._store.read(_key(fleet))
            read = {boot: _said(entry) for boot, entry in document[0].items()} if document else {}
            self._evidence[fleet] = {boot: evidence for boot, evidence in read.items() if evidence}
        return self._evidence[fleet]

    def _save(
        self, fleet: str, new: Mapping[str, Evidence], present: Collection[str], lost: Collection[str] = ()
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
            added = {boot: {"at": now, "said": asdict(evidence)} for boot, evidence in new.items()}
            try:
                self._store.write(_key(fleet), {**kept, **added}, expect=document[1] if document else ABSENT)
                return
            except ConflictError:
                continue  # another run wrote it
        raise ConflictError(f"other runs keep changing the evidence of {fleet}; run again")


def _nonce_of(described: Mapping[str, Any]) -> str:
    return from_aws(described.get("Tags", ())).get(tag_names.NONCE, "")


def _instance_of(boot: str) -> str:
    return boot.partition("@")[0]


def _of_replaced_root(found: Evidence, described: Mapping[str, Any], known: Mapping[str, Evidence]) -> bool:
    """Whether a line on the console of a reimaged instance is one that an earlier root printed.

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
    earlier = [said for boot, said in known.items() if _instance_of(boot) == instance_id and not boot.endswith(suffix)]
    return found in earlier and bool(found.host_key or found.digest != expected)


def _said(entry: Any) -> Evidence | None:
    """The evidence in an entry of the document. A damaged entry is ignored, so that its console is read again."""
    if not isinstance(entry, dict) or not isinstance(entry.get("at"), (int, float)):
        return None
    said = entry.get("said")
    return checked_evidence(said) if isinstance(said, dict) else None


def _key(fleet: str) -> str:
    return f"evidence/{fleet}.json"
