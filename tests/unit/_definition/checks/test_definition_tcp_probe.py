# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""TCP probes: what they send and expect, and where a connection alone proves nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import DefinitionError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.digest import verify_digest
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.load import load_definition
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import Definition
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.probes import TcpProbe
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

TEXT = """\
schema: 1
service: shop
version: "1"
image: {{base: {{debian: bookworm}}, provision: {{playbook: site.yml}}}}
health: {health}
targets:
  local: {target}
"""
ON_AWS = (
    '{provider: aws, region: eu-west-1, base: {ami: ami-01234567, python: "3.11"}, '
    "network: {subnets: {eu-west-1a: subnet-01234567}}, "
    'traffic: {target_groups: ["arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/shop/01234567"]}'
)
QEMU, AWS, BALANCER = "{provider: qemu}", ON_AWS + "}", ON_AWS + ", probe: balancer}"


def load(folder: Path, health: str, target: str = QEMU) -> Definition:
    (folder / "site.yml").write_text("[]\n", encoding="utf-8")
    (folder / "immutable.yml").write_text(TEXT.format(health=health, target=target), encoding="utf-8")
    return load_definition(folder)


def problem(folder: Path, health: str, target: str = QEMU) -> str:
    with pytest.raises(DefinitionError) as caught:
        load(folder, health, target)
    return caught.value.message


def test_on_qemu_a_connection_alone_is_refused(tmp_path: Path) -> None:
    assert problem(tmp_path, "{tcp: {port: 5432}}") == (
        "immutable.yml:5: health.tcp: a connection proves nothing on target local: the network of qemu accepts it "
        "before the guest does, so a service that is down would pass; add expect with bytes that the service answers, "
        'and send with bytes that it needs first (for SSH, expect: "SSH-2.0"; for other services see how-to/tcp-probes)'
    )
    own = "{provider: qemu, health: {tcp: {port: 5432}}}"
    assert problem(tmp_path, '{tcp: {port: 22, expect: "SSH-2.0"}}', own).startswith("immutable.yml:7: targets.local.")


@pytest.mark.parametrize(
    ("health", "target"),
    [
        ("{tcp: {port: 22, expect: SSH-2.0}}", QEMU),
        ("{tcp: {port: 22}}", "{provider: qemu, health: {tcp: {port: 22, expect: SSH-2.0}}}"),
        ("{tcp: {port: 22}, http: {port: 80}}", QEMU),
        ("{tcp: {port: 22}}", "{provider: qemu, health: {http: {port: 80}}}"),
        ("{tcp: {port: 22}}", AWS),
        ("{tcp: {port: 22, expect: SSH-2.0}}", AWS),
        ("{tcp: {port: 22}}", BALANCER),
        ("{tcp: {port: 22}}", "{provider: simulated}"),
        ("{tcp: {port: 22, expect: SSH-2.0}}", "{provider: simulated}"),
    ],
)
def test_these_are_allowed(tmp_path: Path, health: str, target: str) -> None:
    load(tmp_path, health, target)


def test_a_target_group_cannot_exchange_bytes(tmp_path: Path) -> None:
    assert problem(tmp_path, '{tcp: {port: 22, expect: "SSH-2.0"}}', BALANCER) == (
        "immutable.yml:5: health.tcp.expect: probe: balancer lets the target group of target local decide, which "
        "cannot send or expect bytes; remove send and expect, or set probe: direct"
    )


def test_send_needs_expect(tmp_path: Path) -> None:
    assert "health.tcp.expect: the key is missing; send requires it" in problem(tmp_path, "{tcp: {port: 1, send: x}}")


@pytest.mark.parametrize(
    ("written", "octets"),
    [
        ("SSH-2.0", b"SSH-2.0"),
        (r"PING\r\n", b"PING\r\n"),
        (r"'\x00\x16\x2F\0\t\\n'", b"\0\x16/\0\t\\n"),
        (r'"\x00\xd2\r\n"', b"\0\xd2\r\n"),
        (r'"\\x00\\xd2\\r"', b"\0\xd2\r"),
        ('"' + "a" * 256 + '"', b"a" * 256),
    ],
)
def test_an_escape_means_the_same_in_any_quotes(tmp_path: Path, written: str, octets: bytes) -> None:
    definition = load(tmp_path, f"{{tcp: {{port: 1, send: {written}, expect: {written}}}}}")
    assert definition.target("local").health.tcp == TcpProbe(1, octets.hex(), octets.hex())


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture], max_examples=30)
@given(octets=st.binary(min_size=1, max_size=256))
@example(octets=b"\\")
@example(octets=b"\\x41")
def test_any_bytes_can_be_written(tmp_path: Path, octets: bytes) -> None:
    written = "".join(f"\\x{octet:02x}" for octet in octets)
    # In double quotes, YAML itself reads the escapes, and a backslash begins one of ours.
    by_yaml = written.replace("\\x5c", "\\x5c\\x5c")
    for text in (f"'{written}'", f'"{by_yaml}"', json.dumps(written)):
        definition = load(tmp_path, f"{{tcp: {{port: 1, expect: {text}}}}}")
        assert definition.target("local").health.tcp == TcpProbe(1, expect=octets.hex())


@pytest.mark.parametrize("written", ['""', r"'\x0'", r"'\q'", r"'a\'", '"€"', '"' + "a" * 257 + '"', "[]"])
def test_what_is_no_text_of_bytes_is_refused(tmp_path: Path, written: str) -> None:
    assert "allowed: 1 to 256 bytes as text" in problem(tmp_path, f"{{tcp: {{port: 1, expect: {written}}}}}")


def test_a_candidate_is_verified_again_if_the_exchange_changes(tmp_path: Path) -> None:
    def digest(tcp: str) -> Any:
        definition = load(tmp_path, f"{{http: {{port: 80}}, tcp: {tcp}}}")
        return verify_digest(definition, definition.target("local"))

    probes = ("{port: 22}", "{port: 22, expect: a}", "{port: 22, expect: b}", "{port: 22, expect: b, send: a}")
    assert len({digest(probe) for probe in probes}) == len(probes)
