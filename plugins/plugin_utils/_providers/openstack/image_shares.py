# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Images of the project that bakes them, for another project of the same cloud.

The owner gives the image the visibility ``shared`` and makes the other project a member. A member may launch the image
by its ID from then on. Its lists have the image once the member has accepted it, or if they ask for its ID.

Source: https://docs.openstack.org/api-ref/image/v2/#sharing
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..._core.errors import ProviderError
from ..._image_model import SHARED as SHARED_ENTRY
from ..._image_model import glance_of
from ..._openstack.connect import Connections
from ..._openstack.glance import ACCEPTED, EVERYBODY, PRIVATE, SHARED, Glance, GlanceImage

DENIED = ("401", "403")  # HTTP statuses


class GlanceShares:
    """See ``shares.ImageShares``."""

    def __init__(self, owner: Connections, recipient: Connections) -> None:
        """
        Args:
            owner: the project that bakes.
            recipient: the project that gets images.
        """
        self._owner, self._recipient = owner, recipient
        self._images = Glance(owner)

    def require_shareable(self, artifact: Mapping[str, Any]) -> None:
        image, region = self._existing(artifact), self._recipient.region
        if region != artifact.get("region"):
            raise ProviderError(
                f"the image {image['id']} is in region {artifact.get('region')}, and an image in Glance is not copied "
                f"to {region or 'another region'}; bake it there",
                permanent=True,
            )

    def hand_over(
        self,
        artifact: Mapping[str, Any],
        tags: Mapping[str, str],  # noqa: ARG002  a member sees the image's own properties
    ) -> Mapping[str, Any]:
        image = self._existing(artifact)
        self._share(image)
        return {"glance": str(image["id"]), SHARED_ENTRY: True}

    def permit(self, artifact: Mapping[str, Any], allowed: bool) -> bool:
        image = self._images.find(glance_of(artifact))
        if image is None:
            return False
        return self._share(image) if allowed else self._set_member(image, False)

    def _share(self, image: GlanceImage) -> bool:
        """Share the image, and accept it. Returns whether it was not shared before. Raises ProviderError."""
        name, project = str(image["id"]), self._recipient.project_id
        changed = self._set_member(image, True)
        seen = Glance(self._recipient).find(name)
        if seen is None:
            self._set_member({**image, "visibility": SHARED}, False)
            raise ProviderError(
                f"the image {name} was shared with project {project} of {self._recipient.place}, which does not see it "
                f"(allowed: another project of the same cloud as {self._owner.place})"
            )
        if seen.get("visibility") == SHARED and self._images.members(name).get(project) != ACCEPTED:
            self._accept(name, project)
        return changed

    def _set_member(self, image: GlanceImage, allowed: bool) -> bool:
        """Make the other project a member of the image, or end that. Returns whether that changed something."""
        name, project, visibility = str(image["id"]), self._recipient.project_id, image.get("visibility")
        if visibility in EVERYBODY or (visibility == PRIVATE and not allowed):
            return False  # such an image has no members
        if visibility == PRIVATE:
            self._images.update(image, {"visibility": SHARED})
        if (project in self._images.members(name)) is allowed:
            return False
        if allowed:
            self._images.add_member(name, project)
        else:
            self._images.remove_member(name, project)
        return True

    def _accept(self, image: str, project: str) -> None:
        """A policy may reserve this for others. The image is launched by its ID, so it is not needed for that."""
        try:
            Glance(self._recipient).accept(image, project)
        except ProviderError as error:
            if error.code not in DENIED:
                raise

    def _existing(self, artifact: Mapping[str, Any]) -> GlanceImage:
        image = self._images.find(glance_of(artifact))
        if image is None:
            raise ProviderError(
                f"there is no image {glance_of(artifact)} in {self._owner.place}: bake the image again", permanent=True
            )
        return image
