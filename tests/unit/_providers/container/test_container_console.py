# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Logs of podman, and the evidence in them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container import console
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.kept_evidence import PROVEN

CAPTURED = Path(__file__).parent / "captured"
TIME = b"2026-11-29T23:24:40.959035551+00:00"
NONCE = "right-nonce"
BOOT = "12@345"


def line(text, stream=b"stdout", tag=b"F"):
    return b" ".join([TIME, stream, tag, text]) + b"\n"


def seal(nonce=NONCE, digest="ab"):
    fields = {"digest": f"sha256:{digest}", "nonce": nonce, "host_key": "", "shell": "off"}
    return b"IMMUTABLE-SEALED " + json.dumps(fields).encode()


def evidence(tmp_path, *lines, boot=BOOT, reader=None):
    (tmp_path / console.CONSOLE).write_bytes(b"".join(lines))
    return (reader or console.BootEvidence()).of(tmp_path, boot, NONCE)


def test_a_real_log_is_read_in_pieces_of_any_size():
    data = (CAPTURED / "systemd-console.log").read_bytes()
    whole = console.LogText().feed(data)
    assert whole.startswith(b"systemd 252.39-1~deb12u2 running in system mode")
    assert TIME[:10] not in whole
    for size in (1, 7, 100):
        log = console.LogText()
        assert b"".join(log.feed(data[at : at + size]) for at in range(0, len(data), size)) == whole


def test_the_seal_is_found_among_other_lines(tmp_path):
    found = evidence(tmp_path, line(b"starting"), line(seal() + b"\r"), line(seal(digest="cd")))
    assert found.digest == "sha256:ab"


def test_a_line_in_parts_is_one_line(tmp_path):
    text = seal()
    found = evidence(tmp_path, line(text[:40], tag=b"P"), line(text[40:]))
    assert found.nonce == NONCE


@pytest.mark.parametrize(
    "lines",
    [
        [line(b"echo " + seal())],  # within another line
        [line(b"x", tag=b"P"), line(seal())],  # the end of a longer line
        [seal() + b"\n"],  # not written by the engine
        [line(seal()[:-1])],
    ],
)
def test_what_is_no_line_of_its_own_is_no_evidence(tmp_path, lines):
    assert evidence(tmp_path, *lines) is None


def test_a_forged_line_does_not_have_the_nonce(tmp_path):
    found = evidence(tmp_path, line(seal(nonce="guessed")), line(seal(nonce="again")))
    assert found.nonce == "guessed"  # which the health check refuses
    found = evidence(tmp_path, line(seal(nonce="guessed", digest="ee")), line(seal()))
    assert (found.nonce, found.digest) == (NONCE, "sha256:ab")


def test_evidence_is_kept_for_its_boot_only(tmp_path):
    assert evidence(tmp_path, line(seal()))
    assert evidence(tmp_path) is not None
    assert evidence(tmp_path, boot="12@346") is None
    (tmp_path / PROVEN).write_text("{")
    assert evidence(tmp_path) is None


def test_a_log_that_the_engine_replaced_is_read_from_its_beginning(tmp_path):
    reader = console.BootEvidence()
    assert evidence(tmp_path, line(b"x" * 1000), reader=reader) is None
    new = tmp_path / "new"
    new.write_bytes(line(seal()))
    new.replace(tmp_path / console.CONSOLE)
    assert reader.of(tmp_path, BOOT, NONCE).nonce == NONCE


def test_a_log_without_line_ends_stays_small():
    log = console.LogText()
    for _piece in range(10):
        assert log.feed(b"x" * 100000) == b""
    assert len(log._rest) <= 65536
    assert log.feed(b"\n" + line(b"after")) == b"(left out)\nafter\n"


def test_a_link_in_place_of_the_log_is_not_followed(tmp_path):
    (tmp_path / "elsewhere").write_bytes(line(seal()))
    (tmp_path / console.CONSOLE).symlink_to(tmp_path / "elsewhere")
    assert console.BootEvidence().of(tmp_path, BOOT, NONCE) is None
