# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A store in a bucket of the fake AWS."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._store import s3

from .server import REGION, Cloud

BUCKET = "shop-store"
LOCATION = f"s3://{BUCKET}/infra"


def make_bucket(cloud: Cloud, name: str = BUCKET) -> None:
    s3._check_bucket.cache_clear()  # it remembers the bucket of another test
    cloud.boto("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})


@pytest.fixture
def bucket(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> s3.S3Store:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    make_bucket(cloud)
    return s3.S3Store(LOCATION)
