# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which images a container engine has to keep: copies of archives and bases of the store.

An engine loads an image from its archive and imports a base from its file, and each of them can be repeated.
"""

from __future__ import annotations

import re

from .._store.base import Store
from .catalogue import Catalogue

BASES = "cache/container-bases"  # documents of imported bases, ``<engine>-<sha256>.json``
IMPORTED, USED = "image", "used"  # their keys: the id in the engine, and when a bake last asked for it
# Seconds. A bake asks for its base shortly before a container uses it, and an engine keeps what a container uses.
RECENTLY = 3600.0
_ID = re.compile(r"(?:sha256:)?([0-9a-f]{64})")


def needed_copies(store: Store, now: float) -> set[str]:
    """Return the ids, hexadecimal, of what the records of all services, Debian bases and running bakes need.

    Args:
        now: seconds since the epoch.
    """
    images = Catalogue(store).list(None)
    ids = {str(image.artifact.get("image", "")) for image in images}
    bases = {str(image.base.get("sha256", "")) for image in images}
    for key in store.list("bases/"):
        if key.endswith("/base.json") and (found := store.read(key)) and isinstance(found[0], dict):
            bases.add(str(found[0].get("sha256", "")))
    for key in store.list(f"{BASES}/"):
        found = store.read(key)
        document = found[0] if found and isinstance(found[0], dict) else {}
        used = document.get(USED, 0)
        recent = isinstance(used, (int, float)) and now - used < RECENTLY
        if recent or key.removeprefix(f"{BASES}/").partition("-")[2].removesuffix(".json") in bases:
            ids.add(str(document.get(IMPORTED, "")))
    return {match[1] for match in map(_ID.fullmatch, ids) if match}
