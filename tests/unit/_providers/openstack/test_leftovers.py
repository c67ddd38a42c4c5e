# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which of a project's resources are leftovers of bakes, and what happens to what is used, by written answers.

``tests/openstack/test_images.py`` does the same with a real cloud.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._openstack.connect import Connections
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.openstack.images import GlanceImages
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.openstack.leftovers import (
    SERVER_TIMEOUT,
    OpenStackLeftovers,
)

pytest.importorskip("openstack")

STORE, OTHER = "0123456789abcdef", "fedcba9876543210"
BAKE = "bake-abababababab"
NAME = f"immutable-{STORE}-{BAKE}"
MARKS = {"immutable:store": STORE, "immutable:bake": BAKE}
AT = "2026-01-01T00:00:00Z"
NOON = 1767268800.0  # twelve hours later


class Answer:
    def __init__(self, document: Any, status: int) -> None:
        self.document, self.status_code, self.content = document, status, b"{}"
        self.headers: dict[str, str] = {}
        self.reason, self.text, self.url, self.request = "said so", "", "", None

    def json(self) -> Any:
        return self.document


class Project:
    """The services of one project, with what they have by path."""

    def __init__(self, **lists: list[dict[str, Any]]) -> None:
        keys = [{"keypair": key} for key in lists.get("keypairs", [])]
        self.documents: dict[str, Any] = {
            **{f"/{kind}/detail": {kind: lists.get(kind, [])} for kind in ("servers", "volumes")},
            "/floatingips": {"floatingips": lists.get("floatingips", [])},
            "/os-keypairs": {"keypairs": keys},
        }
        self.images = [
            {"owner": "p", "status": "active", "created_at": AT, **image} for image in lists.get("images", [])
        ]
        self.refused: set[str] = set()
        self.deleted: list[str] = []
        self.stays = False  # whether a deleted server can still be read
        service = SimpleNamespace(request=self.request, get=self.get, delete=lambda path: self.request(path, "DELETE"))
        services = dict.fromkeys(("compute", "network", "block_storage", "image"), service)
        self.cloud = cast(
            Connections,
            SimpleNamespace(connection=SimpleNamespace(**services), project_id="p", region="R", place="shop"),
        )

    def request(self, path: str, method: str, **_more: Any) -> Answer:
        if method == "DELETE":
            if path in self.refused:
                return Answer({}, 409)
            self.deleted.append(path)
            return Answer({}, 204)
        if path in self.documents:
            return Answer(self.documents[path], 200)
        return Answer({}, 200 if self.stays else 404)

    def get(self, path: str, **more: Any) -> Answer:
        if path != "/images":
            found = [image for image in self.images if path.endswith(f"/{image['id']}")]
            return Answer(found[0] if found else {"members": [{"member_id": "q", "status": "accepted"}]}, 200)
        wanted = {name: value for name, value in more["params"].items() if name != "limit"}
        return Answer({"images": [image for image in self.images if wanted.items() <= image.items()]}, 200)

    def leftovers(self) -> OpenStackLeftovers:
        self.waited: list[float] = []
        return OpenStackLeftovers(self.cloud, STORE, now=lambda: NOON, wait=self.waited.append)


def found(project: Project, older_than: float = 0.0, *records: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one.kind, one.id) for one in project.leftovers().find(older_than, records)]


def test_servers_of_fleets_and_of_other_stores_are_none() -> None:
    servers = [
        {"id": "left", "created": AT, "metadata": MARKS},
        {"id": "fleet", "created": AT, "metadata": {**MARKS, "immutable:fleet": "shop-live"}},
        {"id": "other", "created": AT, "metadata": {**MARKS, "immutable:store": OTHER}},
        {"id": "odd", "created": AT, "metadata": {**MARKS, "immutable:bake": "../x"}},
        {"id": "ending", "created": AT, "metadata": MARKS, "OS-EXT-STS:task_state": "deleting"},
        {"id": "plain", "created": AT, "metadata": {}},
    ]
    assert found(Project(servers=servers)) == [("build_instance", "left")]


def test_what_has_no_marks_is_found_by_a_name_that_only_the_store_gives() -> None:
    project = Project(
        keypairs=[{"name": NAME}, {"name": f"immutable-{OTHER}-{BAKE}"}, {"name": f"{NAME}0"}],
        floatingips=[{"id": "ip", "description": NAME, "created_at": AT}, {"id": "mine", "description": ""}],
    )
    assert found(project) == [("address", "ip"), ("key_pair", NAME)]


