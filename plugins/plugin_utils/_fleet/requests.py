# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Build requests to the engine: a swap to the image of a channel or to an earlier one, or the removal of a fleet.

Each request for a swap also has what a rollback launches if the swap fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from .._core.errors import FleetError, ImmutableError
from .._core.progress import Report, silent
from .._definition.model import Definition, Target
from .._definition.secrets import ResolveSecrets
from .._hosts.connection import login_keys
from .._image_model import Image
from .._images.catalogue import Catalogue
from .._images.channels import Channels
from .._images.integrity import require_unchanged_disk
from .._images.revocation import Revocations
from .._providers.contract import Provider
from .._store.base import Store
from .ledger import Ledger
from .model import Request, Version
from .recipes import absent_request, payload_of, relaunch_request, swap_request, with_origin


@dataclass(frozen=True)
class RequestBuilder:
    """Builds requests for the fleet of one target."""

    definition: Definition
    target: Target
    store: Store
    resolve: ResolveSecrets
    report: Report = silent

    @property
    def fleet(self) -> str:
        return self.definition.fleet_name(self.target.name)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.store, self.fleet)

    def present(self, channel: str, image: str | None) -> Request:
        """Request a swap to the image of a channel, or to one of its history. Raises ImageError, FleetError."""
        promoted = Channels(self.store).require_promoted(self.definition.service, channel, image)
        self._refuse_other_owners(promoted)
        require_unchanged_disk(promoted, self.store, self.report)
        return self._with_rollback_target(self._swap_to(promoted))

    def rollback(self, channel: str) -> Request:
        """Request a swap to the newest usable image that was in service before the current one of a channel.

        If the fleet ran that image before, its instances get the settings they were launched with at that time.
        Raises ImageError, FleetError.
        """
        channels, service = Channels(self.store), self.definition.service
        running = channels.require_current(service, channel)["image"]
        image = channels.rollback_image(service, channel, running, served=self.ledger.served())
        require_unchanged_disk(image, self.store, self.report)
        for version in self.ledger.good_versions():
            recipe = self.ledger.recipe(version.launch) if version.image == image.digest else None
            if recipe:
                return self._with_rollback_target(
                    relaunch_request(self.definition, self.target, version, image, recipe=recipe, resolve=self.resolve)
                )
        return self._with_rollback_target(self._swap_to(image))

    def absent(self, remove_volumes: Sequence[str], provider: Provider) -> Request:
        """Request the removal of the fleet and of the named volumes. Raises FleetError for an unknown volume."""
        known = {volume.name for volume in self.definition.data} | {
            volume.name for volume in provider.volumes.list(self.fleet)
        }
        unknown = sorted(set(remove_volumes) - known)
        if unknown:
            raise FleetError(
                f"remove_volumes: {self.fleet} has no volume {', '.join(unknown)} "
                f"(it has: {', '.join(sorted(known)) or 'none'})"
            )
        return absent_request(self.definition, self.target, tuple(remove_volumes))

    def _refuse_other_owners(self, image: Image) -> None:
        """Raises FleetError if data would belong to another uid or gid in this image than in the present one.

        Images whose owners were not recorded are not refused. Nor is the way back to an image that the data was taken
        over from: the host checks that.
        """
        version = next(self.ledger.good_versions(), None) if image.owners else None
        if version is None or version.image == image.digest:
            return
        recipe = self.ledger.recipe(version.launch)
        present = Catalogue(self.store).record(recipe["image"], recipe["build"]) if recipe else None
        if present is None:
            return
        reowned = {
            name for each in (image, present) for name, asked in each.inputs.get("owners", {}).items() if asked["reown"]
        }
        changed = [
            f"data volume {name}: its owner has {present.owners[name]} (uid:gid) in {present.name} and {numbers} in "
            f"{image.name}"
            for name, numbers in image.owners.items()
            if present.owners.get(name, numbers) != numbers and name not in reowned
        ]
        if changed:
            raise FleetError(
                f"{'; '.join(changed)}, so the service could not use its files. Nothing was changed. Give user and "
                "group the same numbers in the image, or set reown: true for the volume, and bake again"
            )

    def _swap_to(self, image: Image) -> Request:
        return swap_request(
            self.definition,
            self.target,
            image,
            key=self.store.secret_key(),
            resolve=self.resolve,
            authorized_keys=login_keys(self.definition, self.target, self.store),
        )

    def _with_rollback_target(self, request: Request) -> Request:
        """Add what a rollback launches if the swap fails."""
        intent, _resumed = self.ledger.intent(request.intent, 0.0)
        origin = intent.origin
        if origin is None or origin.launch == request.intent.launch:
            return replace(request, origin=request.payload if origin else None)
        try:
            recipe, image = self._recorded(origin)
            return with_origin(request, payload_of(recipe, image, self.resolve))
        except ImmutableError as error:
            return with_origin(request, None, f"{origin.image_name} cannot be launched again: {error.message}")

    def _recorded(self, version: Version) -> tuple[dict[str, Any], Image]:
        """Return the recipe and the image of a version. Raises FleetError, ImageError."""
        recipe = self.ledger.recipe(version.launch)
        if recipe is None:
            raise FleetError("the store has no record of how it was launched")
        image = Catalogue(self.store).get(recipe["image"], recipe["build"])
        if image is None:
            raise FleetError("the record of its image is missing")
        Revocations(self.store).require_usable(image)
        require_unchanged_disk(image, self.store, self.report)
        return dict(recipe), image
