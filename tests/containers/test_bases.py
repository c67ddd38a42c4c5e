# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bases that come from outside: an image of a registry, and archives. Nothing in them is trusted."""

from __future__ import annotations

import hashlib
import io
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.builders.base_container import (
    LoadedBase,
    load_base,
    resolve_container_base,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.image_archive import (
    ImageConfig,
    write_image_archive,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import BakeError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import Base
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container_engine import ContainerEngine
from ansible_collections.immutable.infra.plugins.plugin_utils._store.registry import open_store
from ansible_collections.immutable.infra.tests.support.container_registry import container_registry, pushed


def tree(path: Path, mode: str = "w", **files: bytes) -> Path:
    """Write the archive of a small root file system."""
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, content in {"etc/passwd": b"root:x:0:0::/:/bin/sh\n", **files}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def loaded(engine: ContainerEngine, base: Base, store: Path, folder: Path) -> LoadedBase:
    opened = open_store(str(store))
    resolved = resolve_container_base(base, opened, folder)
    assert resolved is not None
    return load_base(engine, base, opened, sha256=resolved["sha256"], folder=folder)


def archive_base(path: Path) -> Base:
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    return Base("archive", path.name, f"sha256:{checksum}", "3.11")


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_the_archive_of_a_root_file_system_is_imported_once(
    engine: ContainerEngine, own_store: Path, tmp_path: Path, mode: str
) -> None:
    base = archive_base(tree(tmp_path / "root.tar", mode))
    first = loaded(engine, base, own_store, tmp_path)
    (tmp_path / "root.tar").rename(tmp_path / "moved")
    shutil.copy2(tmp_path / "moved", tmp_path / "root.tar")
    assert loaded(engine, base, own_store, tmp_path) == first


def test_the_archive_of_an_image_keeps_its_environment(
    engine: ContainerEngine, own_store: Path, tmp_path: Path
) -> None:
    config = ImageConfig(["/bin/sh"], "SIGTERM", environment=["PATH=/opt/bin", "LANG=C.UTF-8"])
    image = write_image_archive(tree(tmp_path / "root.tar"), tmp_path / "image.tar", config)
    found = loaded(engine, archive_base(tmp_path / "image.tar"), own_store, tmp_path)
    assert found == LoadedBase(image.removeprefix("sha256:"), ("PATH=/opt/bin", "LANG=C.UTF-8"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("../../etc/shadow", b"x", "a file whose path leads out of it"),
        ("manifest.json", b"[]", "does not hold exactly one image"),
        ("manifest.json", b'[{"Config": "../secret"}]', "does not hold exactly one image"),
        ("index.json", b'{"manifests": [1, 2]}', "does not hold exactly one image"),
        ("index.json", b'{"manifests": [{"digest": 7}]}', "cannot be read"),
    ],
)
def test_an_archive_that_is_neither_is_refused(
    engine: ContainerEngine, own_store: Path, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    base = archive_base(tree(tmp_path / "bad.tar", **{name: content}))
    with pytest.raises(BakeError, match=message):
        loaded(engine, base, own_store, tmp_path)


def test_an_archive_that_changed_is_refused(engine: ContainerEngine, own_store: Path, tmp_path: Path) -> None:
    base = archive_base(tree(tmp_path / "root.tar"))
    tree(tmp_path / "root.tar", other=b"x")
    with pytest.raises(BakeError, match="but the definition says"):
        loaded(engine, base, own_store, tmp_path)


def test_a_base_without_its_python_is_refused(own_store: Path, tmp_path: Path) -> None:
    base = Base("container", f"localhost/base@sha256:{'0' * 64}")
    with pytest.raises(BakeError, match=r"set image\.base\.python"):
        resolve_container_base(base, open_store(str(own_store)), tmp_path)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    with container_registry(tmp_path) as address:
        yield address


def test_an_image_of_a_registry_is_pulled_by_its_digest(
    engine: ContainerEngine, own_store: Path, tmp_path: Path, registry: str
) -> None:
    image = engine.run("import", "--quiet", str(tree(tmp_path / "root.tar"))).strip().removeprefix("sha256:")
    name = pushed(engine, image, f"{registry}/team/base", tmp_path)
    engine.run("image", "rm", "--force", image)
    assert loaded(engine, Base("container", name, None, "3.11"), own_store, tmp_path).image == image
    other = f"{registry}/team/base@sha256:{'0' * 64}"
    with pytest.raises(BakeError, match="cannot pull the base"):
        loaded(engine, Base("container", other, None, "3.11"), own_store, tmp_path)
