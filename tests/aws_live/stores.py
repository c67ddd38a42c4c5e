# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Rules of objects and parameters."""

from __future__ import annotations

from collections.abc import Iterator

from .live import Live, equal, refused


def conditional_writes(live: Live) -> Iterator[str]:
    """A condition decides about a write, without a header for encryption."""
    s3, key = live.client("s3"), f"immutable-live/{live.run}"
    put = {"Bucket": live.bucket, "Key": key}
    live.afterwards(lambda: s3.delete_object(**put))
    first = s3.put_object(**put, Body=b"1", IfNoneMatch="*")
    yield equal("whether a new object is encrypted", bool(first.get("ServerSideEncryption")), True)
    yield refused(s3.put_object, "PreconditionFailed", **put, Body=b"2", IfNoneMatch="*")
    s3.put_object(**put, Body=b"3", IfMatch=first["ETag"])
    yield refused(s3.put_object, "PreconditionFailed", **put, Body=b"4", IfMatch=first["ETag"])


def parameter_size(live: Live) -> Iterator[str]:
    ssm = live.client("ssm")
    name = f"/immutable-live/{live.run}"
    tags = [{"Key": "immutable-live", "Value": live.run}]
    yield refused(
        ssm.put_parameter, "ValidationException", Name=name, Value="x" * 4097, Type="String", Tier="Standard", Tags=tags
    )
