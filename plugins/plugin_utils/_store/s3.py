# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A store in an S3 bucket. The bucket belongs to the user: this code never creates it or changes its settings."""

from __future__ import annotations

import base64
import functools
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .._aws.clients import DENIED, Clients, aws_errors, code_of
from .._core.errors import ConflictError, StoreError
from .._core.files import make_private_folder, write_atomically
from .base import ABSENT, checked_key, decode_document, encode_document
from .keys import make_ssh_key
from .lease import Lease, SystemClock
from .local import local_folder
from .lock import held_lock
from .s3_location import S3Location, parse_location

_MISSING = ("NoSuchKey", "404")
# Another write came first, or the object to replace no longer exists.
_CONFLICTS = ("PreconditionFailed", "412", *_MISSING)
# Another operation on the object is in progress, which may be an earlier attempt of the same call.
_BUSY = ("ConditionalRequestConflict", "409")
_BUSY_DELAYS = (0.1, 0.4, 1.6)  # seconds before each further attempt

# For the message of a denied write.
NO_HEADER = "if the bucket's policy requires an encryption header, add encryption=AES256 or kms_key to the location"
_MAX_ATTEMPTS = 4  # to create a document that others may create at the same time


class S3Store:
    """Implements ``_store.base.Store`` in a bucket. A document's tag is the ETag of its object."""

    def __init__(self, location: str) -> None:
        """Open the store at a location that ``parse_location`` accepts.

        Raises StoreError if the bucket is missing, not accessible or public, and ProviderError if boto3 is missing.
        """
        self.location = location
        self._parsed = parse_location(location)
        self._clients = Clients(self._parsed.account)
        self._secret_key: bytes | None = None
        self._encryption = _encryption_headers(self._parsed)
        _check_bucket(self._parsed)

    @property
    def _s3(self) -> Any:
        return self._clients.client("s3")

    def _object(self, key: str) -> dict[str, str]:
        return {"Bucket": self._parsed.bucket, "Key": self._parsed.prefix + checked_key(key)}

    def location_of(self, key: str) -> str:
        return f"s3://{self._parsed.bucket}/{self._parsed.prefix}{checked_key(key)}"

    def read(self, key: str) -> tuple[Any, str] | None:
        found = self._get(key)
        if found is None:
            return None
        return decode_document(found[0], self.location_of(key)), found[1]

    def write(self, key: str, document: Any, expect: str | None = None) -> str:
        condition = {} if expect is None else {"IfNoneMatch": "*"} if expect == ABSENT else {"IfMatch": expect}
        return self._put(key, encode_document(document), "application/json", condition)

    def read_blob(self, key: str) -> bytes | None:
        found = self._get(key)
        return None if found is None else found[0]

    def write_blob(self, key: str, data: bytes) -> None:
        self._put(key, data, "application/octet-stream", {})

    def list(self, prefix: str) -> list[str]:
        with aws_errors(StoreError, f"the store {self.location} cannot be listed"):
            pages = self._s3.get_paginator("list_objects_v2").paginate(
                Bucket=self._parsed.bucket, Prefix=self._parsed.prefix + prefix
            )
            return sorted(
                each["Key"][len(self._parsed.prefix) :] for page in pages for each in page.get("Contents", ())
            )

    def delete(self, key: str) -> None:
        with aws_errors(StoreError, f"{self.location_of(key)} cannot be deleted"):
            self._s3.delete_object(**self._object(key))

    def local_path(self, key: str) -> Path:
        return self._folder / checked_key(key)

    @functools.cached_property
    def _folder(self) -> Path:
        return local_folder(self.location)

    @contextmanager
    def lock(self, name: str, purpose: str, wait: float = 0.0) -> Iterator[tuple[()]]:
        """Hold a lease. After a holder on another machine dies, the next one waits until the lease expires.

        Yields no descriptors.
        """
        lease = Lease(self, f"locks/{name}.json", name=name, purpose=purpose, clock=SystemClock())
        with held_lock(lease, wait):
            yield ()

    def secret_key(self) -> bytes:
        if self._secret_key is None:
            document = self._read_or_create("keys/secret.json", _generate_secret_key)
            self._secret_key = base64.b64decode(document["key"])
        return self._secret_key

    def ssh_key(self, name: str) -> tuple[Path, str]:
        """Return a pair that is one document, so that the bucket never contains only half of it.

        The private key is copied to this machine, where only this user can read it.
        """
        pair = self._read_or_create(f"keys/{name}.json", lambda: _generate_key_pair(name))
        private = self.local_path(f"keys/{name}")
        data = pair["private"].encode("ascii")
        if not private.is_file() or private.read_bytes() != data:
            make_private_folder(private.parent)
            write_atomically(private, data)
        return private, pair["public"]

    def _read_or_create(self, key: str, generate: Callable[[], dict[str, str]]) -> dict[str, str]:
        """Return the document at ``key``. The first process that needs it creates it."""
        found = self.read(key)
        for _attempt in range(_MAX_ATTEMPTS):
            if found is not None:
                break
            try:
                self.write(key, generate(), expect=ABSENT)
            except ConflictError:  # after a 409 the other write may not be readable yet
                pass
            found = self.read(key)
        if found is None or not isinstance(found[0], dict):
            raise StoreError(f"{self.location_of(key)} contains no key; restore an earlier version of it")
        return dict(found[0])

    def _get(self, key: str) -> tuple[bytes, str] | None:
        import botocore.exceptions

        with aws_errors(StoreError, f"{self.location_of(key)} cannot be read"):
            try:
                answer = self._s3.get_object(**self._object(key))
                return answer["Body"].read(), str(answer["ETag"])
            except botocore.exceptions.ClientError as error:
                if code_of(error) in _MISSING:
                    return None
                raise

    def _put(self, key: str, data: bytes, kind: str, condition: dict[str, str]) -> str:
        """Return the tag. Raises ConflictError if the condition is not met.

        botocore retries a call whose answer was lost, and then the conflict may be with our own write. The bytes show
        it: documents that two runs can write at the same time (leases, keys, intents, channels) name their writer or
        the time.
        """
        retried = False
        with aws_errors(StoreError, f"{self.location_of(key)} cannot be written"), self._explained_denial():
            for delay in (*_BUSY_DELAYS, None):
                outcome = self._try_put(key, data, kind, condition)
                if isinstance(outcome, str):
                    return outcome
                retried = retried or bool(outcome.response.get("ResponseMetadata", {}).get("RetryAttempts", 0))
                found = self._get(key) if retried else None
                if found and found[0] == data:
                    return found[1]
                if delay is None or code_of(outcome) not in _BUSY:
                    break
                time.sleep(delay)
        raise ConflictError(f"{self.location_of(key)} was changed by another process since it was read")

    @contextmanager
    def _explained_denial(self) -> Iterator[None]:
        """Say how to send an encryption header, if the write was denied without one."""
        import botocore.exceptions

        try:
            yield
        except botocore.exceptions.ClientError as error:
            if code_of(error) not in DENIED or self._encryption:
                raise
            reason = str(error.response["Error"].get("Message", ""))
            error.response["Error"]["Message"] = f"{reason}; {NO_HEADER}"
            raise

    def _try_put(self, key: str, data: bytes, kind: str, condition: dict[str, str]) -> Any:
        """Return the tag, or botocore's error if the condition is not met. Raises any other error of botocore."""
        import botocore.exceptions

        try:
            answer = self._s3.put_object(
                **self._object(key), Body=data, ContentType=kind, **self._encryption, **condition
            )
        except botocore.exceptions.ClientError as error:
            if condition and code_of(error) in (*_CONFLICTS, *_BUSY):
                return error
            raise
        return str(answer["ETag"])


