# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""moto loses conditional writes, so the proxy passes on one at a time. No code of the collection takes part here."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import botocore.exceptions
import pytest
from ansible_collections.immutable.infra.tests.support.aws.server import REGION, Cloud
from ansible_collections.immutable.infra.tests.support.waiting import PATIENCE
from moto.s3.models import S3Backend
from moto.server import ThreadedMotoServer

BOTH = 2


@pytest.fixture
def local() -> Iterator[Cloud]:
    """A cloud whose moto runs in this process, where a test can stop it between two steps."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    cloud = Cloud(server.get_host_and_port()[1])
    yield cloud
    cloud.close()
    server.stop()


def accepted(s3: Any, bucket: str, monkeypatch: pytest.MonkeyPatch, patience: float) -> int:
    """Let two writers replace the same version of an object. Returns how many of them S3 accepted.

    Each waits between moto's check and its write for the other one, as long as ``patience`` says.
    """
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    tag = s3.put_object(Bucket=bucket, Key="a", Body=b"start")["ETag"]
    both, put = threading.Barrier(BOTH), S3Backend.put_object

    def put_together(self: S3Backend, *args: Any, **named: Any) -> Any:
        with suppress(threading.BrokenBarrierError):
            both.wait(patience)
        return put(self, *args, **named)

    def write(number: int) -> bool:
        try:
            s3.put_object(Bucket=bucket, Key="a", Body=str(number).encode(), IfMatch=tag)
        except botocore.exceptions.ClientError as error:
            # Two writers at once may also make moto itself fail.
            assert error.response["Error"]["Code"] in ("PreconditionFailed", "500")
            return False
        return True

    monkeypatch.setattr(S3Backend, "put_object", put_together)
    with ThreadPoolExecutor(BOTH) as pool:
        return sum(pool.map(write, range(BOTH)))


def test_moto_alone_accepts_two_writers_with_one_condition(local: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """If this fails, moto has a lock of its own, and the rule of the proxy can go."""
    s3 = local.boto("s3")
    assert any(accepted(s3, f"without-proxy-{trial}", monkeypatch, PATIENCE) == BOTH for trial in range(5))


def test_behind_the_proxy_one_of_two_writers_is_accepted(local: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    assert accepted(local.boto("s3", proxied=True), "behind-proxy", monkeypatch, 1.0) == 1
