# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whole releases on bases that come from outside, and of another Debian, by the real Packer."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.files import file_sha256
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container_engine import ContainerEngine
from ansible_collections.immutable.infra.tests.support.container_registry import container_registry, pushed
from ansible_collections.immutable.infra.tests.support.machines import TOKEN, Service, released

pytestmark = pytest.mark.long


@pytest.fixture
def root_tar(store: Path, base: None) -> Path:
    """The root file system of a Debian that was built here."""
    return store / "bases/debian-bookworm-container/root.tar"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the definition, once the service is created."""
    return tmp_path / "based"


def release(folder: Path, store: Path, base: dict[str, Any]) -> dict[str, Any]:
    """Release a service on a base, see that it serves, and remove it. Returns its image."""
    os.environ.setdefault(TOKEN, secrets.token_hex(16))
    name = f"based-{secrets.token_hex(4)}"
    kept = {path.name: path for path in folder.iterdir()} if folder.exists() else {}
    service = Service(
        folder / name, name, size=1, shell="restricted", data=False, store=store, provider="container", command=True
    )
    for file, path in kept.items():
        path.rename(service.folder / file)
    service.define(base=base)
    with released(service):
        service.converged("hello")
        assert "changed=0" in service.play("bake")
        image: dict[str, Any] = service.module("image")["image"]
    return image


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    with container_registry(tmp_path) as address:
        yield address


def test_an_image_of_a_registry(
    folder: Path, store: Path, root_tar: Path, engine: ContainerEngine, registry: str, tmp_path: Path
) -> None:
    image = engine.run("import", "--quiet", "--change=ENV LANG=C.UTF-8", str(root_tar)).strip().removeprefix("sha256:")
    name = pushed(engine, image, f"{registry}/team/base", tmp_path)
    engine.run("image", "rm", "--force", image)
    baked = release(folder, store, {"container": name, "python": "3.11"})
    assert (baked["base"]["kind"], baked["base"]["source"]) == ("container", name)


@pytest.mark.parametrize("form", ["root file system", "image"])
def test_an_archive(folder: Path, store: Path, root_tar: Path, engine: ContainerEngine, form: str) -> None:
    folder.mkdir()
    archive = folder / "base.tar"
    if form == "image":
        image = engine.run("import", "--quiet", str(root_tar)).strip().removeprefix("sha256:")
        engine.run("save", "--quiet", "--output", str(archive), image)
    else:
        shutil.copyfile(root_tar, archive)
    checksum = f"sha256:{file_sha256(archive)}"
    baked = release(folder, store, {"archive": "base.tar", "checksum": checksum, "python": "3.11"})
    assert (baked["base"]["kind"], baked["base"]["sha256"]) == ("archive", checksum.removeprefix("sha256:"))


def test_the_next_debian(folder: Path, store: Path, engine: ContainerEngine) -> None:
    baked = release(folder, store, {"debian": "trixie"})
    assert (baked["base"]["source"], baked["base"]["python"]) == ("trixie", "3.13")
