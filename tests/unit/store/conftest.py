# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A bucket of moto's, behind the proxy that can lose answers, and a disk that holds nothing yet."""
from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils.store import s3
from ansible_collections.immutable.infra.tests.support.aws.fixtures import cloud as plain_cloud  # noqa: F401
from ansible_collections.immutable.infra.tests.support.aws.fixtures import cloud_server  # noqa: F401
from ansible_collections.immutable.infra.tests.support.aws.server import REGION, Cloud

BUCKET = "shop-store"
LOCATION = f"s3://{BUCKET}/infra"


@pytest.fixture
def cloud(plain_cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cloud:  # noqa: F811
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    s3._usable.cache_clear()
    plain_cloud.boto("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    return plain_cloud


@pytest.fixture
def bucket(cloud: Cloud) -> s3.S3Store:
    return s3.S3Store(LOCATION)
