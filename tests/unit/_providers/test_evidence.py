# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Only a short line that begins with the mark is evidence, and only the first one with the nonce of the launch."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.evidence import (
    MAX_LINE,
    EvidenceReader,
    checked_evidence,
    parse_evidence,
)
from hypothesis import given
from hypothesis import strategies as st

SEALED = (
    'IMMUTABLE-SEALED {"digest":"sha256:aaaa","nonce":"n1","host_key":"ssh-ed25519 AAAAC3Nza","shell":"restricted"}'
)
CAPTURED = (
    "SeaBIOS (version 1.16.2-debian-1.16.2-1)\r\n[    0.000000] tsc: Unable to calibrate against PIT\r\n\r\n"
    f"IMMUTABLE-LAUNCHED\r\n\r\n{SEALED}\r\n"
)
FORGED = SEALED.replace("AAAAC3Nza", "AAAAEvil")
# What a kernel of Debian 12 prints if an unprivileged user mounts a file system under such a name.
KERNEL = "[   41.225317] overlay: Bad value for 'upperdir'"


def key_of(console: str) -> str | None:
    evidence = parse_evidence(console, "n1")
    return evidence and evidence.host_key


def test_evidence_is_read_from_a_captured_console() -> None:
    evidence = parse_evidence(CAPTURED, "n1")
    assert evidence is not None
    assert (evidence.digest, evidence.nonce, evidence.host_key, evidence.shell) == (
        "sha256:aaaa",
        "n1",
        "ssh-ed25519 AAAAC3Nza",
        "restricted",
    )


def test_evidence_of_a_host_without_ssh_and_with_spaces_is_read() -> None:
    fields = {"digest": "sha256:" + "5f" * 32, "nonce": "ab" * 16, "host_key": "", "shell": "off"}
    assert parse_evidence(f"IMMUTABLE-SEALED {json.dumps(fields)}", "ab" * 16) == checked_evidence(fields)


@pytest.mark.parametrize(
    "console",
    [
        "",
        "IMMUTABLE-SEALED",
        "IMMUTABLE-SEALED {",
        'IMMUTABLE-SEALED {"digest": 1}',
        "IMMUTABLE-SEALED []",
        "IMMUTABLE-SEALED " + "[" * 100_000,
        "IMMUTABLE-SEALED " + '{"digest":' * 100_000,
        "IMMUTABLE-SEALED " + "9" * 10_000,
        SEALED[:-1] + ',"more":{"digest":"sha256:aaaa"}}',
        SEALED.replace('"n1"', '["n1"]'),
        SEALED.replace("AAAAC3Nza", "AAAAC3Nza" + "A" * MAX_LINE),
        SEALED.replace("AAAAC3Nza", "AAAAC3Nza\\nssh-ed25519 AAAA"),
        SEALED.replace("n1", "n1 {{ lookup('pipe', 'id') }}"),
        SEALED.replace("sha256:aaaa", "aaaa"),
        SEALED.replace("restricted", "open"),
        SEALED.replace('"nonce":"n1"', '"nonce":"n0","nonce":"n1"'),
        CAPTURED[:-20],
    ],
)
def test_anything_else_is_no_evidence(console: str) -> None:
    assert parse_evidence(console, "n1") is None
    assert key_of(f"{console}\n{SEALED}\n") == "ssh-ed25519 AAAAC3Nza", "later evidence counts"


@pytest.mark.parametrize(
    "prefix",
    [
        KERNEL + ": ",
        KERNEL + "\r",
        KERNEL + "\x0b",
        KERNEL + "\x0c",
        KERNEL + "\x85",
        KERNEL + "\u2028",
        " ",
        "\r",
        "\0",
    ],
)
def test_a_line_that_does_not_begin_with_the_mark_is_no_evidence(prefix: str) -> None:
    assert key_of(f"booted\r\n{prefix}{FORGED}\r\n") is None
    assert key_of(f"booted\r\n{prefix}{FORGED}\r\n\r\n{SEALED}\r\n") == "ssh-ed25519 AAAAC3Nza"


def test_the_first_evidence_of_a_boot_counts() -> None:
    assert key_of(f"{SEALED}\r\n{FORGED}\r\n") == "ssh-ed25519 AAAAC3Nza"


def test_only_root_knows_the_nonce_so_another_line_does_not_come_first() -> None:
    guessed = FORGED.replace("n1", "n0")
    assert key_of(f"{guessed}\n{SEALED}\n") == "ssh-ed25519 AAAAC3Nza"
    assert key_of(f"{guessed}\n") == "ssh-ed25519 AAAAEvil", "the caller refuses the nonce"


def test_one_of_three_lines_survives_a_kernel_that_tears_the_others() -> None:
    torn = f"\r\n{SEALED[:40]}{KERNEL}\r\n{SEALED[40:]}\r\n"
    assert key_of(f"{torn}{torn}\r\n{SEALED}\r\n") == "ssh-ed25519 AAAAC3Nza"


@given(st.binary(max_size=400), st.lists(st.integers(0, 900), max_size=6))
def test_the_evidence_does_not_depend_on_the_pieces_in_which_output_arrives(noise: bytes, cuts: list[int]) -> None:
    output = noise + b"\n" + CAPTURED.encode() + noise
    reader, ends = EvidenceReader("n1"), sorted({0, *(cut for cut in cuts if cut < len(output)), len(output)})
    for start, end in zip(ends, ends[1:], strict=False):
        reader.feed(output[start:end])
    assert reader.evidence == parse_evidence(output, "n1")
    assert reader.evidence is not None


@given(st.binary(max_size=4096))
def test_no_output_is_an_error(noise: bytes) -> None:
    for output in (noise, b"IMMUTABLE-SEALED " + noise):
        found = parse_evidence(output, "n1")
        assert found is None or checked_evidence(asdict(found)) == found


def test_a_line_without_an_end_takes_no_memory() -> None:
    reader = EvidenceReader("n1")
    for _piece in range(100):
        reader.feed(b"x" * 65536)
    assert len(reader._rest) <= MAX_LINE + 1
