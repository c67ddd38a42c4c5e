# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An image that one project bakes and another one launches, in a real Glance: shared, revoked, kept, and removed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.load import load_definition
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import Definition
from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import Image, glance_of
from ansible_collections.immutable.infra.plugins.plugin_utils._images import accounts, copies
from ansible_collections.immutable.infra.plugins.plugin_utils._images.catalogue import Catalogue
from ansible_collections.immutable.infra.plugins.plugin_utils._openstack.connect import Connections
from ansible_collections.immutable.infra.plugins.plugin_utils._openstack.glance import Glance, content_hash
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import LaunchRequest
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.openstack.image_shares import GlanceShares
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.openstack.images import GlanceImages
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.registry import open_images, open_provider
from ansible_collections.immutable.infra.plugins.plugin_utils._store.keys import store_id
from ansible_collections.immutable.infra.plugins.plugin_utils._store.registry import open_store
from ansible_collections.immutable.infra.tests.support.openstack.clouds import REGION, clouds_of
from ansible_collections.immutable.infra.tests.support.openstack.projects import Project

STORE = "0123456789abcdef"


@dataclass
class Two:
    """The project that bakes, another one, and their clouds."""

    owner: Project
    other: Project
    clouds: list[Connections]

    def artifact(self, store: str = STORE) -> dict[str, Any]:
        """A new image of the owner, as a bake leaves it."""
        image = self.owner.image(visibility="private", **{"immutable:store": store, "immutable:version": "1"})
        found = Glance(self.clouds[0]).find(image) or {}
        place = {"region": REGION, "project": self.owner.id, "architecture": "x86_64"}
        return {"glance": image, "hash": content_hash(found), **place}

    def status(self, artifact: dict[str, Any]) -> dict[str, str]:
        return Glance(self.clouds[0]).members(glance_of(artifact))

    def listed(self, **query: str) -> list[str]:
        """The images of others in the lists of the other project."""
        return [str(image["id"]) for image in Glance(self.clouds[1]).search(owner=self.owner.id, **query)]


