# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The guest's scripts that fetch the launch document and the secrets, against servers on loopback."""

from __future__ import annotations

import calendar
import http.server
import importlib.machinery
import importlib.util
import json
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from ansible_collections.immutable.infra.tests.support.metadata import CREDENTIALS, PROFILE, metadata
from ansible_collections.immutable.infra.tests.support.waiting import PATIENCE

SCRIPTS = Path(__file__).parents[3] / "roles/seal/files/launch/usr/lib/immutable"
BODIES = {"user-data": b"\x1f\x8b\x00raw", **PROFILE}
REGION = "eu-central-1"
VALUES = {f"/shop/{number}": f"value {number}, nothing added\n" for number in range(12)}  # more than fit into one call


def load(name: str) -> ModuleType:
    loader = importlib.machinery.SourceFileLoader(name, str(SCRIPTS / name))
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def run(script: str, *arguments: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-IS", str(SCRIPTS / script), *map(str, arguments)],
        input=stdin,
        capture_output=True,
        check=False,
    )


@pytest.mark.parametrize("refusals", [0, 2])
def test_user_data_is_fetched_unchanged_even_from_a_service_that_starts_slowly(refusals: int) -> None:
    with metadata(BODIES, refusals) as server:
        done = run("imds", "user-data", server.host)
    assert (done.returncode, done.stdout) == (0, BODIES["user-data"])


def test_a_missing_item_is_reported_immediately() -> None:
    with metadata({}) as server:
        done = run("imds", "user-data", server.host)
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"user-data: not found\n")


def test_a_service_that_never_answers_times_out() -> None:
    message = "did not answer within 0 s: PUT /latest/api/token returned status 503"
    script = load("imds")
    script.TIMEOUT = PATIENCE  # of one request
    with metadata(BODIES, refusals=10**6) as server, pytest.raises(TimeoutError, match=message):
        script.fetch(server.host, "user-data", deadline=0.1)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a parameter store with the values."""
    moto = pytest.importorskip("moto.server")
    boto3 = pytest.importorskip("boto3")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE0")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example-key-of-the-controller")
    server = moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    client = boto3.client("ssm", region_name=REGION, endpoint_url=url)
    for name, value in VALUES.items():
        client.put_parameter(Name=name, Value=value, Type="SecureString", Overwrite=True)
    yield url
    server.stop()


@pytest.mark.parametrize(
    "selector, names",
    [("", {"/a", "arn:x/a", "/a:3", "arn:x/a:3"}), (":live", {"/a:live", "arn:x/a:live", "/a:3", "arn:x/a:3"})],
)
def test_a_parameter_has_several_names(selector: str, names: set[str]) -> None:
    assert set(load("secrets").spellings({"Name": "/a", "ARN": "arn:x/a", "Version": 3, "Selector": selector})) == names


def test_a_secret_of_secrets_manager_is_found_by_its_version() -> None:
    """The answer is that of AWS, whose version is always 0."""
    name, version = "/aws/reference/secretsmanager/shop/db", "6acf7301-d9fe-4fbf-9c59-9c7c5f96aba2"
    answer = {"Name": name, "ARN": "arn:aws:secretsmanager:x", "Version": 0, "Selector": f":{version}"}
    assert f"{name}:{version}" in load("secrets").spellings(answer)


def test_a_binary_secret_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = load("secrets")
    answer = {"Parameters": [{"Name": "/aws/reference/secretsmanager/key", "Type": "SecureString", "Version": 0}]}
    monkeypatch.setattr(script, "get_parameters", lambda *_arguments: answer["Parameters"])
    document = {"region": REGION, "secrets": {"key": {"ssm": "/aws/reference/secretsmanager/key"}}}
    with pytest.raises(
        script.aws.Refused, match="/aws/reference/secretsmanager/key is a binary secret .*; store it as text"
    ):
        script.values(document, {})


def write_document(folder: Path, url: str, **references: str) -> None:
    document = {
        "region": REGION,
        "endpoint_url": url,
        "secrets": {name: {"ssm": parameter} for name, parameter in references.items()},
    }
    (folder / "secrets.json").write_text(json.dumps(document), encoding="utf-8")


def test_secrets_are_written_unchanged_and_only_for_root(tmp_path: Path, store: str) -> None:
    write_document(tmp_path, store, **{f"s{number}": name for number, name in enumerate(VALUES)})
    done = run("secrets", tmp_path, stdin=CREDENTIALS)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    files = {file.name: file for file in (tmp_path / "secrets").iterdir()}
    assert {name: file.read_text() for name, file in files.items()} == {
        f"s{n}": v for n, v in enumerate(VALUES.values())
    }
    assert {stat.S_IMODE(file.stat().st_mode) for file in files.values()} == {0o400}


def test_all_missing_parameters_are_reported_and_nothing_is_written(tmp_path: Path, store: str) -> None:
    write_document(tmp_path, store, db="/shop/1", mail="/shop/mail", api="/shop/api")
    done = run("secrets", tmp_path, stdin=CREDENTIALS)
    assert (done.returncode, done.stderr) == (
        1,
        b"secrets: SSM has no parameter for: api (/shop/api), mail (/shop/mail)\n",
    )
    assert not (tmp_path / "secrets").exists()


def test_an_instance_profile_without_credentials_is_reported(tmp_path: Path) -> None:
    write_document(tmp_path, "http://127.0.0.1:9", db="/shop/1")
    done = run("secrets", tmp_path, stdin=b'{"Code": "AssumeRoleUnauthorizedAccess"}')
    assert (done.returncode, done.stderr) == (
        1,
        b"secrets: the instance profile provides no credentials: AssumeRoleUnauthorizedAccess\n",
    )


@pytest.mark.parametrize(
    "region, url",
    [
        ("eu-central-1", "https://ssm.eu-central-1.amazonaws.com"),
        ("cn-north-1", "https://ssm.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_the_endpoint_follows_the_region(region: str, url: str) -> None:
    assert load("secrets").endpoint(region) == url


class Responses:
    """A store that returns each of these responses in turn: (status, body). ``sent``: the arguments of each request."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, script: ModuleType, *responses: tuple[int, Any]) -> None:
        self.remaining = list(responses)
        self.sent: list[tuple[Any, ...]] = []
        monkeypatch.setattr(script.aws.http.client, "HTTPSConnection", lambda *_a, **_k: self)
        monkeypatch.setattr(script.aws, "RETRY_DELAY", 0.0)

    def request(self, *arguments: object) -> None:
        self.sent.append(arguments)

    def getresponse(self) -> Any:
        status, body = self.remaining.pop(0)
        return SimpleNamespace(status=status, read=lambda _most: json.dumps(body).encode())

    def close(self) -> None:
        """Do nothing."""


