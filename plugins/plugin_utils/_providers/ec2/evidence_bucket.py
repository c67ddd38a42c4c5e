# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The evidence that hosts on EC2 put into the bucket of the store when they sealed themselves.

Each host has one object, named after the ARN of its instance, and its instance profile allows it to write that name and
nothing else. So the number of objects is that of the instances, and one call lists a thousand of them. S3 has no call
that reads several objects. Each object is therefore read once, when a list shows it for the first time or with new
content, and at most 16 KiB of it. What a host wrote is data from outside: ``identity`` decides what it proves.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ..._aws.batches import batches
from ..._aws.clients import DENIED, Clients, aws_errors
from ..._core.errors import ProviderError
from ..._store.base import Store
from ..._store.registry import bucket_of
from ..._store.s3_location import AES256, S3Location
from ..contract import Evidence
from ..seal_evidence import Reported
from .identity import MAX_OBJECT, arn_of, claim_in, mismatch
from .identity_signature import signed_document

FOLDER = "hosts/"  # in the store
MAX_THREADS = 8
MAX_PAGES = 100  # of a thousand names
MAX_REMOVED = 1000  # objects that one call of DeleteObjects accepts
_OF_AWS = re.compile(r"\.amazonaws\.com(\.cn)?$")
# What S3 answers for an object that only its host can read, because of a key of its own, or that is archived.
# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html#ErrorCodeList
_UNREADABLE = ("InvalidObjectState", "InvalidRequest", "InvalidArgument", "400", "403")
_KMS = "KMS."  # the beginning of codes for keys that are disabled or gone
# The object was replaced or removed since it was listed. The next look shows which.
_CHANGED = ("NoSuchKey", "404", "PreconditionFailed", "412")


@dataclass(frozen=True)
class _Listed:
    version: str
    size: int
    written: float


