# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Boot servers from another image: Nova's rebuild, which shuts a server down in order and keeps its ports and volumes.

The request that begins it also replaces the metadata and the user data, so an interrupted run leaves nothing half done.
The root that a server had is not kept: its image is, and another rebuild goes back to it.

Source: https://docs.openstack.org/api-ref/compute/#rebuild-server-rebuild-action
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..._core.errors import ProviderError
from ..._openstack.metadata import PREFIX
from ..._openstack.rest import Rest
from .. import tags as tag_names
from ..contract import RUNNING, Instance, InstanceState, LaunchRequest
from .metadata import FORM, texts_of
from .servers import Resolved, Scope, image_of, machine_of, metadata_of, token_of, user_data_of
from .volumes import CinderVolumes

Known = Callable[[Sequence[str]], Sequence[Mapping[str, Any]]]


class NovaReimager:
    """See ``contract.Reimager``.

    Args:
        known: the existing ones of these servers, as Nova describes them.
    """

    replaces_in: InstanceState = RUNNING

    def __init__(self, compute: Rest, scope: Scope, volumes: CinderVolumes, known: Known) -> None:
        self._compute = compute
        self._scope = scope
        self._volumes = volumes
        self._known = known

    def check(self, instances: Sequence[Instance], wanted: Sequence[LaunchRequest]) -> None:
        """Settings may change, but not what a server was created with."""
        described = self._known([instance.id for instance in instances])
        for request in wanted:
            image_of(request, self._scope)
            user_data_of(request, ())
            other = [str(one["id"]) for one in described if texts_of(one).get(tag_names.MACHINE) != machine_of(request)]
            if other:
                raise ProviderError(
                    f"{', '.join(other)} cannot be reimaged: machine or network of the target has changed since the "
                    "launch (allowed: another strategy, which launches new instances)"
                )

    def reimage(self, requests: Mapping[str, LaunchRequest]) -> None:
        volumes = self._volumes.by_slot(list(requests.values()))
        for one in self._known(list(requests)):
            request, texts = requests[str(one["id"])], texts_of(one)
            if texts.get(tag_names.TOKEN) == token_of(request, self._scope):
                continue  # an earlier call began it, and its answer was lost
            previous = f"{texts.get(tag_names.IMAGE, '')} {texts.get(tag_names.GLANCE, '')}"
            resolved = Resolved(flavor="", network_name=texts.get(tag_names.NETWORK, ""))
            others = {key: str(value) for key, value in one["metadata"].items() if not key.startswith(PREFIX)}
            ours = metadata_of(request, self._scope, resolved, {tag_names.PREVIOUS: previous})
            rebuild = {
                "imageRef": image_of(request, self._scope),
                "metadata": {**others, **ours},
                "user_data": user_data_of(request, volumes.get(request.slot, ())),
            }
            path = f"/servers/{one['id']}/action"
            self._compute.post(path, {"rebuild": rebuild}, f"reimaging {one['id']}")

    def release(self, ids: Sequence[str]) -> None:
        key = FORM.key_of(tag_names.PREVIOUS)
        for one in self._known(ids):
            if key in one.get("metadata", {}):
                self._compute.delete(f"/servers/{one['id']}/metadata/{key}", f"releasing the image of {one['id']}")
