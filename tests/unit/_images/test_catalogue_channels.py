# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ConflictError, ImageError
from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import Image
from ansible_collections.immutable.infra.plugins.plugin_utils._images.catalogue import Catalogue, lineage
from ansible_collections.immutable.infra.plugins.plugin_utils._images.channels import Channels
from ansible_collections.immutable.infra.plugins.plugin_utils._store.base import Store
from ansible_collections.immutable.infra.plugins.plugin_utils._store.file import FileStore
from ansible_collections.immutable.infra.plugins.plugin_utils._store.memory import MemoryStore

VERIFIED = {"at": "2026-01-01T00:00:00+00:00", "checks": ["http"]}


def image(start: str, version: str = "1.0.0", **more: Any) -> Image:
    facts: dict[str, Any] = {
        "build": "qemu-x86_64",
        "service": "shop",
        "created": f"2026-01-{version[0]:0>2}T00:00:00+00:00",
        "verified": VERIFIED,
    }
    facts.update(more)
    return Image(
        digest="sha256:" + start.ljust(64, "0"),
        version=version,
        artifact={"path": "disk.qcow2"},
        base={"sha256": "1"},
        inputs={"a": 1},
        **facts,
    )


@pytest.fixture(params=[MemoryStore, None], ids=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    make: Callable[[], Store] | None = request.param
    return make() if make else FileStore(tmp_path)


def filled(store: Store, *images: Image) -> Catalogue:
    catalogue = Catalogue(store)
    for each in images:
        catalogue.add(each)
    return catalogue


def test_images_are_listed_newest_first_with_their_channels(store: Store) -> None:
    old, new, other = image("aa11", "1.0.0"), image("bb22", "2.0.0"), image("cc33", "3.0.0", service="blog")
    catalogue = filled(store, new, old, other)
    Channels(store).promote("shop", "prod", old, by="ann")
    Channels(store).promote("shop", "canary", old, by="ann")
    assert [found.version for found in catalogue.list()] == ["3.0.0", "2.0.0", "1.0.0"]
    assert [found.channels for found in catalogue.list("shop")] == [(), ("canary", "prod")]
    found = catalogue.get(old.digest, old.build)
    assert found is not None and found.channels == ("canary", "prod") and found.inputs == {"a": 1}
    assert catalogue.get(old.digest, "aws") is None


@pytest.mark.parametrize(
    "text", ["sha256:" + "ab12cd".ljust(64, "0"), "ab12cd", "sha256:ab12cd", "ab12cd00", "shop-1.0.0-ab12cd000000"]
)
def test_an_image_is_found_by_digest_prefix_or_name(store: Store, text: str) -> None:
    catalogue = filled(store, image("ab12cd"), image("ab12ce", "2.0.0"))
    assert catalogue.find(text).digest.startswith("sha256:ab12cd")
    with pytest.raises(ImageError):
        catalogue.find(text, service="blog")


def test_the_message_for_no_or_several_matches_lists_the_candidates(store: Store) -> None:
    catalogue = filled(store, image("abcdef1"), image("abcdef2", "2.0.0"))
    with pytest.raises(ImageError, match="shop-2.0.0-abcdef200000, shop-1.0.0-abcdef100000"):
        catalogue.find("abcdef")
    for text in ("ffffff", "", "abcde", "shop"):
        with pytest.raises(ImageError, match="shop-1.0.0-abcdef100000"):
            catalogue.find(text)


def test_a_verification_is_recorded(store: Store) -> None:
    catalogue = filled(store, image("aa", verified=None))
    marked = catalogue.mark_verified(image("aa", verified=None), VERIFIED)
    assert marked.verified == VERIFIED
    assert [found.verified for found in catalogue.list()] == [VERIFIED]


def test_a_promotion_keeps_the_history_and_changes_nothing_if_repeated(store: Store) -> None:
    one, two = image("aa"), image("bb", "2.0.0")
    filled(store, one, two)
    channels = Channels(store)
    assert channels.current("shop", "prod") is None
    assert [channels.promote("shop", "prod", each, by="ann", note="why")[0] for each in (one, one, two, two, one)] == [
        True,
        False,
        True,
        False,
        True,
    ]
    document = channels.current("shop", "prod")
    assert document is not None
    assert (document["image"], document["version"], document["by"], document["note"]) == (
        one.digest,
        "1.0.0",
        "ann",
        "why",
    )
    assert [entry["image"] for entry in document["history"]] == [one.digest, two.digest, one.digest]
    assert channels.list() == channels.list("shop") == [document]
    assert channels.list("blog") == []


def test_only_verified_images_of_the_service_are_promoted(store: Store) -> None:
    raw, foreign = image("aa", verified=None), image("bb", service="blog")
    filled(store, raw, foreign)
    with pytest.raises(ImageError, match="is not verified.*image_verify"):
        Channels(store).promote("shop", "prod", raw, by="ann")
    with pytest.raises(ImageError, match="blog"):
        Channels(store).promote("shop", "prod", foreign, by="ann")
    for name in ("../prod", "", "Prod", "a/b"):
        with pytest.raises(ImageError, match="is not a name for a channel"):
            Channels(store).promote("shop", name, image("cc"), by="ann")
    assert Channels(store).list() == []


def test_a_promotion_that_conflicts_with_another_one_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    one, two = image("aa"), image("bb", "2.0.0")
    filled(store, one, two)
    write = store.write

    def conflicting_write(key: str, document: Any, expect: str | None = None) -> str:
        monkeypatch.setattr(store, "write", write)
        Channels(store).promote("shop", "prod", two, by="bob")
        return write(key, document, expect)

    monkeypatch.setattr(store, "write", conflicting_write)
    changed, document = Channels(store).promote("shop", "prod", one, by="ann")
    assert changed and [entry["by"] for entry in document["history"]] == ["bob", "ann"]
    assert Channels(store).current("shop", "prod") == document

    def always(key: str, document: Any, expect: str | None = None) -> str:
        raise ConflictError("changed")

    monkeypatch.setattr(store, "write", always)
    with pytest.raises(ConflictError, match="channel prod of shop.*run again"):
        Channels(store).promote("shop", "prod", two, by="ann")


def test_only_promoted_images_can_be_put_in_service(store: Store) -> None:
    one, two, never = image("aaaaaa"), image("bbbbbb", "2.0.0"), image("cccccc", "3.0.0")
    catalogue = filled(store, one, two, never)
    channels = Channels(store)
    with pytest.raises(ImageError, match="promote"):
        channels.require_promoted("shop", "prod")
    channels.promote("shop", "prod", one, by="ann")
    channels.promote("shop", "prod", two, by="ann")
    assert channels.require_promoted("shop", "prod").digest == two.digest
    assert channels.require_promoted("shop", "prod", "aaaaaa").digest == one.digest
    with pytest.raises(ImageError, match="never promoted to prod of shop"):
        channels.require_promoted("shop", "prod", "cccccc")
    catalogue.add(image("bbbbbb", "2.0.0", verified=None))
    with pytest.raises(ImageError, match="is not verified"):
        channels.require_promoted("shop", "prod")
    store.delete(f"{two.key}/record.json")
    with pytest.raises(ImageError, match="shop-2.0.0-bbbbbb000000"):
        channels.require_promoted("shop", "prod")


def test_the_same_digest_of_another_build_is_another_image(store: Store) -> None:
    here, cloud = image("aaaaaa"), image("aaaaaa", build="aws-x86_64")
    catalogue = filled(store, here, cloud)
    Channels(store).promote("shop", "prod", here, by="ann")
    assert {found.build: found.channels for found in catalogue.list()} == {"qemu-x86_64": ("prod",), "aws-x86_64": ()}


def test_channels_of_another_service_are_not_its_own(store: Store) -> None:
    catalogue = filled(store, image("aaaaaa"), image("aaaaaa", service="blog", build="aws"))
    Channels(store).promote("shop", "prod", image("aaaaaa"), by="ann")
    assert [found.channels for found in catalogue.list("blog")] == [()]


@pytest.mark.parametrize("record", [[], {"digest": "sha256:aa"}, "text", None])
def test_a_damaged_record_is_reported_with_its_key(store: Store, record: Any) -> None:
    store.write("images/aa/qemu/record.json", record)
    with pytest.raises(ImageError, match="images/aa/qemu/record.json"):
        Catalogue(store).list()


def test_lineage_names_the_base_and_the_image_before() -> None:
    images = [image("cc", "3.0.0", build="aws"), image("bb", "2.0.0"), image("aa", "1.0.0")]
    assert lineage(images[1], images) == {"base": {"sha256": "1"}, "previous": images[2].digest}
    assert [lineage(images[at], images)["previous"] for at in (0, 2)] == [None, None]
