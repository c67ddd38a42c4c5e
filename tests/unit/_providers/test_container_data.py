# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The data volumes that an image's artifact lists, from the manifest to the mounts."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container_data import (
    DataMount,
    artifact_data,
    data_mounts,
)

ROWS = {
    "/var/lib/shop": ("dir", "0750", 1001, 1002, 0, ""),
    "/srv/index": ("dir", "0755", 0, 0, 0, ""),
    "/etc/passwd": ("file", "0644", 0, 0, 10, "aa"),
}
SOUND = {
    "name": "uploads",
    "mount": "/var/lib/shop",
    "owner": "1001:1002",
    "mode": "0750",
    "noexec": True,
    "reown": False,
}


def test_the_list_comes_from_the_definition_and_the_manifest() -> None:
    found = artifact_data([("uploads", "/var/lib/shop", True, False), ("index", "/srv/index", False, True)], ROWS)
    assert found[0] == SOUND
    assert data_mounts({"data": found}) == (
        DataMount("uploads", "/var/lib/shop", "1001:1002", "0750", noexec=True),
        DataMount("index", "/srv/index", "0:0", "0755", reown=True),
    )
    assert data_mounts({"data": found})[0].options == ("nosuid", "nodev", "noexec")
    assert data_mounts({}) == ()


@pytest.mark.parametrize("mount", ["/var/lib/other", "/etc/passwd"])
def test_an_image_needs_a_folder_for_each_volume(mount: str) -> None:
    with pytest.raises(ProviderError, match=f"volume uploads: the image has no folder {mount}"):
        artifact_data([("uploads", mount, False, False)], ROWS)


@pytest.mark.parametrize(
    "change",
    [
        {"mount": "relative"},
        {"mount": "/"},
        {"mount": "/srv/../etc"},
        {"mount": "/srv,rw"},
        {"name": "../x"},
        {"owner": "root:root"},
        {"mode": "rwx"},
        {"noexec": "yes"},
    ],
)
def test_a_damaged_list_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ProviderError, match="record are damaged") as refused:
        data_mounts({"data": [{**SOUND, **change}]})
    assert refused.value.permanent


@pytest.mark.parametrize("data", ["text", {"name": "uploads"}, [1], [{}]])
def test_what_is_no_list_of_volumes_is_refused(data: Any) -> None:
    with pytest.raises(ProviderError, match="record are damaged"):
        data_mounts({"data": data})
