# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A store in a bucket of S3. The bucket is the user's: it is never made here, nor are its settings changed."""

from __future__ import annotations

import base64
import functools
import json
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .._aws.clients import DENIED, Clients, aws_errors, code_of
from .._core.errors import ConflictError, StoreError
from .._core.files import write_atomically
from .base import ABSENT, as_bytes, checked
from .keys import make_ssh_key
from .lease import Lease, SystemClock
from .local import local_folder
from .lock import held_lock
from .s3_location import S3Location, parse

_MISSING = ("NoSuchKey", "404")
# Another write was there before, at the same time, or there is nothing any more to be replaced.
_CONFLICTS = ("PreconditionFailed", "412", "ConditionalRequestConflict", "409", *_MISSING)

_TRIES = 4  # to be the first who makes a key


class S3Store:
    """See ``store.base.Store``. A document's tag is the ETag of its object."""

    def __init__(self, location: str) -> None:
        """Raises StoreError for a bucket that is not there, not ours to use, or public; ProviderError where boto3 is missing."""
        self.location = location
        self._at = parse(location)
        self._clients = Clients(self._at.account)
        self._encryption = {"ServerSideEncryption": "AES256"}
        if self._at.kms_key:
            self._encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self._at.kms_key}
        _usable(self._at)

    @property
    def _s3(self) -> Any:
        return self._clients.client("s3")

    def _named(self, key: str) -> dict[str, str]:
        return {"Bucket": self._at.bucket, "Key": self._at.prefix + checked(key)}

    def place(self, key: str) -> str:
        return f"s3://{self._at.bucket}/{self._at.prefix}{checked(key)}"

    def read(self, key: str) -> tuple[Any, str] | None:
        found = self._get(key)
        if found is None:
            return None
        try:
            return json.loads(found[0]), found[1]
        except ValueError as error:
            raise StoreError(f"{self.place(key)} is not JSON: {error}") from error

    def write(self, key: str, document: Any, expect: str | None = None) -> str:
        condition = {} if expect is None else {"IfNoneMatch": "*"} if expect == ABSENT else {"IfMatch": expect}
        return self._put(key, as_bytes(document), "application/json", condition)

    def read_blob(self, key: str) -> bytes | None:
        found = self._get(key)
        return None if found is None else found[0]

    def write_blob(self, key: str, data: bytes) -> None:
        self._put(key, data, "application/octet-stream", {})

    def list(self, prefix: str) -> list[str]:
        with aws_errors(StoreError, f"the store {self.location} cannot be listed"):
            pages = self._s3.get_paginator("list_objects_v2").paginate(
                Bucket=self._at.bucket, Prefix=self._at.prefix + prefix
            )
            return sorted(each["Key"][len(self._at.prefix) :] for page in pages for each in page.get("Contents", ()))

    def delete(self, key: str) -> None:
        with aws_errors(StoreError, f"{self.place(key)} cannot be removed"):
            self._s3.delete_object(**self._named(key))

    def local(self, key: str) -> Path:
        return self._folder / checked(key)

    @functools.cached_property
    def _folder(self) -> Path:
        return local_folder(self.location)

    @contextmanager
    def lock(self, name: str, purpose: str, wait: float = 0.0) -> Iterator[tuple[()]]:
        """A lease, so the next one waits a minute after a holder that died elsewhere. No descriptor keeps it."""
        with held_lock(Lease(self, f"locks/{name}.json", name, purpose, SystemClock()), wait):
            yield ()

    def secret_key(self) -> bytes:
        return base64.b64decode(
            self._once("keys/secret.json", lambda: {"key": base64.b64encode(secrets.token_bytes(32)).decode("ascii")})[
                "key"
            ]
        )

    def ssh_key(self, name: str) -> tuple[Path, str]:
        """The pair is one document, so the bucket never has half of it. The private half is fetched to this machine, for its user alone."""
        pair = self._once(f"keys/{name}.json", lambda: _new_pair(name))
        private = self.local(f"keys/{name}")
        data = pair["private"].encode("ascii")
        if not private.is_file() or private.read_bytes() != data:
            private.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(private, data)
        return private, pair["public"]

    def _once(self, key: str, make: Any) -> dict[str, str]:
        """The document, made by the first one who needs it."""
        found = self.read(key)
        for _attempt in range(_TRIES):
            if found is not None:
                break
            try:
                self.write(key, make(), expect=ABSENT)
            except ConflictError:  # where it is still on its way (409) there may be nothing to read yet
                pass
            found = self.read(key)
        if found is None or not isinstance(found[0], dict):
            raise StoreError(f"{self.place(key)} holds no key; restore an earlier version of it")
        return dict(found[0])

    def _get(self, key: str) -> tuple[bytes, str] | None:
        import botocore.exceptions

        with aws_errors(StoreError, f"{self.place(key)} cannot be read"):
            try:
                answer = self._s3.get_object(**self._named(key))
                return answer["Body"].read(), str(answer["ETag"])
            except botocore.exceptions.ClientError as error:
                if code_of(error) in _MISSING:
                    return None
                raise

    def _put(self, key: str, data: bytes, kind: str, condition: dict[str, str]) -> str:
        import botocore.exceptions

        with aws_errors(StoreError, f"{self.place(key)} cannot be written"):
            try:
                answer = self._s3.put_object(
                    **self._named(key), Body=data, ContentType=kind, **self._encryption, **condition
                )
                return str(answer["ETag"])
            except botocore.exceptions.ClientError as error:
                if not condition or code_of(error) not in _CONFLICTS:
                    raise
                conflict = error
        # botocore repeats a call whose answer was lost, and then it is our own write that is in the way. Whose bytes are there tells:
        # what two runs could want to write at the same time (leases, keys, intents, channels) names its writer or its time.
        if conflict.response.get("ResponseMetadata", {}).get("RetryAttempts", 0):
            found = self._get(key)
            if found and found[0] == data:
                return found[1]
        raise ConflictError(f"{self.place(key)} was changed by somebody else since it was read")


def _new_pair(name: str) -> dict[str, str]:
    with tempfile.TemporaryDirectory(prefix="immutable-key-") as folder:
        private = Path(folder) / "key"
        make_ssh_key(private, name)
        return {
            "private": private.read_text(encoding="ascii"),
            "public": private.with_suffix(".pub").read_text(encoding="ascii").strip(),
        }


@functools.cache
def _usable(at: S3Location) -> None:
    """Once a process: the bucket is there, may be listed, and no policy shows it to everybody."""
    s3 = Clients(at.account).client("s3")
    import botocore.exceptions

    with aws_errors(StoreError, f"the store s3://{at.bucket}/{at.prefix} cannot be used"):
        try:
            s3.list_objects_v2(Bucket=at.bucket, Prefix=at.prefix, MaxKeys=1)
        except botocore.exceptions.ClientError as error:
            if code_of(error) == "NoSuchBucket":
                raise StoreError(
                    f"there is no bucket {at.bucket}; make it first, private and with versions (docs/reference/store.md says how)"
                ) from error
            raise
        try:
            status = s3.get_bucket_policy_status(Bucket=at.bucket)["PolicyStatus"]
        except botocore.exceptions.ClientError as error:
            if code_of(error) in (
                "NoSuchBucketPolicy",
                "NotImplemented",
                "MethodNotAllowed",
                *DENIED,
            ):  # not allowed to ask, or no AWS
                return
            raise
    if status.get("IsPublic"):
        raise StoreError(
            f"the policy of bucket {at.bucket} shows it to everybody; a store holds keys: block public access to it first"
        )
