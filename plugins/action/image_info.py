# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from typing import Any

from ..plugin_utils._core.action import Context, RoomAction
from ..plugin_utils._image_model import Image
from ..plugin_utils._images.catalogue import Catalogue, lineage
from ..plugin_utils._store.base import Store
from ..plugin_utils._store.registry import open_store, store_location

FILES = {"manifest": "manifest.json.gz", "sbom": "sbom.cdx.json", "log": "packer.log"}


class ActionModule(RoomAction):
    def work(self, options: dict[str, Any], context: Context) -> dict[str, Any]:
        store = open_store(store_location(context.folder, options["store"]))
        catalogue = Catalogue(store)
        known = catalogue.list(options["service"])
        images = [catalogue.find(options["image"], options["service"])] if options["image"] else known
        kept = set(store.list("images/"))
        return {
            "changed": False,
            "images": [
                {**image.as_dict(), "lineage": lineage(image, known), "files": _files(store, image, kept)}
                for image in images
            ],
        }


def _files(store: Store, image: Image, kept: set[str]) -> dict[str, str]:
    """Those that its bake kept, by where they are."""
    keys = {name: f"{image.key}/{file}" for name, file in FILES.items()}
    return {name: store.place(key) for name, key in keys.items() if key in kept}
