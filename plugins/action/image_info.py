# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from typing import Any

from ..plugin_utils.action import Context, RoomAction
from ..plugin_utils.images.catalogue import Catalogue
from ..plugin_utils.store.registry import open_store

FILES = {"manifest": "manifest.json.gz", "sbom": "sbom.cdx.json", "log": "packer.log"}


class ActionModule(RoomAction):
    def work(self, options: dict[str, Any], context: Context) -> dict[str, Any]:
        store = open_store(context.folder / options["store"])
        catalogue = Catalogue(store)
        images = [catalogue.find(options["image"], options["service"])] if options["image"] else catalogue.list(options["service"])
        files = {image.key: {name: store.path(f"{image.key}/{file}") for name, file in FILES.items()} for image in images}
        listed = [{**image.as_dict(), "files": {name: str(path) for name, path in files[image.key].items() if path.exists()}} for image in images]
        return {"changed": False, "images": listed}
