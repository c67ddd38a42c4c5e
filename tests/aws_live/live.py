# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The account under test, and what a check made there."""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import boto3
from botocore.exceptions import BotoCoreError, ClientError

MARK = "immutable-live"  # the tag of everything that is made; its value names the run
PATIENCE = 300.0  # seconds for a state
POLL = 2.0
NOTHING = ""

Undo = Callable[[], object]
Answer = TypeVar("Answer")


@dataclass
class Live:
    """An account, and where checks may act in it.

    Attributes:
        bucket: an existing bucket; objects are made below the prefix ``immutable-live/``.
        subnet: where the one instance is launched.
        ami: what it is launched from.
        instance_type: of the instance.
        account: ID of another account, with which nothing becomes shared.
        profile: an instance profile that may put evidence below that prefix.
        certificates: a PEM file with those of the region by which AWS signs identity documents.
        poll: seconds between two looks at a state.
    """

    region: str
    bucket: str = ""
    subnet: str = ""
    ami: str = ""
    instance_type: str = "t3.nano"
    account: str = ""
    profile: str = ""
    certificates: str = ""
    poll: float = POLL
    run: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    _undo: list[Undo] = field(default_factory=list)

    def client(self, service: str) -> Any:
        """A client of boto3, which takes its credentials and endpoints from the standard configuration."""
        return boto3.client(service, region_name=self.region)

    def tags(self, kind: str) -> list[dict[str, Any]]:
        """The tags of a new resource, as EC2 takes them in the creating call."""
        return [{"ResourceType": kind, "Tags": [{"Key": MARK, "Value": self.run}]}]

    def afterwards(self, undo: Undo) -> None:
        """Let ``undo`` run at the end of the check, the last one first."""
        self._undo.append(undo)

    @contextmanager
    def cleaning(self) -> Iterator[None]:
        """Remove at the end what was made meanwhile, also after an error or an interrupt."""
        try:
            yield
        finally:
            while self._undo:
                undo = self._undo.pop()
                try:
                    undo()
                except (BotoCoreError, ClientError) as error:
                    print(f"  not removed, look for the tag {MARK}={self.run}: {error}", file=sys.stderr)

    def wait(self, waiter: str, filters: Mapping[str, str]) -> None:
        """Wait with a waiter of boto3 for what the filters select. Raises WaiterError after ``PATIENCE``."""
        chosen = [{"Name": name, "Values": [value]} for name, value in filters.items()]
        often = {"Delay": self.poll, "MaxAttempts": int(PATIENCE / self.poll)}
        self.client("ec2").get_waiter(waiter).wait(Filters=chosen, WaiterConfig=often)

    def until(self, done: Callable[[Answer], object], ask: Callable[[], Answer]) -> Answer:
        """Ask again and again until the answer is done. Returns the last answer, after ``PATIENCE`` whatever it is."""
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = ask()
            if done(answer) or time.monotonic() > deadline:
                return answer
            time.sleep(self.poll)


def refused(call: Callable[..., Any], code: str, **parameters: Any) -> str:
    """Return "" if AWS refuses the call with this code, else what it did."""
    try:
        call(**parameters)
    except ClientError as error:
        found = error.response["Error"]["Code"]
        return NOTHING if found == code else f"refused with {found}, expected {code}: {error}"
    return f"accepted, expected {code}"


def equal(what: str, found: object, expected: object) -> str:
    """Return "" for what is expected, else a sentence."""
    return NOTHING if found == expected else f"{what} is {found!r}, expected {expected!r}"