class EvidenceBucket:
    """Raises ProviderError.

    Args:
        location: of the store.
        instances: clients of the account and region of the instances.
        certificates: by which AWS signs identity documents, in PEM format; "" to compare the documents alone.
    """

    def __init__(self, location: S3Location, instances: Clients, certificates: str = "") -> None:
        self.warnings: list[str] = []  # a line for each object that is not believed
        self._location = location
        self._instances = instances
        self._clients = Clients(location.account)
        self._certificates = certificates
        self._removed: set[str] = set()
        self._judged: dict[str, str] = {}  # by boot, the version that was read last and is no evidence

    def read(self, boots: Mapping[str, Mapping[str, Any]], kept: Mapping[str, Collection[str]]) -> dict[str, Reported]:
        """By boot, evidence that was not read before.

        Args:
            boots: the instances as EC2 describes them.
            kept: by instance id, the versions whose evidence is known.
        """
        listed = self._list({_folder_of(arn_of(instance, self._region)) for instance in boots.values()})
        due: dict[str, _Listed] = {}
        for boot, instance in boots.items():
            found = listed.get(arn_of(instance, self._region))
            # An object that is older than this start of the instance is evidence of an earlier one.
            if found is None or int(found.written) < int(instance["LaunchTime"].timestamp()):
                continue
            if found.version not in (*kept.get(instance["InstanceId"], ()), self._judged.get(boot)):
                due[boot] = found
        if not due:
            return {}
        with ThreadPoolExecutor(max_workers=min(MAX_THREADS, len(due))) as pool:
            tried = list(pool.map(lambda boot: self._try(boots[boot], due[boot]), due))
        refused = [error for _evidence, error in tried if error]
        # If some object can be read, then the one that cannot is its host's fault, and keeps no other host waiting.
        if refused and refused[0].code in DENIED and len(refused) == len(due) and not any(map(any, kept.values())):
            raise refused[0]
        for error in refused:
            self._warn(error.message)
        read = [evidence for evidence, _error in tried]
        self._judged.update({boot: due[boot].version for boot, evidence in zip(due, read, strict=True) if not evidence})
        return {
            boot: Reported(evidence, due[boot].version)
            for boot, evidence in zip(due, read, strict=True)
            if evidence is not None
        }

    def remove(self, described: Collection[Mapping[str, Any]]) -> None:
        """Remove the objects of these instances, once. A failure is only a warning: nobody needs them to be gone."""
        names = sorted({arn_of(instance, self._region) for instance in described} - {""} - self._removed)
        self._removed.update(names)
        try:
            with aws_errors(doing="removing the evidence of hosts"):
                for part in batches(names, MAX_REMOVED):
                    objects = [{"Key": self._key(name)} for name in part]
                    self._s3.delete_objects(Bucket=self._location.bucket, Delete={"Objects": objects, "Quiet": True})
        except ProviderError as error:
            self._warn(error.message)

    @property
    def _region(self) -> str:
        return self._instances.region

    @property
    def _s3(self) -> Any:
        return self._clients.client("s3")

    def _key(self, name: str) -> str:
        return f"{self._location.prefix}{FOLDER}{name}"

    def _list(self, folders: Collection[str]) -> dict[str, _Listed]:
        """What is listed below these names, by name."""
        listed: dict[str, _Listed] = {}
        for folder in sorted(folder for folder in folders if folder):
            with aws_errors(doing="listing the evidence of hosts"):
                pages = self._s3.get_paginator("list_objects_v2").paginate(
                    Bucket=self._location.bucket, Prefix=self._key(folder)
                )
                for number, page in enumerate(pages):
                    for each in page.get("Contents", ()):
                        name = str(each["Key"]).removeprefix(self._key(""))
                        listed[name] = _Listed(each["ETag"], int(each["Size"]), each["LastModified"].timestamp())
                    if number + 1 == MAX_PAGES:
                        self._warn(f"{self._key(folder)} has too many objects; add the lifecycle rule of how-to/aws")
                        break
        return listed

    def _try(self, instance: Mapping[str, Any], listed: _Listed) -> tuple[Evidence | None, ProviderError | None]:
        """The evidence in an object, or why that object cannot be read. Raises ProviderError for all other reasons."""
        try:
            return self._judge(instance, listed), None
        except ProviderError as error:
            if error.code in (*DENIED, *_UNREADABLE) or str(error.code).startswith(_KMS):
                return None, error
            raise

    def _judge(self, instance: Mapping[str, Any], listed: _Listed) -> Evidence | None:
        """The evidence in an object. Says in ``warnings`` why it is none, if the object is not as a host writes it."""
        name = arn_of(instance, self._region)
        if listed.size > MAX_OBJECT:
            self._warn(f"{instance['InstanceId']}: its evidence has {listed.size} bytes (allowed: {MAX_OBJECT})")
            return None
        data = self._get(name, listed.version)
        if data is None:
            return None
        claim = claim_in(data)
        if claim is None:
            self._warn(f"{instance['InstanceId']}: its object in {FOLDER} is not as a host writes it")
            return None
        document = signed_document(claim.signature, self._certificates) if self._certificates else claim.document
        unsigned = "its identity document is not signed by AWS"
        problem = unsigned if document is None else mismatch(document, instance, self._region)
        if problem:
            self._warn(f"{instance['InstanceId']}: its evidence is not believed: {problem}")
            return None
        return claim.evidence

    def _get(self, name: str, version: str) -> bytes | None:
        try:
            with aws_errors(doing=f"reading the evidence of {name}"):
                answer = self._s3.get_object(Bucket=self._location.bucket, Key=self._key(name), IfMatch=version)
                return bytes(answer["Body"].read(MAX_OBJECT + 1))
        except ProviderError as error:
            if error.code in _CHANGED:
                return None
            raise

    def _warn(self, line: str) -> None:
        if line not in self.warnings:
            self.warnings.append(line)


def open_bucket(store: Store, clients: Clients, certificates: str = "") -> EvidenceBucket | None:
    """The bucket of a store, None if it is elsewhere.

    Args:
        clients: of the account and region of the instances.
        certificates: see ``EvidenceBucket``.
    """
    location = bucket_of(store)
    if location is None:
        return None
    return EvidenceBucket(location, clients, certificates)


def destination(store: Store) -> dict[str, Any] | None:
    """Where a host puts its evidence, for its launch document. None if the store is not in S3. Makes no call.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html
    """
    location = bucket_of(store)
    if location is None:
        return None
    meta = Clients(location.account).client("s3").meta
    scheme, _separator, host = str(meta.endpoint_url).partition("://")
    below = f"{scheme}://{location.bucket}.{host}"
    # Another service may know no buckets by host name, and a certificate of S3 covers one label before its own.
    if not _OF_AWS.search(host) or "." in location.bucket:
        below = f"{scheme}://{host.rstrip('/')}/{location.bucket}"
    headers = _encryption_headers(location)
    return {
        "url": f"{below}/{location.prefix}{FOLDER}",
        "region": meta.region_name,
        "partition": meta.partition,
        **({"headers": headers} if headers else {}),
    }


def _encryption_headers(location: S3Location) -> dict[str, str]:
    if location.kms_key:
        return {
            "x-amz-server-side-encryption": "aws:kms",
            "x-amz-server-side-encryption-aws-kms-key-id": location.kms_key,
        }
    return {"x-amz-server-side-encryption": AES256} if location.encryption else {}


def _folder_of(arn: str) -> str:
    """The beginning of the names of all instances of the account in the region."""
    return arn[: arn.index("/") + 1] if arn else ""
