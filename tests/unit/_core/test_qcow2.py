# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.qcow2 import MAGIC, named_file, why_refused
from ansible_collections.immutable.infra.tests.support.disks import BACKING_FILE, DATA_FILE, create_disk
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.skipif(not shutil.which("qemu-img"), reason="needs qemu-img")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ([], None),
        (["-o", "compat=0.10"], None),
        (["-o", "lazy_refcounts=on"], None),
        (BACKING_FILE, "backing file"),
        (["-o", "compat=0.10", *BACKING_FILE], "backing file"),
        (DATA_FILE, "data file"),
        (["-o", "data_file=DATA,data_file_raw=on"], "data file"),
    ],
)
def test_what_a_header_names(tmp_path: Path, options: Sequence[str], named: str | None) -> None:
    disk = tmp_path / "disk.qcow2"
    create_disk(disk, options)
    assert named_file(disk) == named
    refused = why_refused(disk)
    assert refused is None if named is None else refused is not None and f"names a {named}" in refused


@pytest.mark.parametrize("kind", ["raw", "vmdk", "qcow", "vdi", "qed"])
def test_every_other_format_is_refused(tmp_path: Path, kind: str) -> None:
    disk = tmp_path / "disk"
    create_disk(disk, kind=kind)
    assert why_refused(disk)


@given(st.binary(max_size=120), st.booleans())
def test_no_content_of_a_file_breaks_the_check(
    tmp_path_factory: pytest.TempPathFactory, rest: bytes, is_qcow: bool
) -> None:
    disk = tmp_path_factory.getbasetemp() / "any-content"
    disk.write_bytes((MAGIC if is_qcow else b"") + rest)
    assert named_file(disk) in (None, "backing file", "data file")
    assert why_refused(disk) is None or isinstance(why_refused(disk), str)
