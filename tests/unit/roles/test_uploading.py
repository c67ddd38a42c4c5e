# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The guest's script that puts its evidence into a bucket, against a server on loopback."""

from __future__ import annotations

import calendar
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from ansible_collections.immutable.infra.tests.support.metadata import CREDENTIALS

SCRIPTS = Path(__file__).parents[3] / "roles/seal/files/launch/usr/lib/immutable"
REGION = "eu-central-1"
ARN = f"arn:aws:ec2:{REGION}:123456789012:instance/i-0123456789abcdef0"
DOCUMENT = json.dumps({"instanceId": "i-0123456789abcdef0", "region": REGION, "accountId": "123456789012"}, indent=2)
EVIDENCE = {"digest": "sha256:1", "nonce": "n", "host_key": "", "shell": "off"}
DENIED = (403, b"<Error><Code>AccessDenied</Code><Message>Not yours</Message></Error>")
BUSY = (503, b"<Error><Code>SlowDown</Code><Message>Reduce your request rate</Message></Error>")


class Bucket(ThreadingHTTPServer):
    """S3 on loopback. It answers with ``refusals`` first, then accepts everything."""

    daemon_threads = True

    def __init__(self, *refusals: tuple[int, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.refusals = list(refusals)
        self.received: list[tuple[str, dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/shop/infra/hosts/"


class _Handler(BaseHTTPRequestHandler):
    server: Bucket

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.received.append((self.path, headers, body))
        status, answer = self.server.refusals.pop(0) if self.server.refusals else (200, b"")
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_arguments: object) -> None:
        """Log nothing."""


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with Bucket() as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def upload(
    folder: Path, url: str, credentials: bytes = CREDENTIALS, document: str = DOCUMENT, **more: Any
) -> subprocess.CompletedProcess[bytes]:
    place = {"url": url, "region": REGION, "partition": "aws", **more}
    (folder / "evidence.json").write_text(json.dumps(place), encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-IS", str(SCRIPTS / "upload"), str(folder)],
        input=b"\0".join([credentials, document.encode(), b"AAAA\nBBBB", json.dumps(EVIDENCE).encode()]),
        capture_output=True,
        check=False,
    )


def signature(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_object_is_named_after_the_instance_and_a_throttled_call_is_repeated(
    tmp_path: Path, bucket: Bucket
) -> None:
    bucket.refusals = [BUSY]
    done = upload(tmp_path, bucket.url, headers={"x-amz-server-side-encryption": "AES256"})
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    _refused, (path, headers, body) = bucket.received
    assert path == f"/shop/infra/hosts/{ARN.replace(':', '%3A')}"
    assert headers["x-amz-server-side-encryption"] == "AES256"
    assert json.loads(body) == {"evidence": EVIDENCE, "document": DOCUMENT, "rsa2048": "AAAA\nBBBB"}
    assert not list(SCRIPTS.rglob("__pycache__")), "nothing is written into the image"


def test_the_request_is_signed_like_botocore_signs_it(tmp_path: Path, bucket: Bucket) -> None:
    auth = pytest.importorskip("botocore.auth")
    request = pytest.importorskip("botocore.awsrequest").AWSRequest
    upload(tmp_path, bucket.url)
    [(path, headers, body)] = bucket.received
    given = json.loads(CREDENTIALS)
    reference = request(
        "PUT",
        f"http://{headers['host']}{path}",
        headers={"Content-Type": "application/json", "X-Amz-Content-SHA256": headers["x-amz-content-sha256"]},
        data=body,
    )
    keys = SimpleNamespace(access_key=given["AccessKeyId"], secret_key=given["SecretAccessKey"], token=given["Token"])
    signer = auth.S3SigV4Auth(keys, "s3", REGION)
    signer.add_auth(reference)
    now = calendar.timegm(time.strptime(reference.context["timestamp"], "%Y%m%dT%H%M%SZ"))
    mine = signature("sigv4").signed(
        "PUT",
        path,
        body,
        headers={"content-type": "application/json", "host": headers["host"]},
        scope=(REGION, "s3"),
        credentials=given,
        now=now,
    )
    assert mine["authorization"] == reference.headers["Authorization"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({}, "evidence: S3 refused PutObject of {url}: AccessDenied Not yours\n"),
        (
            {"credentials": b'{"Code": "AssumeRoleUnauthorizedAccess"}'},
            "evidence: the instance profile provides no credentials: AssumeRoleUnauthorizedAccess\n",
        ),
        ({"document": "{}"}, "evidence: KeyError('region')\n"),
    ],
)
def test_what_cannot_be_put_is_reported(tmp_path: Path, bucket: Bucket, more: Any, message: str) -> None:
    bucket.refusals = [DENIED]
    done = upload(tmp_path, bucket.url, **more)
    url = bucket.url + ARN.replace(":", "%3A")
    assert (done.returncode, done.stderr.decode()) == (1, message.format(url=url))
    assert b"example-key-of-the-instance" not in done.stderr
