# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Images in a real Glance: which base is chosen, what an image is kept for, and what killed bakes leave."""

from __future__ import annotations

import secrets
import time
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.build_key import bake_resource_name
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.builders.base_glance import resolve_glance
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import BakeError, ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import Base
from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import glance_of
from ansible_collections.immutable.infra.plugins.plugin_utils._openstack.connect import Connections
from ansible_collections.immutable.infra.plugins.plugin_utils._openstack.glance import Glance, content_hash
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.openstack.images import GlanceImages
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.openstack.leftovers import OpenStackLeftovers
from ansible_collections.immutable.infra.tests.support.openstack.clouds import cloud_of
from ansible_collections.immutable.infra.tests.support.openstack.projects import Project

STORE, OTHER = "0123456789abcdef", "fedcba9876543210"
HEX = "ab" * 32
BAKE = f"bake-{HEX[:12]}"
NAME = bake_resource_name(STORE, HEX)
MARKS = {"immutable:store": STORE, "immutable:bake": BAKE}
DAY = 86400.0


@pytest.fixture
def cloud(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Connections:
    return cloud_of(project, tmp_path, monkeypatch)


def named(project: Project, name: str, content: bytes = b"image", **more: object) -> str:
    """The ID of a new image with this name."""
    formats = {"disk_format": "raw", "container_format": "bare"}
    return str(project.cloud.image.create_image(name=name, data=content, **{**formats, **more}).id)


def artifact(cloud: Connections, image: str) -> dict[str, str]:
    return {"glance": image, "hash": content_hash(Glance(cloud).find(image) or {})}


def test_the_base_is_the_newest_image_that_matches(project: Project, cloud: Connections) -> None:
    def resolved(source: str) -> dict[str, object]:
        return resolve_glance(Base("glance", source, python="3.11"), cloud.cloud)

    first = named(project, "debian-12-a", b"first", os_distro="debian")
    time.sleep(1.1)  # Glance dates images in whole seconds
    second = named(project, "debian-12-b", b"second", **{"x:y": "in:a:b"})
    assert resolved(first)["image"] == resolved("os_distro=debian")["image"] == first
    assert resolved("name=debian-12-*&owner=self")["image"] == resolved("x:y=in:a:b")["image"] == second
    found = resolved("name=debian-12-a")
    assert found["hash"] == content_hash(Glance(cloud).find(first) or {}) and str(found["hash"]).startswith("sha512:")
    assert (found["region"], found["architecture"]) == ("RegionOne", "x86_64")
    for source, said in {
        "00000000-0000-4000-8000-000000000000": "no image with this ID",
        "name=debian-13": "no active image",
        f"name=debian-12-a&owner={'0' * 32}": "no active image",
    }.items():
        with pytest.raises(BakeError, match=said):
            resolved(source)


def test_a_base_without_bytes_or_of_another_format_is_refused(project: Project, cloud: Connections) -> None:
    queued = project.cloud.image.create_image(name="queued", disk_format="raw", container_format="bare")
    vmdk = project.image(disk_format="vmdk")
    for image, said in {
        str(queued.id): "which is queued",
        vmdk: r"has the disk format vmdk \(allowed: qcow2, raw\)",
    }.items():
        with pytest.raises(BakeError, match=said):
            resolve_glance(Base("glance", image, python="3.11"), cloud.cloud)


def test_only_an_image_of_the_store_is_removed(project: Project, cloud: Connections) -> None:
    own = artifact(cloud, project.image(b"own", **MARKS))
    strange = artifact(cloud, project.image(b"strange", **{**MARKS, "immutable:store": OTHER}))
    images = GlanceImages(cloud, store=STORE)
    assert images.present(own) and images.present(strange)
    assert not images.present({**own, "hash": strange["hash"]})
    [nothing, [stranger]] = images.users([own, strange])
    assert not nothing and "does not carry immutable:store" in stranger
    with pytest.raises(ProviderError, match="so it is not removed"):
        images.remove(strange)
    with pytest.raises(ProviderError, match="so it is not removed"):
        GlanceImages(cloud).remove(own)
    images.remove(own)
    images.remove(own)
    assert not images.present(own) and images.present(strange)


def test_what_uses_an_image_is_named(project: Project, cloud: Connections) -> None:
    used, shared = (artifact(cloud, project.image(content, **MARKS)) for content in (b"used", b"shared"))
    server = project.server(image_id=glance_of(used))
    project.cloud.image.add_member(glance_of(shared), member_id=project.admin.current_project_id)
    images = GlanceImages(cloud, store=STORE)
    [[running], [member]] = images.users([used, shared])
    assert running == f"server {server.id} runs it"
    assert f"is shared with {project.admin.current_project_id}" in member
    assert images.users([shared], shared=False) == [[]]


def test_a_protected_image_stays(project: Project, cloud: Connections) -> None:
    image = artifact(cloud, project.image(b"kept", is_protected=True, **MARKS))
    with pytest.raises(ProviderError, match="protected"):
        GlanceImages(cloud, store=STORE).remove(image)


def test_builds_of_projects_differ(project: Project, cloud: Connections) -> None:
    assert GlanceImages(cloud).build("x86_64") == f"openstack-{project.id}-RegionOne-x86_64"


def leave(project: Project) -> dict[str, str]:
    """What a bake creates, by kind."""
    api = project.cloud
    network = api.network.find_network("provider", ignore_missing=False)
    return {
        "build_instance": project.server(name=NAME, metadata=MARKS).id,
        "address": api.network.create_ip(floating_network_id=network.id, description=NAME).id,
        "key_pair": api.compute.create_keypair(name=NAME, public_key=KEY).name,
        "build_volume": project.volume(name=NAME).id,
        "image": named(project, NAME),
    }


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDWkYXAnp0jH7V6eBPkVbkbfVhlyqC0m6y4p8Hnq3pJe x"


def test_leftovers_are_found_by_their_names_and_marks(project: Project, cloud: Connections) -> None:
    base = project.image(b"base")
    left = leave(project)
    queued = project.cloud.image.create_image(
        name="shop-1", disk_format="raw", container_format="bare", **{**MARKS, "immutable:digest": HEX}
    )
    named(project, bake_resource_name(OTHER, HEX), **{**MARKS, "immutable:store": OTHER})
    project.cloud.compute.create_keypair(name="mine", public_key=KEY)
    project.server(name="web", image_id=base, metadata={**MARKS, "immutable:fleet": "shop-live"})
    leftovers = OpenStackLeftovers(cloud, STORE)
    found = leftovers.find(0.0, [])
    assert {(one.kind, one.id) for one in found} == {*left.items(), ("image", queued.id)}
    assert {one.bake for one in found} == {BAKE} and {one.place for one in found} == {"RegionOne"}
    assert {one.kind for one in found if one.age is None} == {"key_pair"}
    assert [one.kind for one in leftovers.find(DAY, [])] == ["key_pair"]
    recorded = leftovers.find(0.0, [{"glance": queued.id}])
    assert ("image", queued.id) not in {(one.kind, one.id) for one in recorded}


def test_leftovers_are_removed_and_what_is_used_stays(project: Project, cloud: Connections) -> None:
    left = leave(project)
    attached = project.server(name=NAME, metadata=MARKS)
    project.cloud.compute.create_volume_attachment(attached, volume_id=left["build_volume"])
    project.wait_for_volume(project.cloud.block_storage.get_volume(left["build_volume"]), "in-use")
    checks: list[str] = []
    leftovers = OpenStackLeftovers(cloud, STORE)
    found = leftovers.find(0.0, [])
    removed = leftovers.remove(found, lambda: checks.append("check"))
    assert {one.id for one in removed} == {*left.values(), attached.id} and len(checks) == len(found)
    assert leftovers.find(0.0, []) == []
    assert leftovers.remove(found, lambda: None), "a second removal is no error"


def test_an_image_that_a_server_boots_is_no_leftover(project: Project, cloud: Connections) -> None:
    image = named(project, "shop-1", **MARKS)
    project.server(image_id=image)
    assert OpenStackLeftovers(cloud, STORE).find(0.0, []) == []


def test_the_bytes_come_as_they_are(project: Project, cloud: Connections, tmp_path: Path) -> None:
    content = secrets.token_bytes(5000) + bytes(4 * 1024 * 1024) + b"end"
    glance = Glance(cloud)
    image = glance.find(project.image(content))
    assert image
    glance.download(image, tmp_path / "disk")
    assert (tmp_path / "disk").read_bytes() == content
