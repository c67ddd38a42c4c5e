# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An instance is probed as it was launched, also by HTTPS: its tag has the fingerprint of the CAs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.probes import Health, HttpProbe, Https
from ansible_collections.immutable.infra.plugins.plugin_utils._health.prober import (
    NetworkProber,
    health_of,
    health_tag,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import Instance
from ansible_collections.immutable.infra.tests.support.certificates import NAME, http_server, issue

PLAIN = Health(http=HttpProbe(8080, "/healthz"))
OLD_CA, NEW_CA = issue("Old CA", ca=True), issue("New CA", ca=True)
RICH = Health(
    http=HttpProbe(
        8443,
        "/ready",
        ("200-299", 418),
        headers=(("Host", "www.example.com"), ("X-A", "b c")),
        contains="größer",
        https=Https(NAME, OLD_CA.pem),
    )
)


def secured(ca: str, **fields: Any) -> Health:
    return Health(http=HttpProbe(8443, https=Https(NAME, ca), **fields), timeout=30.0)


def instance(tag: str, **fields: Any) -> Instance:
    given = {"image": "sha256:1", "launch": "abc", "state": "running", "purpose": "fleet", "nonce": "n", **fields}
    return Instance(id="i", fleet="f", slot=0, created=0.0, tags={"health": tag}, **given)


def test_a_tag_keeps_everything_but_the_certificates() -> None:
    tag = health_tag(RICH)
    assert "CERTIFICATE" not in tag and len(tag) < 2048
    assert health_of(instance(tag), RICH) == RICH
    assert health_of(instance(tag), PLAIN, lambda _launch: OLD_CA.pem) == RICH


def test_cas_that_nobody_knows_leave_the_decision_to_the_definition() -> None:
    tag = health_tag(RICH)
    assert health_of(instance(tag), PLAIN) == PLAIN
    assert health_of(instance(tag), secured(NEW_CA.pem), lambda _launch: NEW_CA.pem) == secured(NEW_CA.pem)


def test_hosts_of_both_cas_are_probed_while_a_ca_is_replaced(tmp_path: Path) -> None:
    asked = []

    def authorities(launch: str) -> str:
        asked.append(launch)
        return {"old": OLD_CA.pem}.get(launch, "")

    old = issue("old", OLD_CA, names=[NAME])
    new = issue("new", NEW_CA, names=[NAME])
    with http_server(tmp_path, old) as first, http_server(tmp_path, new) as second:
        launched = {"old": (first, OLD_CA), "new": (second, NEW_CA)}
        hosts = [
            instance(health_tag(secured(ca.pem)), launch=name, endpoints={8443: server.address})
            for name, (server, ca) in launched.items()
        ]
        for default in (secured(NEW_CA.pem), PLAIN):
            prober = NetworkProber(default, authorities=authorities)
            assert prober(hosts[:1]) == prober(hosts[:1]) == {"i": True}
        assert asked == ["old", "old"], "once for each prober"
        assert NetworkProber(secured(NEW_CA.pem))(hosts[1:]) == {"i": True}
        # A host does not choose its CA: this one claims the old one, and has the new one's certificate.
        liar = instance(health_tag(secured(OLD_CA.pem)), launch="old", endpoints={8443: second.address})
        assert "not accepted" in str(prober([liar])["i"])


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "DELETE"},
        {"headers": {"Host": "a\r\nX: b"}},
        {"headers": {"Transfer-Encoding": "chunked"}},
        {"headers": ["Host", "a"]},
        {"headers": {"Host": 1}},
        {"contains": "x" * 257},
        {"contains": 1},
        {"status": ["2xx"]},
        {"https": {}},
        {"https": {"server_name": "a b"}},
        {"https": {"ca": "sha256:00"}},
        {"https": {"verify": "no", "server_name": NAME}},
        {"https": {"verify": False, "unknown": 1}},
        {"https": []},
    ],
)
def test_a_tag_that_no_definition_writes_is_ignored(changes: dict[str, Any]) -> None:
    fields = json.loads(health_tag(PLAIN))
    assert health_of(instance(json.dumps(fields)), RICH) == PLAIN
    fields["http"].update(changes)
    assert health_of(instance(json.dumps(fields)), RICH) == RICH
