# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What killed bakes left on OpenStack.

A bake gives everything that it creates a name with the identity of its store, see ``bake_resource_name``. Servers and
images carry that in their metadata, too. A key pair has nothing but its name, and an address its description.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, Final
from urllib.parse import quote

from ..._core.errors import ProviderError
from ..._image_model import glance_of
from ..._openstack.connect import Connections
from ..._openstack.glance import GONE, Glance
from ..._openstack.metadata import key_of
from ..._openstack.rest import Rest
from ..bake_leftovers import Leftover, LeftoverKind
from ..tags import BAKE, FLEET, STORE
from .images import servers_by_image

SERVER: Final = "build_instance"
ADDRESS: Final = "address"
KEY: Final = "key_pair"
VOLUME: Final = "build_volume"
IMAGE: Final = "image"
REMOVAL_ORDER: tuple[LeftoverKind, ...] = (SERVER, ADDRESS, KEY, VOLUME, IMAGE)
SERVER_TIMEOUT, SERVER_POLL = 120.0, 2.0  # seconds until a removed server must be gone, and between two looks
IN_USE = ("400", "409")  # HTTP statuses of a removal that something else prevents
_BAKE = re.compile(r"bake-[0-9a-f]{12}")
_WHY = "a bake ended without it"


class OpenStackLeftovers:
    """See ``contract.Leftovers``.

    Args:
        store: the store's identity.
        wait: waits for seconds.
    """

    def __init__(
        self,
        cloud: Connections,
        store: str,
        *,
        now: Callable[[], float] = time.time,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._cloud = cloud
        self._compute, self._network, self._volumes = (
            Rest(cloud, service) for service in ("compute", "network", "block_storage")
        )
        self._glance = Glance(cloud)
        self._store = store
        self._name = re.compile(rf"immutable-{re.escape(store)}-({_BAKE.pattern})")
        self._now, self._wait = now, wait

    def find(self, older_than: float, owned: Sequence[Mapping[str, Any]]) -> list[Leftover]:
        known = {glance_of(artifact) for artifact in owned}
        leftovers = [
            leftover for leftover in self._leftovers(known) if leftover.age is None or leftover.age >= older_than
        ]
        return sorted(leftovers, key=lambda leftover: (REMOVAL_ORDER.index(leftover.kind), leftover.id))

    def remove(self, leftovers: Sequence[Leftover], check: Callable[[], None]) -> list[Leftover]:
        done = []
        for leftover in sorted(leftovers, key=lambda each: REMOVAL_ORDER.index(each.kind)):
            check()
            if self._remove(leftover):
                done.append(leftover)
        return done

    def _leftovers(self, known: set[str]) -> Iterator[Leftover]:
        """``known``: IDs of the images on record."""
        doing = "searching for leftovers of bakes"
        servers = set()
        for server in self._compute.pages("/servers/detail", "servers", doing):
            metadata = server.get("metadata") or {}
            ours = metadata.get(key_of(STORE)) == self._store and key_of(FLEET) not in metadata
            bake = str(metadata.get(key_of(BAKE), "")) if ours else ""
            if _BAKE.fullmatch(bake) and server.get("OS-EXT-STS:task_state") != "deleting":
                servers.add(str(server["id"]))
                yield self._leftover(SERVER, server["id"], bake, created=server.get("created"))
        for address in self._network.pages("/floatingips", "floatingips", doing):
            if bake := self._bake_in(address.get("description")):
                yield self._leftover(ADDRESS, address["id"], bake, created=address.get("created_at"))
        for key in self._compute.get("/os-keypairs", doing).get("keypairs", ()):
            if bake := self._bake_in(key.get("keypair", {}).get("name")):
                yield self._leftover(KEY, key["keypair"]["name"], bake, created=None)
        for volume in self._volumes.pages("/volumes/detail", "volumes", doing):
            holders = {str(each.get("server_id")) for each in volume.get("attachments", ())}
            going = volume.get("status") == "deleting"
            if (bake := self._bake_in(volume.get("name"))) and holders <= servers and not going:
                yield self._leftover(VOLUME, volume["id"], bake, created=volume.get("created_at"))
        yield from self._images(known)

    def _images(self, known: set[str]) -> Iterator[Leftover]:
        """Images that no record names, and no server boots."""
        marked = {str(image["id"]): image for image in self._glance.own(**{key_of(STORE): self._store})}
        # An unfinished image may not have its properties yet.
        named = {str(image["id"]): image for image in self._glance.own() if self._bake_in(image.get("name"))}
        strays = {key: image for key, image in {**marked, **named}.items() if key not in known}
        used = servers_by_image(self._compute) if strays else {}
        for key, image in strays.items():
            bake = self._bake_in(image.get("name")) or str(image.get(key_of(BAKE), ""))
            if _BAKE.fullmatch(bake) and key not in used and image.get("status") not in GONE:
                why = "no record names it"
                yield self._leftover(IMAGE, key, bake, created=image.get("created_at"), why=why)

    def _bake_in(self, name: object) -> str:
        """The bake in a name that only this store gives, or ""."""
        found = self._name.fullmatch(name) if isinstance(name, str) else None
        return found[1] if found else ""

    def _leftover(self, kind: LeftoverKind, key: object, bake: str, *, created: object, why: str = _WHY) -> Leftover:
        return Leftover(
            kind=kind,
            id=str(key),
            place=self._cloud.region or self._cloud.place,
            bake=bake,
            why=why,
            age=self._age(created),
        )

    def _age(self, created: object) -> float | None:
        try:
            at = datetime.fromisoformat(str(created).replace("Z", "+00:00"))
        except ValueError:
            return None
        return self._now() - (at if at.tzinfo else at.replace(tzinfo=timezone.utc)).timestamp()

    def _remove(self, leftover: Leftover) -> bool:
        """Whether it is removed. What something else uses stays."""
        doing = f"removing the {leftover.kind} {leftover.id}"
        try:
            if leftover.kind == SERVER:
                self._compute.delete(f"/servers/{leftover.id}", doing)
                self._wait_for_end(leftover.id)
            elif leftover.kind == ADDRESS:
                self._network.delete(f"/floatingips/{leftover.id}", doing)
            elif leftover.kind == KEY:
                self._compute.delete(f"/os-keypairs/{quote(leftover.id, safe='')}", doing)
            elif leftover.kind == VOLUME:
                self._volumes.delete(f"/volumes/{leftover.id}", doing)
            else:
                self._glance.delete(leftover.id)
        except ProviderError as error:
            if error.code in IN_USE:
                return False
            raise
        return True

    def _wait_for_end(self, server: str) -> None:
        """Wait until the server no longer exists, so that its volume and its address are free."""
        waited = 0.0
        while self._compute.find(f"/servers/{server}", f"waiting for the end of the server {server}") is not None:
            if waited >= SERVER_TIMEOUT:
                raise ProviderError(
                    f"the server {server} still exists {SERVER_TIMEOUT:g} s after its removal; run again"
                )
            self._wait(SERVER_POLL)
            waited += SERVER_POLL