@pytest.fixture
def two(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Two:
    other = Project(project.admin)
    return Two(project, other, clouds_of([project, other], tmp_path, monkeypatch))


def test_a_shared_image_is_accepted_and_launched(two: Two) -> None:
    artifact = two.artifact()
    image = glance_of(artifact)
    assert Glance(two.clouds[1]).find(image) is None
    with pytest.raises(Exception, match="Can not find requested image"):
        two.other.server(image_id=image)
    shares = GlanceShares(*two.clouds)
    shares.require_shareable(artifact)
    for _again in range(2):  # as after a run that was killed before it recorded this
        assert shares.hand_over(artifact, {}) == {"glance": image, "shared": True}
    assert two.status(artifact) == {two.other.id: "accepted"}
    assert (Glance(two.clouds[1]).find(image) or {})["immutable:version"] == "1"
    assert two.listed() == [image]
    assert two.other.server(image_id=image).status == "ACTIVE"


def test_a_project_that_has_not_accepted_may_launch_the_image_and_does_not_list_it(two: Two) -> None:
    artifact = two.artifact()
    image, glance = glance_of(artifact), Glance(two.clouds[0])
    glance.update(glance.find(image) or {}, {"visibility": "shared"})
    glance.add_member(image, two.other.id)
    assert two.status(artifact) == {two.other.id: "pending"}
    assert two.listed() == []
    assert two.listed(visibility="shared", member_status="pending") == [image]
    assert (Glance(two.clouds[1]).find(image) or {})["id"] == image
    assert two.other.server(image_id=image).status == "ACTIVE"


@pytest.fixture
def third(project: Project) -> Project:
    return Project(project.admin)


def test_only_the_other_project_is_a_member(third: Project, two: Two) -> None:
    artifact = two.artifact()
    GlanceShares(*two.clouds).hand_over(artifact, {})
    from openstack import exceptions

    with pytest.raises(exceptions.NotFoundException):
        third.cloud.image.get_image(glance_of(artifact))
    # A member may read the image, and neither change nor share nor remove it.
    mine = Glance(two.clouds[1])
    for change in (
        lambda: mine.update(mine.find(glance_of(artifact)) or {}, {"name": "mine"}),
        lambda: mine.add_member(glance_of(artifact), third.id),
        lambda: mine.delete(glance_of(artifact)),
    ):
        with pytest.raises(ProviderError):
            change()


def test_a_project_of_another_cloud_is_told_from_one_that_sees_the_image(two: Two) -> None:
    """Glance accepts any text as the ID of a member."""

    class Elsewhere(Connections):
        @property
        def project_id(self) -> str:
            return "f" * 32

    artifact = two.artifact()
    with pytest.raises(ProviderError, match="which does not see it"):
        GlanceShares(two.clouds[0], Elsewhere(two.clouds[1].cloud)).hand_over(artifact, {})
    assert two.status(artifact) == {}


def definition_of(two: Two, folder: Path) -> Definition:
    """A target that bakes, and one in the other project that launches its image."""
    base = {"glance": "0a0b7a52-3f0e-4f0e-9a5c-0d6a8f1b2c3d", "python": "3.11"}
    place = {"provider": "openstack", "machine": {"flavor": "m1.micro"}, "network": {"networks": ["provider"]}}
    document = {
        "schema": 1,
        "service": "shop",
        "version": "1.0",
        "image": {"base": base, "provision": {"playbook": "site.yml"}},
        "health": {"http": {"port": 8080}},
        "targets": {
            "staging": {**place, "cloud": two.owner.name},
            "prod": {**place, "cloud": two.other.name, "image_from": {"share": "staging"}},
        },
    }
    (folder / "site.yml").write_text("[]\n", encoding="utf-8")
    (folder / "immutable.yml").write_text(yaml.safe_dump(document), encoding="utf-8")
    return load_definition(folder)


def test_the_projects_of_targets_get_the_image_and_lose_it(two: Two, tmp_path: Path) -> None:
    """Shared and recorded, launched, revoked and restored, kept while it is used, and removed."""
    store, definition = open_store(tmp_path / "store"), definition_of(two, tmp_path)
    staging, prod = definition.target("staging"), definition.target("prod")
    build = open_images(prod).build("x86_64")
    assert build == open_images(staging).build("x86_64") == f"openstack-{two.owner.id}-{REGION}-x86_64"
    image = Image(
        digest="sha256:" + "ab" * 32,
        build=build,
        service="shop",
        version="1.0",
        created="2026-01-02T03:04:05+00:00",
        artifact=two.artifact(store_id(store)),
        base={"source": staging.base.source},
        inputs={},
    )
    Catalogue(store).add(image)
    missing = accounts.missing_accounts(image, definition)
    assert accounts.place_names(missing) == [f"{two.other.id}/{REGION}"]
    assert copies.missing_copies(image, definition) == {}
    compute = open_provider(prod, store).compute
    with pytest.raises(ProviderError, match=f"is not shared with project {two.other.id} in {REGION}: verify it again"):
        compute.launch([request(image)])
    accounts.require_shareable(image, missing, store)
    done = accounts.hand_over(image, missing, store)
    assert Catalogue(store).get(image.digest, image.build) == done
    assert accounts.missing_accounts(done, definition) == []
    (instance,) = compute.launch([request(done)])
    two.other.wait(two.other.cloud.compute.get_server(instance.id), "ACTIVE")

    assert accounts.permit(done, definition, store, allowed=False) == [f"{two.other.id}/{REGION}"]
    assert accounts.permit(done, definition, store, allowed=False) == []
    assert Glance(two.clouds[1]).find(glance_of(done.artifact)) is None
    with pytest.raises(Exception, match="Cannot find image for rebuild"):
        two.other.cloud.compute.rebuild_server(instance.id, image=glance_of(done.artifact), name="web")
    assert accounts.permit(done, definition, store, allowed=True) == [f"{two.other.id}/{REGION}"]
    assert two.status(dict(done.artifact)) == {two.other.id: "accepted"}

    images = GlanceImages(two.clouds[0], store=store_id(store), others=[two.clouds[1]])
    assert images.users([done.artifact]) == [[f"server {instance.id} runs it in project {two.other.id}"]]
    [[reason]] = GlanceImages(two.clouds[0], store=store_id(store)).users([done.artifact])  # no target names it
    assert reason.endswith(f"is shared with {two.other.id}")
    two.other.cloud.compute.delete_server(instance.id)
    two.other.wait_until_gone(instance)
    assert images.users([done.artifact]) == [[]]
    images.remove(done.artifact)
    assert Glance(two.clouds[1]).find(glance_of(done.artifact)) is None
    images.remove(done.artifact)  # as after a run that was killed


def request(image: Image) -> LaunchRequest:
    return LaunchRequest(
        token="launch-0",
        fleet="shop-prod",
        slot=0,
        image=image.digest,
        artifact=image.artifact,
        launch="f" * 64,
        nonce="n" * 32,
        ports=(80,),
        machine={"flavor": "m1.micro", "networks": [], "evidence": "none"},
    )
