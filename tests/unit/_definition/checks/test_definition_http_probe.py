# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""HTTP probes: what they send, what they expect, and how the service proves itself."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import DefinitionError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.authorities import MAX_BYTES, certificates_in
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.digest import verify_digest
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.load import load_definition
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import Definition
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.probes import Health, HttpProbe
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.summary import target_summary
from ansible_collections.immutable.infra.plugins.plugin_utils._health.probe import probe
from ansible_collections.immutable.infra.tests.support.certificates import NAME, http_server, issue
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

QEMU: dict[str, Any] = {"provider": "qemu"}
GROUP = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/shop/01234567"
AWS: dict[str, Any] = {
    "provider": "aws",
    "region": "eu-west-1",
    "base": {"ami": "ami-01234567", "python": "3.11"},
    "network": {"subnets": {"eu-west-1a": "subnet-01234567"}},
    "traffic": {"target_groups": [GROUP]},
}
BALANCER = {**AWS, "probe": "balancer"}
CA = issue("Example CA", ca=True)
VERIFIED = {"server_name": NAME, "ca": CA.pem}


def load(folder: Path, http: dict[str, Any], target: dict[str, Any] | None = None) -> Definition:
    document = {
        "schema": 1,
        "service": "shop",
        "version": "1",
        "image": {"base": {"debian": "bookworm"}, "provision": {"playbook": "site.yml"}},
        "health": {"http": {"port": 8080, **http}},
        "targets": {"local": target or QEMU},
    }
    (folder / "site.yml").write_text("[]\n", encoding="utf-8")
    (folder / "immutable.yml").write_text(json.dumps(document, indent=1), encoding="utf-8")
    return load_definition(folder)


def probe_of(folder: Path, http: dict[str, Any]) -> HttpProbe:
    found = load(folder, http).targets["local"].health.http
    assert found
    return found


def problem(folder: Path, http: dict[str, Any], target: dict[str, Any] | None = None) -> str:
    with pytest.raises(DefinitionError) as caught:
        load(folder, http, target)
    [text] = caught.value.details["problems"]
    return str(text).partition(": ")[2]


def test_what_is_not_set_leaves_no_trace(tmp_path: Path) -> None:
    definition = load(tmp_path, {})
    target = definition.targets["local"]
    assert target.health.http == HttpProbe(8080)
    assert target_summary(target)["health"]["http"] == {"port": 8080, "path": "/", "status": [200]}
    explicit = load(tmp_path, {"path": "/", "status": 200, "method": "GET"})
    assert verify_digest(explicit, explicit.targets["local"]) == verify_digest(definition, target)


