# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What gives the file systems in memory of a new container to their users. Here folders take their place."""

from __future__ import annotations

import json
import os

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._providers import container_tmpfs


def state(tmp_path, *rows):
    (tmp_path / "root/var/cache/shop").mkdir(parents=True, exist_ok=True)
    (tmp_path / "config.json").write_text(json.dumps({"root": {"path": "root"}}))
    return {"bundle": str(tmp_path), "annotations": {container_tmpfs.ANNOTATION: container_tmpfs.encoded(rows)}}


def test_a_folder_gets_its_mode_and_owner(tmp_path):
    container_tmpfs.main(state(tmp_path, ("/var/cache/shop", os.geteuid(), os.getegid(), "0710")))
    status = (tmp_path / "root/var/cache/shop").stat()
    assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o710, os.geteuid(), os.getegid())


def test_a_link_in_the_image_leads_nowhere(tmp_path):
    (tmp_path / "outside").mkdir(mode=0o700)
    found = state(tmp_path, ("/var/link", os.geteuid(), os.getegid(), "0777"))
    (tmp_path / "root/var/link").symlink_to(tmp_path / "outside")
    with pytest.raises(OSError, match="link"):
        container_tmpfs.main(found)
    found = state(tmp_path, ("/var/../../outside", os.geteuid(), os.getegid(), "0777"))
    with pytest.raises(ValueError, match="outside"):
        container_tmpfs.main(found)
    assert (tmp_path / "outside").stat().st_mode & 0o777 == 0o700