def _encryption_headers(location: S3Location) -> dict[str, str]:
    """The parameters of PutObject. Without any, S3 encrypts as the bucket's default says."""
    if location.kms_key:
        return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": location.kms_key}
    return {"ServerSideEncryption": location.encryption} if location.encryption else {}


def _generate_secret_key() -> dict[str, str]:
    return {"key": base64.b64encode(secrets.token_bytes(32)).decode("ascii")}


def _generate_key_pair(name: str) -> dict[str, str]:
    with tempfile.TemporaryDirectory(prefix="immutable-key-") as folder:
        private = Path(folder) / "key"
        make_ssh_key(private, name)
        return {
            "private": private.read_text(encoding="ascii"),
            "public": private.with_suffix(".pub").read_text(encoding="ascii").strip(),
        }


@functools.cache
def _check_bucket(location: S3Location) -> None:
    """Check once per process that the bucket exists, can be listed, and has no policy that makes it public.

    Raises StoreError if one of these is not so.
    """
    s3 = Clients(location.account).client("s3")
    import botocore.exceptions

    with aws_errors(StoreError, f"the store s3://{location.bucket}/{location.prefix} cannot be used"):
        try:
            s3.list_objects_v2(Bucket=location.bucket, Prefix=location.prefix, MaxKeys=1)
        except botocore.exceptions.ClientError as error:
            if code_of(error) == "NoSuchBucket":
                raise StoreError(
                    f"the bucket {location.bucket} does not exist; create it first, private and with versioning "
                    "(see docs/reference/store.md)"
                ) from error
            raise
        try:
            status = s3.get_bucket_policy_status(Bucket=location.bucket)["PolicyStatus"]
        except botocore.exceptions.ClientError as error:
            # No policy, an S3 server without this call, or no permission for it.
            if code_of(error) in ("NoSuchBucketPolicy", "NotImplemented", "MethodNotAllowed", *DENIED):
                return
            raise
    if status.get("IsPublic"):
        raise StoreError(
            f"the policy of the bucket {location.bucket} makes it public, but a store contains keys; "
            "block public access first"
        )