def test_everything_that_a_probe_can_say(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text(f"Subject: Example CA\n{CA.pem}\nmore\n", encoding="utf-8")
    http = {
        "status": ["200-299", 418],
        "headers": {"Host": "www.example.com", "X-Odd": "%[src] \"'${HOME}\\"},
        "contains": "größer",
        "https": {"server_name": NAME, "ca": "ca.pem"},
    }
    found = probe_of(tmp_path, http)
    assert found.https and found.https.ca == CA.pem
    assert found.as_dict() == {
        "port": 8080,
        "path": "/",
        **http,
        "status": ("200-299", 418),
        "https": {"server_name": NAME, "ca": found.https.fingerprint},
    }
    assert probe_of(tmp_path, {"https": VERIFIED}).https == found.https, "PEM text and a file are the same"


@pytest.mark.parametrize(
    "http",
    [
        {"method": "HEAD"},
        {"headers": {"Host": "www.example.com"}},
        {"contains": "ready"},
        {"status": "200-299"},
        {"https": {"verify": False}},
        {"https": VERIFIED},
    ],
)
def test_a_change_of_the_probe_needs_another_verification(tmp_path: Path, http: dict[str, Any]) -> None:
    digests = set()
    for each in ({}, http, {**http, "path": "/healthz"}):
        definition = load(tmp_path, each)
        digests.add(verify_digest(definition, definition.targets["local"]))
    assert len(digests) == 3


HEADER_VALUE = "1 to 256 printable ASCII characters, with single spaces between them"


@pytest.mark.parametrize(
    ("http", "text"),
    [
        (
            {"headers": {"Host": "a\r\nX: b"}},
            f'headers.Host: "a\\r\\nX: b" is not the value of a header (allowed: {HEADER_VALUE})',
        ),
        ({"headers": {"Host": "a\n"}}, f'headers.Host: "a\\n" is not the value of a header (allowed: {HEADER_VALUE})'),
        ({"headers": {"Host": " a"}}, f'headers.Host: " a" is not the value of a header (allowed: {HEADER_VALUE})'),
        ({"headers": {"Host": ""}}, f'headers.Host: "" is not the value of a header (allowed: {HEADER_VALUE})'),
        (
            {"headers": {"Host": "é"}},
            f'headers.Host: "é" is not the value of a header (allowed: {HEADER_VALUE})',
        ),
        ({"headers": {"Host": 8}}, 'headers.Host: 8 is read as the number 8; put it in quotes: "8"'),
        (
            {"headers": {"A B": "c"}},
            'headers."A B": "A B" is not the name of a header (allowed: letters, digits and -, at most 64 characters)',
        ),
        ({"headers": {"Connection": "x"}}, "headers.Connection: the probe itself decides about this header; remove it"),
        (
            {"headers": {"Transfer-encoding": "x"}},
            "headers.Transfer-encoding: the probe itself decides about this header; remove it",
        ),
        (
            {"headers": {"Host": "a", "host": "b"}},
            "headers.host: this header is the same as Host (allowed: each header once)",
        ),
        (
            {"method": "POST"},
            'method: "POST" is not a method of a probe (allowed: GET, HEAD)',
        ),
        (
            {"method": "HEAD", "contains": "x"},
            "contains: an answer to HEAD has no body; remove this key or set method: GET",
        ),
        (
            {"contains": "a\nb"},
            'contains: "a\\nb" is not a text of 1 to 256 characters '
            "(allowed: 1 to 256 characters without control characters)",
        ),
        (
            {"status": "299-200"},
            'status: "299-200" contains no status code (allowed: a range such as 200-299, from the lower code)',
        ),
        (
            {"status": [200, "2xx"]},
            'status[1]: "2xx" is not a status code (allowed: an integer from 100 to 599, or a range such as 200-299)',
        ),
        (
            {"https": {"ca": CA.pem}},
            "https.server_name: the key is missing, so a certificate for any name would pass (allowed: the host name "
            "in the service's certificate; verify: false accepts any certificate)",
        ),
        (
            {"https": {"server_name": "127.0.0.1"}},
            'https.server_name: "127.0.0.1" is not a host name (allowed: a lowercase host name such as '
            "shop.example.com, not an IP address)",
        ),
        (
            {"https": {"verify": False, "ca": CA.pem}},
            "https.ca: no certificate is verified if verify is false; remove one of these keys",
        ),
        (
            {"https": {"verify": "no", "server_name": NAME}},
            'https.verify: "no" is not true or false (allowed: true or false)',
        ),
    ],
)
def test_mistakes(tmp_path: Path, http: dict[str, Any], text: str) -> None:
    assert problem(tmp_path, http) == f"health.http.{text}"


@pytest.mark.parametrize("value", ["a" * 257, "a b" * 90])
def test_a_header_is_bounded(tmp_path: Path, value: str) -> None:
    assert "is not the value of a header" in problem(tmp_path, {"headers": {"X": value}})
    assert "headers" in problem(tmp_path, {"headers": {f"X-{number}": "x" for number in range(11)}})


def test_a_ca_must_be_certificates_beside_the_definition(tmp_path: Path) -> None:
    outside = tmp_path / "outside.pem"
    outside.write_text(CA.pem, encoding="ascii")
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "link.pem").symlink_to("../outside.pem")
    (folder / "empty.pem").write_text("", encoding="ascii")
    (folder / "large.pem").write_text(CA.pem + "x" * MAX_BYTES, encoding="ascii")
    (folder / "key.pem").write_text(CA.pem + CA.key_pem, encoding="ascii")
    (folder / "cut.pem").write_text(CA.pem + CA.pem[:-30], encoding="ascii")
    body = CA.pem.splitlines()[1]
    (folder / "broken.pem").write_text(CA.pem.replace(body, body[::-1]), encoding="ascii")
    (folder / "binary.pem").write_bytes(bytes(range(256)))
    os.mkfifo(folder / "fifo.pem")
    for name, text in {
        "../outside.pem": "names a file outside the definition's folder",
        str(outside): "names a file outside the definition's folder",
        "link.pem": "names a file outside the definition's folder",
        "missing.pem": "cannot be read: No such file or directory",
        ".": "is not a file",
        "fifo.pem": "is not a file",
        "empty.pem": "contains no complete PEM certificate",
        "binary.pem": "contains no complete PEM certificate",
        "large.pem": f"has more than {MAX_BYTES} bytes",
        "key.pem": "contains a private key",
        "cut.pem": "contains no complete PEM certificate",
        "broken.pem": "contains a certificate that cannot be read",
    }.items():
        found = problem(folder, {"https": {"server_name": NAME, "ca": name}})
        assert found.startswith(f"health.http.https.ca: {json.dumps(name)} {text}"), found
        assert "(allowed: " in found
    written = problem(folder, {"https": {"server_name": NAME, "ca": CA.key_pem}})
    assert written.startswith("health.http.https.ca: this text contains a private key")
    assert CA.key_pem.splitlines()[1] not in written


