# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The container engine on this machine, with a store of its own."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tarfile
from hashlib import sha256
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._providers import container_runtime
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container_engine import open_engine
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container_images import has_image, load_image
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container_seccomp import DEFAULT_FILTERS


@pytest.fixture
def folder(tmp_path):
    """A folder for stores. Podman leaves their storage mounted."""
    yield tmp_path
    for each in tmp_path.glob("*/storage/overlay"):
        subprocess.run(["umount", each], check=False)
        shutil.rmtree(container_runtime.state_folder(each.parents[1]))


def archive(path, content):
    """Write an image of one file, and return the artifact."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        tar.addfile(entry := tarfile.TarInfo("file"), io.BytesIO(content[: entry.size]))
    diff = sha256(layer.getvalue()).hexdigest()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff}"]},
        }
    ).encode()
    image = sha256(config).hexdigest()
    manifest = json.dumps([{"Config": f"{image}.json", "RepoTags": None, "Layers": ["layer.tar"]}]).encode()
    files = {f"{image}.json": config, "layer.tar": layer.getvalue(), "manifest.json": manifest}
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return {"path": str(path), "image": f"sha256:{image}"}


def test_an_image_is_loaded_into_a_store_of_its_own(folder):
    engine = open_engine("podman", folder / "container")
    artifact = archive(folder / "image.tar", b"")
    load_image(engine, artifact)
    load_image(engine, artifact)
    assert has_image(engine, artifact["image"])
    assert not has_image(open_engine("podman", folder / "other"), artifact["image"])
    with pytest.raises(ProviderError, match="does not contain the image"):
        load_image(engine, {**artifact, "image": "sha256:" + "0" * 64})


def test_no_user_of_a_container_can_create_user_namespaces(folder):
    warnings = open_engine("podman", folder / "container").runtime_warnings()
    filters = any(Path(path).is_file() for path in DEFAULT_FILTERS)
    assert any("user namespaces" in warning for warning in warnings) is not filters
