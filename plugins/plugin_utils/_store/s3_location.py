# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a user names a store in S3: ``s3://bucket/prefix?region=...``."""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass

from .._aws.clients import Account
from .._core.errors import StoreError
from .base import checked

SCHEME = "s3"
_OF_ACCOUNT = ("region", "profile", "role", "endpoint_url")
_KNOWN = (*_OF_ACCOUNT, "kms_key")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


@dataclass(frozen=True)
class S3Location:
    bucket: str
    prefix: str  # "" or with a slash at its end
    account: Account
    kms_key: str = ""  # id or ARN; "" for the keys of S3 itself


def parse(location: str) -> S3Location:
    """Raises StoreError, which says what of it is wrong."""
    parts = urllib.parse.urlsplit(location)
    if parts.scheme != SCHEME or parts.fragment or not _BUCKET.fullmatch(parts.netloc):
        raise StoreError(
            f"{location} names no bucket (wanted: s3://bucket/prefix, a bucket's name being 3 to 63 of a-z 0-9 . and -)"
        )
    prefix = parts.path.strip("/")
    try:
        prefix = f"{checked(prefix)}/" if prefix else ""
        given = urllib.parse.parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except (StoreError, ValueError) as error:
        raise StoreError(f"the store {location} cannot be understood: {error}") from None
    unknown = [name for name in given if name not in _KNOWN]
    if unknown:
        raise StoreError(f"the store {location}: {', '.join(unknown)} is not known (allowed: {', '.join(_KNOWN)})")
    wrong = [name for name, values in given.items() if len(values) > 1 or not values[0]]
    if wrong:
        raise StoreError(f"the store {location}: {', '.join(wrong)} must be given once, with a value")
    said = {name: values[0] for name, values in given.items()}
    return S3Location(
        parts.netloc,
        prefix,
        Account(**{name: said[name] for name in _OF_ACCOUNT if name in said}),
        said.get("kms_key", ""),
    )