@settings(max_examples=50, deadline=None)
@given(text=st.lists(st.sampled_from([*CA.pem.splitlines(True), "\n", "-----", "x"])).map("".join) | st.text())
def test_a_pem_text_gives_certificates_or_a_reason(text: str) -> None:
    try:
        assert certificates_in(text).count("BEGIN CERTIFICATE") == text.count("-----BEGIN CERTIFICATE-----") > 0
    except ValueError as error:
        assert "(allowed: " in str(error)


@pytest.mark.parametrize(
    ("http", "text"),
    [
        ({"headers": {"Host": "x"}}, "headers: ... cannot send headers; remove this key or set probe: direct"),
        ({"contains": "x"}, "contains: ... cannot read the body; remove this key or set probe: direct"),
        ({"method": "HEAD"}, "method: ... cannot send another method than GET; remove this key or set probe: direct"),
        ({"https": VERIFIED}, "https: ... cannot verify the certificate; set verify: false or probe: direct"),
    ],
)
def test_what_a_target_group_cannot_do_is_refused_where_it_decides(
    tmp_path: Path, http: dict[str, Any], text: str
) -> None:
    decides = "probe: balancer lets the target group of target local decide, which"
    assert problem(tmp_path, http, BALANCER) == f"health.http.{text.replace('...', decides)}"
    load(tmp_path, http, AWS)
    own = {"health": {"http": {"port": 8080, "method": "GET", "https": {"verify": False}}}}
    load(tmp_path, http, {**BALANCER, **own})


def test_on_aws_the_health_must_fit_into_tags(tmp_path: Path) -> None:
    headers = {f"X-{number}": "x" * 256 for number in range(8)}
    assert "characters in the tags of an instance on target local (allowed: 2048;" in problem(
        tmp_path, {"headers": headers}, AWS
    )
    load(tmp_path, {"headers": headers}, QEMU)


NAMES = st.from_regex(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}", fullmatch=True)
VALUES = st.from_regex(r"[!-~]+( [!-~]+)*", fullmatch=True).filter(lambda text: len(text) <= 256)


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture], max_examples=10)
@given(headers=st.dictionaries(NAMES.map("X-".__add__).filter(lambda n: len(n) <= 64), VALUES, min_size=1, max_size=5))
def test_a_definition_s_headers_arrive_as_written(tmp_path: Path, headers: dict[str, str]) -> None:
    names = {name.lower(): name for name in headers}  # each once
    wanted = {name: headers[name] for name in names.values()}
    health = Health(http=probe_of(tmp_path, {"headers": wanted}), timeout=60.0)
    with http_server(tmp_path, None) as server:
        assert probe({8080: server.address}, health) is True
        received = server.requests[0][1]
    assert {name: received[name.lower()] for name in wanted} == wanted


def test_a_metric_has_the_same_headers_and_cas(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text(CA.pem, encoding="ascii")
    metric = {"url": "https://metrics.example.com/", "most": 1, "headers": {"Host": "a"}, "ca": "ca.pem"}
    canary = {"strategy": "canary", "canary": [{"instances": 1, "soak": "1m", "metric": metric}], "alarm": metric}
    fleet = load(tmp_path, {}, {**QEMU, "fleet": canary}).targets["local"].fleet
    assert fleet.alarm == fleet.canary[0].metric
    assert fleet.alarm and (fleet.alarm.headers, fleet.alarm.ca) == ((("Host", "a"),), CA.pem)
    summary = target_summary(load(tmp_path, {}, {**QEMU, "fleet": canary}).targets["local"])["fleet"]
    assert summary["alarm"]["ca"].startswith("sha256:") and summary["alarm"] == summary["canary"][0]["metric"]
    for changes, text in (
        ({"ca": "missing.pem"}, 'ca: "missing.pem" cannot be read: No such file or directory'),
        ({"headers": {"Connection": "x"}}, "headers.Connection: the probe itself decides about this header"),
        ({"headers": {"X": "a\nb"}}, 'headers.X: "a\\nb" is not the value of a header'),
        ({"url": "http://metrics.example.com/"}, "ca: no certificate is verified with a URL of http://"),
    ):
        wrong = {**QEMU, "fleet": {"alarm": {**metric, **changes}}}
        assert problem(tmp_path, {}, wrong).startswith(f"targets.local.fleet.alarm.{text}")
    command = {"command": ["./rate.sh"], "most": 1, "ca": "ca.pem"}
    (tmp_path / "rate.sh").write_text("", encoding="ascii")
    (tmp_path / "rate.sh").chmod(0o755)
    assert "url: the key is missing; ca requires it" in problem(tmp_path, {}, {**QEMU, "fleet": {"alarm": command}})
