# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whatever a package calls its folders and links, a boot recreates them, or the image is refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import hypothesis.strategies as st
import pytest
from ansible_collections.immutable.infra.plugins.module_utils._mounts import unescaped
from ansible_collections.immutable.infra.plugins.module_utils._seal import Spec, seal
from ansible_collections.immutable.infra.plugins.module_utils._seal_changes import Refused
from ansible_collections.immutable.infra.plugins.module_utils._seal_text import fstab_field
from hypothesis import given, settings

TMPFILES = shutil.which("systemd-tmpfiles")
PROCESSES = 40  # examples for which a program is started
ANY = st.binary(min_size=1, max_size=12) | st.text(" %\\\"'#-x2nt0", min_size=1, max_size=8).map(str.encode)
NAMES = ANY.map(lambda name: os.fsdecode(name.replace(b"/", b"|").replace(b"\0", b"0"))).filter(
    lambda name: name not in (".", "..")
)


def tree(folder: Path) -> dict[bytes, str]:
    """Each folder and link below a folder, with the link's target."""
    return {
        os.fsencode(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else ""
        for path in folder.rglob("*")
    }


@pytest.mark.skipif(TMPFILES is None, reason="needs systemd-tmpfiles")
@settings(max_examples=PROCESSES)
@given(st.lists(NAMES, max_size=8, unique=True), st.lists(NAMES, max_size=8, unique=True))
def test_a_boot_recreates_any_name_or_the_image_is_refused(folders: list[str], links: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        writable = root / "srv/x"
        for folder in folders:
            (writable / "folders" / folder / "in").mkdir(parents=True)
        (writable / "links").mkdir(parents=True)
        for link in links:
            (writable / "links" / link).symlink_to(links[0])
        before = tree(writable)
        broken = any(end in os.fsdecode(path) for path in before for end in "\n\r")
        try:
            seal(name, [], Spec("shop", "1", "sha256:abc", writable=("/srv/x",)))
        except Refused:
            assert broken
            return
        assert not broken
        shutil.rmtree(writable)
        writable.mkdir()
        done = subprocess.run([str(TMPFILES), "--create", f"--root={name}"], capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
        assert tree(writable) == before


@given(NAMES)
def test_a_field_of_fstab_means_what_was_given(name: str) -> None:
    field = fstab_field(f"/{name}")
    assert unescaped(field) == f"/{name}"
    assert not set(" \t\n\r") & set(field)