def test_a_volume_that_another_server_uses_is_none() -> None:
    volumes = [
        {"id": "free", "name": NAME, "attachments": []},
        {"id": "held", "name": NAME, "attachments": [{"server_id": "left"}]},
        {"id": "used", "name": NAME, "attachments": [{"server_id": "web"}]},
        {"id": "mine", "name": "uploads", "attachments": []},
    ]
    project = Project(servers=[{"id": "left", "created": AT, "metadata": MARKS}], volumes=volumes)
    assert found(project) == [("build_instance", "left"), ("build_volume", "free"), ("build_volume", "held")]


def test_images_on_record_and_images_that_boot_are_none() -> None:
    images = [
        {"id": "left", "name": "shop-1", **MARKS},
        {"id": "saving", "name": NAME, "status": "saving"},
        {"id": "gone", "name": NAME, "status": "deleted"},
        {"id": "recorded", "name": "shop-1", **MARKS},
        {"id": "booted", "name": "shop-1", **MARKS},
        {"id": "earlier", "name": "shop-1", **MARKS},
        {"id": "foreign", "name": NAME, "owner": "q", **MARKS},
    ]
    metadata = {"immutable:previous": "sha256:0 earlier"}  # of a server that was reimaged
    project = Project(images=images, servers=[{"id": "web", "metadata": metadata, "image": {"id": "booted"}}])
    assert found(project, 0.0, {"glance": "recorded"}) == [("image", "left"), ("image", "saving")]


def test_young_ones_are_ignored_and_unknown_ages_count() -> None:
    project = Project(servers=[{"id": "left", "created": AT, "metadata": MARKS}], keypairs=[{"name": NAME}])
    assert len(found(project, 12 * 3600.0)) == 2
    assert found(project, 13 * 3600.0) == [("key_pair", NAME)]


def test_servers_end_before_what_they_use() -> None:
    project = Project(
        servers=[{"id": "left", "created": AT, "metadata": MARKS}],
        volumes=[{"id": "root", "name": NAME, "attachments": [{"server_id": "left"}]}],
        images=[{"id": "img", "name": NAME}],
        keypairs=[{"name": NAME}],
    )
    leftovers = project.leftovers()
    project.refused = {"/images/img"}
    removed = leftovers.remove(leftovers.find(0.0, []), lambda: None)
    assert project.deleted == ["/servers/left", f"/os-keypairs/{NAME}", "/volumes/root"]
    assert [one.kind for one in removed] == ["build_instance", "key_pair", "build_volume"], "a used image stays"


def test_a_server_that_does_not_end_is_an_error() -> None:
    project = Project(servers=[{"id": "left", "created": AT, "metadata": MARKS}])
    leftovers = project.leftovers()
    project.stays = True
    with pytest.raises(ProviderError, match="still exists 120 s after its removal"):
        leftovers.remove(leftovers.find(0.0, []), lambda: None)
    assert sum(project.waited) == SERVER_TIMEOUT


@pytest.mark.parametrize(
    ("visibility", "said"),
    [
        ("private", []),
        ("shared", ["is shared with q"]),
        ("public", ["it is public"]),
        ("community", ["it is community"]),
    ],
)
def test_who_may_use_an_image_keeps_it(visibility: str, said: list[str]) -> None:
    project = Project(images=[{"id": "img", "visibility": visibility, **MARKS}])
    images = GlanceImages(project.cloud, store=STORE)
    [users] = images.users([{"glance": "img"}])
    assert len(users) == len(said) and all(text in user for text, user in zip(said, users, strict=True))
    assert images.users([{"glance": "img"}], shared=False) == [[]]


def test_a_build_names_project_and_region() -> None:
    project = Project()
    assert GlanceImages(project.cloud).build("x86_64") == "openstack-p-R-x86_64"
    project.cloud.region = "Region One/a"  # type: ignore[misc]
    assert GlanceImages(project.cloud).build("x86_64") == "openstack-p-Region_One_a-x86_64"


def test_a_volume_that_is_being_deleted_is_none() -> None:
    volumes = [{"id": key, "name": NAME, "status": key, "attachments": []} for key in ("available", "deleting")]
    assert found(Project(volumes=volumes)) == [("build_volume", "available")]
