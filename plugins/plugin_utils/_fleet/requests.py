# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a task asks for, made into a request: the channel's image or an earlier one, and what a failed swap would go back to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .._core.errors import FleetError, ImmutableError
from .._definition.model import Definition, Target
from .._definition.secrets import Resolve
from .._image_model import Image
from .._images.catalogue import Catalogue
from .._images.channels import Channels
from .._images.revocation import Revocations
from .._providers.contract import Provider
from .._store.base import Store
from .ledger import Ledger, last_good_version
from .model import Intent, Request, Version
from .recipes import absent_request, again_request, payload_of, swap_request, with_origin

REMEMBERED = 20  # swaps that a rollback looks back on for how an image was launched


@dataclass(frozen=True)
class RequestBuilder:
    """Whose fleet it is, and where what is known of it is kept."""

    definition: Definition
    target: Target
    store: Store
    resolve: Resolve

    @property
    def fleet(self) -> str:
        return self.definition.fleet_name(self.target.name)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.store, self.fleet)

    def present(self, channel: str, image: str | None) -> Request:
        """To the channel's image, or one of its history. Raises ImageError, FleetError."""
        return self._with_rollback_target(
            self._to(Channels(self.store).require_promoted(self.definition.service, channel, image))
        )

    def rollback(self, channel: str) -> Request:
        """To the newest image that was promoted before the channel's present one and may still be used, launched as it was then."""
        channels, service = Channels(self.store), self.definition.service
        image = channels.rollback_image(service, channel, channels.require_current(service, channel)["image"])
        for version in self._ran():
            recipe = self.ledger.recipe(version.launch) if version.image == image.digest else None
            if recipe:
                return self._with_rollback_target(
                    again_request(self.definition, self.target, version, recipe, image, self.resolve)
                )
        return self._with_rollback_target(self._to(image))

    def _ran(self) -> Iterator[Version]:
        """What the fleet ran when all was well with it, the newest first. A version may have run more than once, with other settings each time."""
        last = self.ledger.last()
        if last:
            yield from filter(None, [last_good_version(last), last.origin])
        for record in self.ledger.records(REMEMBERED):
            yield from filter(None, [last_good_version(Intent.from_dict(record["intent"]))])

    def absent(self, remove_volumes: Sequence[str], provider: Provider) -> Request:
        """Raises FleetError for a volume that is not known."""
        known = {volume.name for volume in self.definition.data} | {
            volume.name for volume in provider.volumes.list(self.fleet)
        }
        unknown = sorted(set(remove_volumes) - known)
        if unknown:
            raise FleetError(
                f"remove_volumes: {self.fleet} has no volume {', '.join(unknown)} (it has: {', '.join(sorted(known)) or 'none'})"
            )
        return absent_request(self.definition, self.target, tuple(remove_volumes))

    def _to(self, image: Image) -> Request:
        keys = (
            () if self.definition.shell == "off" else (self.target.authorized_key or self.store.ssh_key(self.fleet)[1],)
        )
        return swap_request(self.definition, self.target, image, self.store.secret_key(), self.resolve, keys)

    def _with_rollback_target(self, request: Request) -> Request:
        """With what a rollback launches, should the swap fail."""
        intent, _resumed = self.ledger.intent(request.intent, 0.0)
        origin = intent.origin
        if origin is None or origin.launch == request.intent.launch:
            return replace(request, origin=request.payload if origin else None)
        try:
            return with_origin(request, origin, payload_of(*self._known(origin), self.resolve), "")
        except ImmutableError as error:
            return with_origin(request, origin, None, f"{origin.image_name} cannot be launched again: {error.message}")

    def _known(self, origin: Version) -> tuple[dict[str, Any], Image]:
        recipe = self.ledger.recipe(origin.launch)
        if recipe is None:
            raise FleetError("the store does not know how it was launched")
        image = Catalogue(self.store).get(recipe["image"], recipe["build"])
        if image is None:
            raise FleetError("its record is gone")
        Revocations(self.store).require_usable(image)
        return dict(recipe), image
