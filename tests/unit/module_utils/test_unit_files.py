# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.module_utils._unit_files import (
    MAX_BYTES,
    declared_binds,
    programs_of_unit,
    read_unit,
)


def write(root: Path, path: str, text: str) -> None:
    full = root / path.lstrip("/")
    full.parent.mkdir(parents=True, exist_ok=True)
    full.write_text(text)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("/usr/share/doc", {("/usr/share/doc", "/usr/share/doc")}),
        ("/usr/share/doc:/srv", {("/usr/share/doc", "/srv")}),
        ("-/usr/share/doc:/srv:rbind /etc/a", {("/usr/share/doc", "/srv"), ("/etc/a", "/etc/a")}),
        ("/opt/%p:/opt/%i/%n \\\n  /opt/b", {("/opt/shop", "/opt/1/shop@1.service"), ("/opt/b", "/opt/b")}),
        ("%S/x:%E/x", {("/var/lib/x", "/etc/x")}),
        ("%x", set()),
        ("", set()),
    ],
)
def test_the_binds_of_a_unit_are_read(tmp_path: Path, value: str, expected: set[tuple[str, str]]) -> None:
    write(tmp_path, "/usr/lib/systemd/system/shop@.service", f"[Service]\nBindReadOnlyPaths = {value}\n")
    assert declared_binds("shop@1.service", str(tmp_path)) == expected
    assert declared_binds("other.service", str(tmp_path)) == set()


@pytest.mark.parametrize(
    "path",
    [
        "/etc/systemd/system/web-shop.service",
        "/etc/systemd/system/web-shop.service.d/10-a.conf",
        "/lib/systemd/system/service.d/10-a.conf",
        "/usr/lib/systemd/system/web-.service.d/10-a.conf",
    ],
)
def test_drop_ins_of_the_image_count(tmp_path: Path, path: str) -> None:
    write(tmp_path, path, "[Unit]\nBindPaths=/not:/this\n[Service]\n# BindPaths=/nor:/that\nBindPaths=/a:/b\n")
    assert declared_binds("web-shop.service", str(tmp_path)) == {("/a", "/b")}


def test_units_in_run_are_not_part_of_the_image(tmp_path: Path) -> None:
    write(tmp_path, "/run/systemd/system/shop.service.d/a.conf", "[Service]\nBindPaths=/a:/b\n")
    assert declared_binds("shop.service", str(tmp_path)) == set()


def test_only_units_that_order_and_mount_have_no_programs() -> None:
    assert programs_of_unit("[Unit]\nAfter=a\n[Mount]\nWhat=/dev/vdb\nWhere=/data\n[Install]\nWantedBy=b\n") == []
    assert programs_of_unit("[Unit]\nAfter=a\n[Service]\nExecStart=/bin/sh\n") == ["ExecStart=/bin/sh"]
    assert programs_of_unit("[Socket]\nExecStartPre=\\\n/bin/sh\n") == ["ExecStartPre=/bin/sh"]


def test_a_unit_file_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "long").write_bytes(b"#" * (MAX_BYTES + 1))
    assert read_unit(str(tmp_path / "long")) is None
    assert read_unit(str(tmp_path / "missing")) is None
