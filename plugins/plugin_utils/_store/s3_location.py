# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Parse the location of a store in S3: ``s3://bucket/prefix?region=...``."""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass

from .._aws.clients import Account
from .._core.errors import StoreError
from .base import checked_key

SCHEME = "s3"
_ACCOUNT_OPTIONS = ("region", "profile", "role", "endpoint_url", "external_id")
_OPTIONS = (*_ACCOUNT_OPTIONS, "kms_key", "encryption")
AES256 = "AES256"  # the only encryption that can be requested without a key
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


@dataclass(frozen=True)
class S3Location:
    """A parsed location."""

    bucket: str
    prefix: str  # "", or a key prefix with a trailing slash
    account: Account
    kms_key: str = ""  # ID, alias or ARN; "" for the bucket's default encryption
    encryption: str = ""  # "AES256" for keys that S3 manages, whatever the bucket's default is; "" for the default


def parse_location(location: str) -> S3Location:
    """Parse a location. Raises StoreError, which says which part is not valid."""
    parts = urllib.parse.urlsplit(location)
    if parts.scheme != SCHEME or parts.fragment or not _BUCKET.fullmatch(parts.netloc):
        raise StoreError(
            f"{location} does not name a bucket (allowed: s3://bucket/prefix, with a bucket name of 3 to 63 characters "
            "from a-z 0-9 . and -)"
        )
    prefix = parts.path.strip("/")
    try:
        prefix = f"{checked_key(prefix)}/" if prefix else ""
        given = urllib.parse.parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except (StoreError, ValueError) as error:
        raise StoreError(f"the store {location} is not valid: {error}") from None
    unknown = [name for name in given if name not in _OPTIONS]
    if unknown:
        raise StoreError(
            f"the store {location}: unknown options: {', '.join(unknown)} (allowed: {', '.join(_OPTIONS)})"
        )
    not_single = [name for name, values in given.items() if len(values) > 1 or not values[0]]
    if not_single:
        raise StoreError(f"the store {location}: {', '.join(not_single)} must be given once, with a value")
    options = {name: values[0] for name, values in given.items()}
    encryption, kms_key = options.get("encryption", ""), options.get("kms_key", "")
    if encryption not in ("", AES256) or (encryption and kms_key):
        raise StoreError(
            f"the store {location}: encryption can be {AES256}, without kms_key (allowed: neither of them for the "
            "bucket's default encryption, or kms_key for a KMS key)"
        )
    return S3Location(
        bucket=parts.netloc,
        prefix=prefix,
        account=Account(**{name: options[name] for name in _ACCOUNT_OPTIONS if name in options}),
        kms_key=kms_key,
        encryption=encryption,
    )
