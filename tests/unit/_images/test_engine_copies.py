# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which copies a container engine has to keep."""

from __future__ import annotations

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import Image
from ansible_collections.immutable.infra.plugins.plugin_utils._images.catalogue import Catalogue
from ansible_collections.immutable.infra.plugins.plugin_utils._images.engine_copies import needed_copies
from ansible_collections.immutable.infra.plugins.plugin_utils._store.memory import MemoryStore

NOW = 1_800_000_000.0


def identity(letter: str) -> str:
    return letter * 64


@pytest.fixture
def store() -> MemoryStore:
    """A store with two images, on a base that is not the current one and on an imported archive."""
    store = MemoryStore()
    for letter, service in (("a", "shop"), ("b", "blog")):
        image = Image(
            digest=f"sha256:{identity(letter)}",
            build="container-x86_64",
            service=service,
            version="1",
            created="2026-01-01T00:00:00+00:00",
            artifact={"path": "image.tar", "image": f"sha256:{identity(letter)}"},
            base={"sha256": f"base-of-{service}"},
            inputs={},
        )
        Catalogue(store).add(image)
    return store


def imported(store: MemoryStore, sha256: str, letter: str, **more: object) -> None:
    store.write(f"cache/container-bases/podman-{sha256}.json", {"image": identity(letter), **more})


def test_images_on_record_and_their_bases_stay(store: MemoryStore) -> None:
    imported(store, "base-of-shop", "c", used=0)
    imported(store, "base-of-nothing", "d")
    assert needed_copies(store, NOW) == {identity("a"), identity("b"), identity("c")}


def test_a_current_base_and_what_a_bake_just_asked_for_stay(store: MemoryStore) -> None:
    store.write("bases/debian-bookworm-container/base.json", {"sha256": "current"})
    imported(store, "current", "c")
    imported(store, "recent", "d", used=NOW - 60)
    imported(store, "hours-ago", "e", used=NOW - 7200)
    assert needed_copies(store, NOW) == {identity("a"), identity("b"), identity("c"), identity("d")}


def test_damaged_documents_name_nothing(store: MemoryStore) -> None:
    store.write("cache/container-bases/podman-base-of-shop.json", ["x"])
    imported(store, "base-of-blog", "../", used="now")
    assert needed_copies(store, NOW) == {identity("a"), identity("b")}
