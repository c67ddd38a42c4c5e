# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The image of a real bake by the real Packer: any engine loads it, and it has nothing of the engine that built it."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._inspection.layer import LayerFiles
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container_engine import open_engine
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container_images import load_image
from ansible_collections.immutable.infra.tests.support.machines import Service


def record_of(service: Service) -> dict[str, Any]:
    """The record of the service's image."""
    image: dict[str, Any] = service.module("image")["image"]
    return image


def test_a_second_bake_changes_nothing(plain: Service) -> None:
    again = plain.module("image")
    assert not again["changed"]
    assert again["image"]["build"] == "container-x86_64"


def test_another_engine_loads_the_archive_of_a_moved_store(plain: Service, own_store: Path) -> None:
    artifact = record_of(plain)["artifact"]
    moved = own_store / "image.tar"
    shutil.copyfile(artifact["path"], moved)
    other = open_engine("podman", own_store / "container")
    load_image(other, {**artifact, "path": str(moved)})
    found = other.json("image", "inspect", artifact["image"])[0]
    assert f"sha256:{found['Id'].removeprefix('sha256:')}" == artifact["image"]
    assert found["Config"]["StopSignal"] == artifact["stop_signal"]
    assert found["Config"]["Labels"]["immutable.service"] == plain.name
    assert len(found["RootFS"]["Layers"]) == 1


def test_skopeo_reads_both_formats(plain: Service) -> None:
    program = shutil.which("skopeo")
    if program is None:
        pytest.skip("needs skopeo (Debian: apt install skopeo)")
    artifact = record_of(plain)["artifact"]
    for transport in ("docker-archive", "oci-archive"):
        command = [program, "inspect", "--raw", "--config", f"{transport}:{artifact['path']}"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert json.loads(done.stdout)["config"]["StopSignal"] == artifact["stop_signal"]


def test_the_image_has_nothing_of_the_engine(plain: Service) -> None:
    artifact = record_of(plain)["artifact"]
    entries = LayerFiles(Path(artifact["path"])).entries
    for folder in ("/dev", "/proc", "/run", "/sys", "/tmp"):  # noqa: S108  paths in the image
        assert folder in entries and not [path for path in entries if path.startswith(f"{folder}/")]
    assert "/.dockerenv" not in entries
    assert all(row["path"] in entries or row["path"].startswith("/run/") for row in artifact["writable"])
    with tarfile.open(artifact["path"]) as archive:
        assert [member.name for member in archive if not member.name.startswith("blobs/sha256/")] == [
            "oci-layout",
            "index.json",
            "manifest.json",
        ]
