# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import base64
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._inspection.filesystem import Entry
from ansible_collections.immutable.infra.plugins.plugin_utils._inspection.residue import residue_by_files
from ansible_collections.immutable.infra.plugins.plugin_utils._inspection.search import Hit, needle_forms, search_raw


def findings(path: str, kind: str = "file", content: bytes = b"content") -> list[str]:
    entry = Entry(inode=12, type=kind, mode=0o644, uid=0, gid=0, size=len(content))
    files = SimpleNamespace(entries={path: entry}, read=lambda paths: {path: content} if path in paths else {})
    return [str(finding) for finding in residue_by_files(files)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "kind", "what"),
    [
        ("/etc/ssh/ssh_host_ed25519_key", "file", "SSH host key"),
        ("/etc/machine-id", "file", "machine id"),
        ("/root/.ssh/authorized_keys", "file", "SSH authorized keys"),
        ("/home/ann/.ssh/id_ed25519", "file", "SSH private key"),
        ("/root/.bash_history", "file", "history"),
        ("/home/ann/.python_history", "file", "history"),
        ("/var/cache/apt/archives/hello_2.10_amd64.deb", "file", "package cache"),
        ("/var/lib/apt/lists/mirror.example.org_dists_bookworm_InRelease", "file", "package lists"),
        ("/root/.ansible", "dir", "Ansible's files"),
        ("/tmp/ansible-tmp-1", "dir", "Ansible's files"),
        ("/usr/lib/python3/dist-packages/ansible", "dir", "Ansible itself"),
        ("/usr/local/lib/python3.11/site-packages/ansible_core-2.19.4.dist-info", "dir", "Ansible itself"),
        ("/var/lib/cloud/instances/i-0123", "dir", "cloud-init's state"),
    ],
)
def test_residue_is_found_by_its_path(path: str, kind: str, what: str) -> None:
    assert findings(path, kind) == [f"{what}: {path}"]


@pytest.mark.parametrize(
    ("path", "kind", "content"),
    [
        ("/etc/machine-id", "file", b""),
        ("/etc/machine-id", "file", b"uninitialized\n"),
        ("/root/.ssh/authorized_keys", "file", b""),
        ("/home/ann/.ssh/id_ed25519.pub", "file", b"ssh-ed25519"),
        ("/var/lib/apt/lists/lock", "file", b"x"),
        ("/var/lib/apt/lists/partial", "dir", b""),
        ("/etc/ansible/facts.d/immutable.fact", "link", b"/run"),
        ("/srv/ansible", "dir", b""),
        ("/usr/share/doc/ssh_host_key", "file", b"x"),
    ],
)
def test_harmless_files_are_not_residue(path: str, kind: str, content: bytes) -> None:
    assert findings(path, kind, content) == []


@pytest.mark.parametrize("before", [b"", b"a", b"ab", b"abc", b"user:"])
@pytest.mark.parametrize("secret", [b"s3cret-value", b"\xfb\xff\xfe\xfb\xff\xfe\xfb\xff", b'quo"te and b\\slash'])
def test_a_secret_is_found_at_any_position_in_base64(before: bytes, secret: bytes) -> None:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = encode(before + secret + b":after it")
        assert any(form in text for _name, form in needle_forms({"s": secret}))


def test_a_secret_is_found_escaped_in_json_and_as_an_indented_line() -> None:
    secret = 'line "one" ä\nthe longest line of this key\nend\n'
    searched = [form for _name, form in needle_forms({"s": secret.encode()})]
    for text in (
        json.dumps({"k": secret}),
        json.dumps({"k": secret}, ensure_ascii=False),
        "  line\n  the longest line of this key\n",
    ):
        assert any(form in text.encode() for form in searched)


def test_short_secrets_are_not_searched_for() -> None:
    assert needle_forms({"s": b"12345", "empty": b"", "blank": b"  \n "}) == []


def test_the_search_crosses_chunks_skips_holes_and_limits_the_hits(tmp_path: Path) -> None:
    raw = tmp_path / "disk.raw"
    with raw.open("wb") as file:
        file.truncate(64 * 1024**3)  # a hole that is too large to read
        for offset in (0, 4096 - 3, 32 * 1024**3, 64 * 1024**3 - 6):
            file.seek(offset)
            file.write(b"needle")
        file.seek(1024**3)
        file.write(b"often!" * 100)
    hits = search_raw(raw, [b"needle", b"absent", b"often!"])
    assert hits[:4] == [Hit(0, 0), Hit(0, 4093), Hit(0, 32 * 1024**3), Hit(0, 64 * 1024**3 - 6)]
    assert [hit.needle for hit in hits[4:]] == [2] * 10


def test_nothing_is_found_in_an_empty_file_or_without_needles(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert search_raw(tmp_path / "empty", [b"needle"]) == []
    (tmp_path / "hole").write_bytes(b"x")
    assert search_raw(tmp_path / "hole", []) == []
