# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the record of an image says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ImageError
from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import (
    Image,
    every_ami,
    image_key,
    owner_of,
    with_entry,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._images.catalogue import Catalogue
from ansible_collections.immutable.infra.plugins.plugin_utils._store.memory import MemoryStore

AT = {"at": "2026-01-31T09:30:00+00:00"}


@pytest.mark.parametrize(
    ("verified", "why"),
    [
        (None, "it was never verified"),
        ({**AT, "verify": "sha256:2"}, "the tests changed since it was verified"),
        (AT, "the tests changed since it was verified"),
        ({**AT, "verify": "sha256:1"}, ""),
    ],
)
def test_an_image_is_verified_by_the_present_tests(verified: dict[str, Any] | None, why: str) -> None:
    image = Image(
        "sha256:0", "qemu-x86_64", "shop", "1", created="", artifact={}, base={}, inputs={}, verified=verified
    )
    assert image.verification_due("sha256:1") == why


GLANCE = {"glance": "i", "project": "p", "region": "R"}


def shared(entry: dict[str, Any]) -> Image:
    artifact = with_entry(GLANCE, "q", "R", entry)
    build, created = "openstack-p-R-x86_64", AT["at"]
    return Image("sha256:0", build, "shop", "1", created=created, artifact=artifact, base={}, inputs={})


def test_the_record_of_a_shared_image_names_the_projects_that_have_it() -> None:
    image, store = shared({"glance": "i", "shared": True}), MemoryStore()
    Catalogue(store).add(image)
    assert Catalogue(store).list() == [image]
    assert (owner_of(image.artifact), every_ami(image.artifact)) == ("p", set())


def test_accounts_of_an_artifact_without_a_known_form_are_refused() -> None:
    store = MemoryStore()
    image = replace(shared({"glance": "i", "shared": True}), artifact={"cloud_of_tomorrow": "i", "accounts": {}})
    Catalogue(store).add(image)
    with pytest.raises(ImageError, match=r"artifact: it has accounts, but none of the keys glance, ami"):
        Catalogue(store).list()


def test_an_entry_of_another_form_is_refused() -> None:
    store = MemoryStore()
    Catalogue(store).add(shared({"glance": 1, "shared": True}))
    with pytest.raises(
        ImageError, match=f"{image_key('sha256:0', 'openstack-p-R-x86_64')}/record.json is not the record"
    ):
        Catalogue(store).list()