def test_a_request_is_signed_like_botocore_signs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    auth = pytest.importorskip("botocore.auth")
    request = pytest.importorskip("botocore.awsrequest").AWSRequest
    secrets, credentials = load("secrets"), json.loads(CREDENTIALS)
    reference = request(
        "POST",
        f"https://ssm.{REGION}.amazonaws.com/",
        headers={"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": secrets.TARGET},
        data=b'{"Names": ["/a"], "WithDecryption": true}',
    )
    keys = credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["Token"]
    names = ("access_key", "secret_key", "token")
    auth.SigV4Auth(SimpleNamespace(**dict(zip(names, keys, strict=True))), "ssm", REGION).add_auth(reference)
    now = calendar.timegm(time.strptime(reference.context["timestamp"], "%Y%m%dT%H%M%SZ"))
    monkeypatch.setattr(secrets.aws, "time", SimpleNamespace(time=lambda: now, monotonic=time.monotonic))
    store = Responses(monkeypatch, secrets, (200, {"Parameters": []}))
    assert secrets.get_parameters(secrets.endpoint(REGION), ["/a"], REGION, credentials) == []
    [(method, path, body, headers)] = store.sent
    assert (method, path, body) == ("POST", "/", reference.data)
    assert headers["authorization"] == reference.headers["Authorization"]


def test_throttled_calls_are_retried_and_a_denied_call_is_reported_with_the_error_of_aws(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script, credentials = load("secrets"), json.loads(CREDENTIALS)
    document = {"region": REGION, "secrets": {"db": {"ssm": "/a"}}}
    throttled = (400, {"__type": "ThrottlingException", "message": "Rate exceeded"})
    found = (200, {"Parameters": [{"Name": "/a", "Value": "v"}]})
    Responses(monkeypatch, script, *(throttled, (500, {}), found))
    assert script.values(document, credentials)["/a"] == "v"
    Responses(
        monkeypatch,
        script,
        (400, {"__type": "com.amazon.coral#AccessDeniedException", "Message": "User x is not authorized"}),
    )
    with pytest.raises(
        script.aws.Refused, match="SSM refused GetParameters: AccessDeniedException User x is not authorized"
    ):
        script.values(document, credentials)


def test_a_config_drive_is_known_by_its_label_whatever_its_format(tmp_path: Path) -> None:
    script = load("openstack")
    for number, (offset, label) in enumerate([(32808, b"config-2"), (71, b"CONFIG-2   "), (43, b"config-2   ")]):
        disk = tmp_path / f"vd{number}"
        disk.write_bytes(b"\0" * offset + label.ljust(32 if offset > 100 else 11) + b"\0" * 40000)
        assert script.has_label(disk)
    other = tmp_path / "sr0"
    other.write_bytes(b"\0" * 32808 + b"cidata".ljust(32) + b"\0" * 100)
    assert not script.has_label(other) and not script.has_label(tmp_path / "missing")
    assert script.config_drive(str(tmp_path), str(tmp_path)) == str(tmp_path / "vd0")
    (tmp_path / "empty").mkdir()
    assert script.config_drive(str(tmp_path / "empty"), str(tmp_path)) is None


def test_without_a_config_drive_the_metadata_service_of_openstack_is_asked() -> None:
    script = load("openstack")
    paths: list[str] = []

    def none() -> None:
        paths.append("looked")

    with served({"/openstack/latest/user_data": b"\x1f\x8braw"}) as host:
        assert script.user_data("/nowhere", host, find=none, alone=0.0) == b"\x1f\x8braw"
    assert paths == ["looked"]
    with served({}) as host, pytest.raises(script.Refused, match="has no user data for this instance"):
        script.user_data("/nowhere", host, find=none, alone=0.0)


def test_a_silent_metadata_service_of_openstack_is_told_after_the_deadline() -> None:
    script = load("openstack")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nothing listens here
        host = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(TimeoutError, match="gave no user data within 0 s"):
            script.user_data("/nowhere", host, find=lambda: None, deadline=0.1, alone=0.0)


@contextmanager
def served(bodies: dict[str, bytes]) -> Iterator[str]:
    """Serve these documents on loopback, and yield the host with its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = bodies.get(self.path)
            self.send_response(404 if body is None else 200)
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
