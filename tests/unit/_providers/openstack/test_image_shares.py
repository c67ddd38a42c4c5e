# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a project may not do with an image that is shared with it, by written answers.

``tests/openstack/test_shared_images.py`` does the rest with a real cloud.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._openstack.connect import Connections
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.openstack.image_shares import GlanceShares

pytest.importorskip("openstack")

ARTIFACT = {"glance": "i", "region": "R", "project": "p"}


class Answer:
    def __init__(self, document: Any, status: int = 200) -> None:
        self.document, self.status_code, self.content = document, status, b"{}"
        self.headers: dict[str, str] = {}
        self.reason, self.text, self.url, self.request = "said so", "", "", None

    def json(self) -> Any:
        return self.document


class Glance:
    """One image, as each project sees it."""

    def __init__(self, visibility: str = "private", refused: int = 200) -> None:
        self.image: dict[str, Any] = {"id": "i", "visibility": visibility}
        self.members: dict[str, str] = {}
        self.refused = refused  # status of the answer to a member that accepts
        self.changes: list[str] = []

    def project(self, project: str, region: str = "R") -> Connections:
        def get(path: str, **_more: Any) -> Answer:
            if path.endswith("/members"):
                return Answer({"members": [{"member_id": name, "status": is_} for name, is_ in self.members.items()]})
            visible = project == "p" or project in self.members or self.image["visibility"] == "public"
            return Answer(self.image, 200 if visible and path == "/images/i" else 404)

        def patch(_path: str, json: list[dict[str, str]], **_more: Any) -> Answer:
            self.changes.append("patch")
            self.image |= {change["path"][1:]: change["value"] for change in json}
            return Answer(self.image)

        def post(_path: str, json: dict[str, str]) -> Answer:
            self.changes.append("post")
            self.members[json["member"]] = "pending"
            return Answer({})

        def put(path: str, json: dict[str, str]) -> Answer:
            self.changes.append("put")
            if self.refused == 200:
                self.members[path.rpartition("/")[2]] = json["status"]
            return Answer({}, self.refused)

        service = SimpleNamespace(get=get, patch=patch, post=post, put=put)
        found = SimpleNamespace(
            connection=SimpleNamespace(image=service),
            project_id=project,
            account_id=project,
            region=region,
            place="shop",
        )
        return cast(Connections, found)

    def shares(self, region: str = "R") -> GlanceShares:
        return GlanceShares(self.project("p"), self.project("q", region))


@pytest.mark.parametrize("status", [401, 403])
def test_a_project_that_may_not_accept_an_image_gets_it_nevertheless(status: int) -> None:
    glance = Glance(refused=status)
    assert glance.shares().hand_over(ARTIFACT, {}) == {"glance": "i", "shared": True}
    assert (glance.members, glance.image["visibility"]) == ({"q": "pending"}, "shared")


def test_another_failure_of_the_acceptance_is_reported_and_the_next_run_accepts() -> None:
    glance = Glance(refused=500)
    with pytest.raises(ProviderError, match="accepting the image i"):
        glance.shares().hand_over(ARTIFACT, {})
    glance.refused = 200
    glance.shares().hand_over(ARTIFACT, {})
    assert (glance.members, glance.changes) == ({"q": "accepted"}, ["patch", "post", "put", "put"])


def test_an_image_of_everybody_needs_no_members() -> None:
    glance = Glance("public")
    assert glance.shares().hand_over(ARTIFACT, {}) == {"glance": "i", "shared": True}
    assert glance.shares().permit(ARTIFACT, False) is False
    assert glance.changes == []


def test_an_image_of_another_region_or_one_that_is_gone_cannot_be_shared() -> None:
    with pytest.raises(ProviderError, match="is not copied to S; bake it there") as raised:
        Glance().shares("S").require_shareable(ARTIFACT)
    assert raised.value.permanent
    with pytest.raises(ProviderError, match="there is no image j in shop"):
        Glance().shares().require_shareable({**ARTIFACT, "glance": "j"})
    assert Glance().shares().permit({**ARTIFACT, "glance": "j"}, True) is False
