# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Replay AWS without a network: boto3 calls are answered below the code, so no internal name is needed here."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest import mock

from ansible_collections.immutable.infra.tests.unit.golden import adapter, plain
from botocore.client import BaseClient
from botocore.exceptions import ClientError

Answer = Callable[
    [str, dict[str, Any]], Any
]  # (operation such as "ec2:RunInstances", its parameters) -> what boto3 returns
READING = ("Describe", "Get", "List", "Head")


class Stopped(BaseException):
    """Ends a run the way a kill does: no handler of an ordinary error catches it."""


@contextmanager
def answering(answer: Answer) -> Iterator[None]:
    def call(client: Any, operation: str, parameters: dict[str, Any]) -> Any:
        service = client.meta.service_model.service_name
        return answer(f"{service}:{operation}", parameters)

    environment = {
        "AWS_ACCESS_KEY_ID": "golden",
        "AWS_SECRET_ACCESS_KEY": "golden",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    with mock.patch.dict("os.environ", environment), mock.patch.object(BaseClient, "_make_api_call", call):
        yield


@contextmanager
def recording(calls: list[dict[str, Any]]) -> Iterator[None]:
    """Record each call and its answer as plain data."""
    real = BaseClient._make_api_call

    def call(client: Any, operation: str, parameters: dict[str, Any]) -> Any:
        answer = real(client, operation, parameters)
        kept = {name: part for name, part in answer.items() if name != "ResponseMetadata"}
        calls.append(
            {
                "call": f"{client.meta.service_model.service_name}:{operation}",
                "asked": copy.deepcopy(parameters),
                "answer": copy.deepcopy(kept),
            }
        )
        return answer

    with mock.patch.object(BaseClient, "_make_api_call", call):
        yield


def noted(operation: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return a call as plain data, with its user data unpacked.

    New volumes have a tag, and their first hosts' user data a file, that 0.1.0 did not have: both are left out.
    """
    texts = {name: adapter.members_of(value) if name == "UserData" else value for name, value in asked.items()}
    if "UserData" in texts:
        texts["UserData"].pop("blank", None)
    found: dict[str, Any] = plain.plain({"call": operation, "asked": texts})
    for kind in found["asked"].get("TagSpecifications", ()) if operation == "ec2:CreateVolume" else ():
        kind["Tags"] = [tag for tag in kind["Tags"] if tag["Key"] != "immutable:blank"]
    return found


def before(asked: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of a read as 0.1.0 had them: it did not ask for terminated instances."""
    states = [each for each in asked.get("Filters", ()) if each["Name"] == "instance-state-name"]
    for each in states:
        each["Values"] = [state for state in each["Values"] if state != "terminated"]
    return asked


class Account:
    """A recorded account. Changing calls are recorded in ``changing`` and answered from ``changes``."""

    def __init__(self, recorded: list[dict[str, Any]], changes: Mapping[str, Any] | None = None) -> None:
        self.changing: list[dict[str, Any]] = []
        self.unknown: list[dict[str, Any]] = []  # reads whose parameters differ from the recorded ones
        self._recorded = recorded
        self._changes = changes or {}

    def __call__(self, operation: str, asked: dict[str, Any]) -> Any:
        if not operation.partition(":")[2].startswith(READING):
            self.changing.append(noted(operation, asked))
            answer = self._changes[operation]
            if answer is Stopped:
                raise Stopped
            return copy.deepcopy(answer(asked) if callable(answer) else answer)
        alike = [each for each in self._recorded if each["call"] == operation]
        exactly = [each for each in alike if each["asked"] == before(plain.plain(asked))]
        if not exactly:
            self.unknown.append({"call": operation, "asked": plain.plain(asked)})
        return plain.restored((exactly or alike)[0]["answer"])

    def also(self, ids: list[str]) -> None:
        """Answer for the instances by id too: for all of them at once and for each one."""
        (found,) = [each for each in self._recorded if each["call"] == "ec2:DescribeInstances"]
        there = [each for group in found["answer"]["Reservations"] for each in group["Instances"]]
        for some in (ids, *([each] for each in ids)):
            asked = {**found["asked"], "Filters": [{"Name": "instance-id", "Values": some}]}
            answer = {"Reservations": [{"Instances": [each for each in there if each["InstanceId"] in some]}]}
            self._recorded = [*self._recorded, {"call": found["call"], "asked": asked, "answer": answer}]


class Bucket:
    """S3 with one private bucket. ``objects`` holds bytes by key."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.asked: list[dict[str, Any]] = []  # parameters of each write, without the content

    def __call__(self, operation: str, asked: dict[str, Any]) -> Any:
        name = operation.partition(":")[2]
        key = asked.get("Key", "")
        if name == "ListObjectsV2":
            return {
                "Contents": [{"Key": each} for each in sorted(self.objects) if each.startswith(asked.get("Prefix", ""))]
            }
        if name == "GetBucketPolicyStatus":
            return {"PolicyStatus": {"IsPublic": False}}
        if name == "GetObject":
            if key not in self.objects:
                raise _refused("NoSuchKey", name)
            return {"Body": io.BytesIO(self.objects[key]), "ETag": self._tag(key)}
        if name == "PutObject":
            if (
                asked.get("IfNoneMatch")
                and key in self.objects
                or asked.get("IfMatch", self._tag(key)) != self._tag(key)
            ):
                raise _refused("PreconditionFailed", name)
            self.objects[key] = asked["Body"]
            self.asked.append({name: value for name, value in asked.items() if name not in ("Body", "IfMatch")})
            return {"ETag": self._tag(key)}
        raise AssertionError(operation)

    def documents(self) -> dict[str, Any]:
        return {key: json.loads(data) for key, data in self.objects.items() if key.endswith(".json")}

    def _tag(self, key: str) -> str:
        return f'"{hash(self.objects.get(key, b""))}"'


def _refused(code: str, operation: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": code}, "ResponseMetadata": {}}, operation)
