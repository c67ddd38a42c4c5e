# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The packages of an RPM database. ``captured/rpmdb.sqlite.gz`` is what RPM 4.18 wrote for two small packages."""

from __future__ import annotations

import gzip
import json
import sqlite3
import struct
from collections.abc import Iterable
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ImageError
from ansible_collections.immutable.infra.plugins.plugin_utils._inspection import rpm
from ansible_collections.immutable.infra.plugins.plugin_utils._inspection.filesystem import FILE, Entry
from ansible_collections.immutable.infra.plugins.plugin_utils._inspection.rpm import RpmPackage, read_packages
from ansible_collections.immutable.infra.plugins.plugin_utils._inspection.sbom import make_sbom

CAPTURED = Path(__file__).parent / "captured/rpmdb.sqlite.gz"
DATA = RpmPackage(
    name="shop-data",
    version="1.4.2",
    release="3.el9",
    arch="noarch",
    vendor="Example Vendor",
    license="MIT",
    source="shop-data-1.4.2-3.el9.src.rpm",
)
TOOLS = RpmPackage(
    name="shop-tools",
    version="1.4.2",
    release="3.el9",
    epoch=2,
    arch="noarch",
    vendor="Example Vendor",
    license="GPL-3.0-or-later",
    source="shop-tools-1.4.2-3.el9.src.rpm",
)


@pytest.fixture(scope="module")
def database() -> bytes:
    return gzip.decompress(CAPTURED.read_bytes())


class Tree:
    """Files in memory."""

    def __init__(self, contents: dict[str, bytes]) -> None:
        self.contents = contents
        self.entries = {
            path: Entry(inode=1, type=FILE, mode=0o644, uid=0, gid=0, size=len(data)) for path, data in contents.items()
        }

    def read(self, paths: Iterable[str]) -> dict[str, bytes]:
        return {path: self.contents[path] for path in paths if path in self.contents}


def header(tags: dict[int, str]) -> bytes:
    """A header as RPM writes it."""
    entries, data = b"", b""
    for tag, text in tags.items():
        entries += numbers(tag, 6, len(data), 1)
        data += text.encode() + b"\0"
    return numbers(len(tags), len(data)) + entries + data


def numbers(*values: int) -> bytes:
    return struct.pack(f">{len(values)}I", *values)


def test_the_packages_of_a_real_database_are_read(database: bytes) -> None:
    assert read_packages(database) == [DATA, TOOLS]


def test_what_is_only_in_the_log_is_read_too(database: bytes, tmp_path: Path) -> None:
    path = tmp_path / "db"
    path.write_bytes(database)
    writer = sqlite3.connect(path)
    added = header({rpm.NAME: "late", rpm.VERSION: "1", rpm.RELEASE: "2"})
    key = header({rpm.NAME: "gpg-pubkey", rpm.VERSION: "1", rpm.RELEASE: "2"})
    writer.executemany("INSERT INTO Packages (blob) VALUES (?)", [(added,), (key,)])
    writer.commit()
    main, log = path.read_bytes(), path.with_name("db-wal").read_bytes()
    writer.close()
    assert [package.name for package in read_packages(main)] == ["shop-data", "shop-tools"]
    assert [package.name for package in read_packages(main, log)] == ["late", "shop-data", "shop-tools"]


@pytest.mark.parametrize("path", rpm.DATABASES)
def test_the_sbom_lists_the_packages(database: bytes, path: str) -> None:
    release = b'ID="amzn"\nVERSION_ID="2023"\n'
    sbom = json.loads(make_sbom(Tree({path: database, "/usr/lib/os-release": release}), "sha256:ab", "shop", "1"))
    found = {component["name"]: component for component in sbom["components"]}
    assert found["shop-tools"]["version"] == "2:1.4.2-3.el9"
    assert found["shop-tools"]["purl"] == (
        "pkg:rpm/amzn/shop-tools@1.4.2-3.el9?arch=noarch&distro=amzn-2023&epoch=2&upstream="
        "shop-tools-1.4.2-3.el9.src.rpm"
    )
    assert found["shop-data"]["licenses"] == [{"license": {"name": "MIT"}}]
    assert found["shop-data"]["supplier"] == {"name": "Example Vendor"}


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"\0\0\0\1",
        numbers(1 << 30, 8),
        numbers(*(1, 4, rpm.NAME, 6, 1 << 31, 1)) + b"a\0bc",
        header({rpm.VERSION: "1"}),
        header({rpm.NAME: "x" * 5000, rpm.VERSION: "1", rpm.RELEASE: "1"}),
    ],
)
def test_a_damaged_header_is_one_clear_error(database: bytes, damaged: bytes, tmp_path: Path) -> None:
    path = tmp_path / "db"
    path.write_bytes(database)
    writer = sqlite3.connect(path)
    writer.execute("INSERT INTO Packages (blob) VALUES (?)", (damaged,))
    writer.commit()
    writer.close()
    with pytest.raises(ImageError, match="cannot read the RPM database of the image: "):
        read_packages(path.read_bytes())


def test_no_database_makes_the_controller_work_without_end(
    database: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ImageError, match="cannot read the RPM database of the image"):
        read_packages(b"no database")
    path = tmp_path / "db"
    endless = sqlite3.connect(path)
    endless.execute(
        "CREATE VIEW Packages AS WITH RECURSIVE n(blob) AS (SELECT 1 UNION ALL SELECT 1 FROM n) "
        "SELECT blob FROM n WHERE blob > 1"
    )
    endless.close()
    monkeypatch.setattr(rpm, "MAX_STEPS", 2)
    with pytest.raises(ImageError, match="interrupted"):
        read_packages(path.read_bytes())
    monkeypatch.setattr(rpm, "MAX_DATABASE", 1000)
    with pytest.raises(ImageError, match="more than 1000 bytes"):
        read_packages(database)
    monkeypatch.setattr(rpm, "MAX_PACKAGES", 1)
    monkeypatch.setattr(rpm, "MAX_DATABASE", 1 << 30)
    monkeypatch.setattr(rpm, "MAX_STEPS", 2000)
    with pytest.raises(ImageError, match="more than 1 packages"):
        read_packages(database)
