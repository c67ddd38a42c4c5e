# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Images on OpenStack: one image in Glance each, of the project and region that bake."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ..._core.errors import ProviderError
from ..._image_model import glance_of
from ..._openstack.connect import Connections
from ..._openstack.glance import ACTIVE, EVERYBODY, SHARED, Glance, GlanceImage, content_hash
from ..._openstack.metadata import key_of
from ..._openstack.rest import Rest
from ..tags import PREVIOUS, STORE

STORE_KEY = key_of(STORE)
_NOT_IN_BUILDS = re.compile(r"[^A-Za-z0-9_.]")


class GlanceImages:
    """See ``contract.Images``.

    Args:
        cloud: the project that bakes.
        store: the store's identity. Only what carries it is removed; nothing if it is "".
        others: other projects that images of this one are shared with.
    """

    def __init__(self, cloud: Connections, *, store: str = "", others: Sequence[Connections] = ()) -> None:
        self._cloud = cloud
        self._glance = Glance(cloud)
        self._compute = Rest(cloud, "compute")
        self._store = store
        self._others = others

    def build(self, architecture: str) -> str:
        region = _NOT_IN_BUILDS.sub("_", self._cloud.region)
        return "-".join(part for part in ("openstack", self._cloud.project_id, region, architecture) if part)

    def present(self, artifact: Mapping[str, Any]) -> bool:
        image = self._find(artifact)
        # The bytes of an image cannot be replaced, but a record may name another image.
        return image is not None and image.get("status") == ACTIVE and content_hash(image) == artifact.get("hash")

    def copy(
        self,
        artifact: Mapping[str, Any],
        places: Mapping[str, str],
        tags: Mapping[str, str],  # noqa: ARG002  it has its properties
    ) -> Mapping[str, Any]:
        if places:
            raise ProviderError(f"an image in Glance is not copied to {', '.join(places)}; bake it in each region")
        return artifact

    def users(self, artifacts: Sequence[Mapping[str, Any]], shared: bool = True) -> Sequence[Sequence[str]]:
        others = {other.project_id: other for other in self._others if other.project_id != self._cloud.project_id}
        servers = servers_by_image(self._compute)
        elsewhere = {project: servers_by_image(Rest(other, "compute")) for project, other in others.items()}
        found = []
        for artifact in artifacts:
            image, name = self._find(artifact), glance_of(artifact)
            users = [*servers.get(name, ())]
            users += [
                f"{text} in project {project}" for project, there in elsewhere.items() for text in there.get(name, ())
            ]
            found.append([*users, *self._strangers(image, shared, others)] if image else [])
        return found

    def _strangers(self, image: GlanceImage, shared: bool, looked_into: Collection[str]) -> list[str]:
        """What else keeps the image from being removed: another owner, or other projects.

        Args:
            shared: other projects that may use it count.
            looked_into: other projects whose servers are known, so they do not count.
        """
        problems = [] if self._owns(image) else [f"the image {image['id']} does not carry {STORE_KEY} of this store"]
        if shared and image.get("visibility") in EVERYBODY:
            problems.append(f"every project may use the image {image['id']}: it is {image['visibility']}")
        if shared and image.get("visibility") == SHARED:
            members = sorted({*self._glance.members(str(image["id"]))} - {*looked_into})
            if members:
                problems.append(f"the image {image['id']} is shared with {', '.join(members)}")
        return problems

    def remove(self, artifact: Mapping[str, Any]) -> None:
        image = self._find(artifact)
        if image is None:
            return
        if not self._owns(image):
            raise ProviderError(
                f"the image {image['id']} in {self._cloud.place} does not carry {STORE_KEY} of this store, "
                "so it is not removed"
            )
        self._glance.delete(str(image["id"]))

    def remove_copies(
        self,
        needed: Collection[str],  # noqa: ARG002  an instance has its own disk
        *,
        check: bool = False,  # noqa: ARG002
    ) -> Sequence[str]:
        return ()

    def publish(
        self,
        name: str,  # noqa: ARG002  names of images are not unique, so no other tool could rely on one
        artifact: Mapping[str, Any],  # noqa: ARG002
        *,
        check: bool = False,  # noqa: ARG002
    ) -> Mapping[str, str]:
        return {}

    def _find(self, artifact: Mapping[str, Any]) -> GlanceImage | None:
        image = glance_of(artifact)
        return self._glance.find(image) if image else None

    def _owns(self, image: GlanceImage) -> bool:
        return bool(self._store) and image.get(STORE_KEY) == self._store and self._is_of_project(image)

    def _is_of_project(self, image: GlanceImage) -> bool:
        return image.get("owner") == self._cloud.project_id


def servers_by_image(compute: Rest) -> Mapping[str, Sequence[str]]:
    """Descriptions of the project's servers, by the IDs of the images that they boot or go back to.

    Raises ProviderError.
    """
    found: dict[str, list[str]] = defaultdict(list)
    for server in compute.pages("/servers/detail", "servers", "searching for servers that use images"):
        image = server.get("image")
        if isinstance(image, Mapping):
            found[str(image.get("id"))].append(f"server {server.get('id')} runs it")
        previous = str(server.get("metadata", {}).get(key_of(PREVIOUS), "")).partition(" ")[2]
        if previous:
            found[previous].append(f"server {server.get('id')} may be reimaged back to it")
    return found
