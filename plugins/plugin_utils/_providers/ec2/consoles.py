# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What hosts on EC2 said on their consoles when they sealed themselves.

A console is a call per instance, so it is read only until it has told, and the longer that takes the seldomer. What was read is kept in the store,
one document for each fleet. Where that is lost the consoles are read again, and those of long ago may no longer tell: EC2 keeps their newest 64 KB.
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
from ..contract import Evidence
from ..evidence import parse_evidence
from .describe import boot_of, reads_console
from .pace import cloud_pace

SHORTEST = 1.0  # seconds between two readings
MOST_AT_ONCE = 8
KEPT = 86400.0  # seconds
TRIES = 5  # of a write that another run came before
OLD_KIND = (
    "UnsupportedOperation",
    "InvalidParameterCombination",
)  # AWS's codes where only the console of some time ago is to be had


class Consoles:
    def __init__(self, clients: Clients, store: Store) -> None:
        self._clients = clients
        self._store = store
        self._known: dict[str, dict[str, Evidence]] = {}  # by fleet, then by boot
        self._read: dict[
            str, tuple[float, float]
        ] = {}  # by boot: when for the first time, and when for the last (monotonic)

    def evidence(self, fleet: str, described: Sequence[Mapping[str, Any]]) -> Mapping[str, Evidence]:
        """By boot, of all instances that told it so far. Reads the consoles that are due."""
        asked = {boot_of(each): each for each in described if reads_console(each)}
        known = self._remembered(fleet) if asked else {}
        due = [boot for boot in asked if boot not in known and self._due(boot)]
        if due:
            with ThreadPoolExecutor(max_workers=min(MOST_AT_ONCE, len(due))) as pool:
                found = dict(zip(due, pool.map(lambda boot: self._told(asked[boot]), due), strict=True))
            new = {boot: each for boot, each in found.items() if each}
            if new:
                known.update(new)
                self._remember(fleet, new, asked)
        return known

    def text(self, instance_id: str) -> str:
        """The console's newest lines, or what EC2 has of it. Raises ProviderError."""
        return str(self._output(instance_id).get("Output", ""))

    def _told(self, described: Mapping[str, Any]) -> Evidence | None:
        """A console that was written before this boot tells of an earlier one."""
        now = time.monotonic()
        self._read[boot_of(described)] = (self._read.get(boot_of(described), (now, now))[0], now)
        try:
            said = self._output(described["InstanceId"])
        except ProviderError as error:
            if error.code == "InvalidInstanceID.NotFound":  # it ended just now
                return None
            raise
        if "Timestamp" in said and int(said["Timestamp"].timestamp()) < int(described["LaunchTime"].timestamp()):
            return None
        return parse_evidence(said.get("Output", ""))

    def _output(self, instance_id: str) -> Mapping[str, Any]:
        try:
            with aws_errors(doing=f"reading the console of {instance_id}"):
                return dict(self._clients.ec2.get_console_output(InstanceId=instance_id, Latest=True))
        except ProviderError as error:
            if error.code not in OLD_KIND:
                raise
        with aws_errors(doing=f"reading the console of {instance_id}"):
            return dict(self._clients.ec2.get_console_output(InstanceId=instance_id))

    def _due(self, boot: str) -> bool:
        if boot not in self._read:
            return True
        first, last = self._read[boot]
        return time.monotonic() - last >= max(SHORTEST, cloud_pace(last - first))

    def _remembered(self, fleet: str) -> dict[str, Evidence]:
        if fleet not in self._known:
            present = self._store.read(_key(fleet))
            self._known[fleet] = (
                {boot: Evidence(**said["said"]) for boot, said in present[0].items()} if present else {}
            )
        return self._known[fleet]

    def _remember(self, fleet: str, new: Mapping[str, Evidence], present: Collection[str]) -> None:
        """Add to what this and other runs know. A console holds only its newest lines, so what was read once may be read never again.

        ``present``: the boots of this look. One that is not among them may only be late, so it is forgotten no sooner than ``KEPT`` later.
        """
        now = time.time()
        for _attempt in range(TRIES):
            found = self._store.read(_key(fleet))
            kept = {
                boot: said
                for boot, said in (found[0] if found else {}).items()
                if boot in present or now - said["at"] < KEPT
            }
            added = {boot: {"at": now, "said": asdict(said)} for boot, said in new.items()}
            try:
                self._store.write(_key(fleet), {**kept, **added}, expect=found[1] if found else ABSENT)
                return
            except ConflictError:
                continue  # another run read consoles too
        raise ConflictError(f"the evidence of {fleet} is being changed by others all the time; run again")


def _key(fleet: str) -> str:
    return f"evidence/{fleet}.json"
