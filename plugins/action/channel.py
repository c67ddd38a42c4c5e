# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from typing import Any

from ..plugin_utils.action import Context, RoomAction
from ..plugin_utils.bake.current import current_image
from ..plugin_utils.definition.load import load_definition
from ..plugin_utils.images.catalogue import Catalogue
from ..plugin_utils.images.channels import Channels
from ..plugin_utils.store.file import user_name
from ..plugin_utils.store.registry import open_store


class ActionModule(RoomAction):
    def work(self, options: dict[str, Any], context: Context) -> dict[str, Any]:
        definition = load_definition(context.folder / options["definition"])
        store = open_store(context.folder / options["store"])
        catalogue = Catalogue(store)
        if options["image"]:
            image = catalogue.find(options["image"], definition.service)
        else:
            image = current_image(definition, definition.target(options["target"]), store)
        channels = Channels(store)
        before = channels.current(definition.service, options["channel"])
        if context.check_mode:
            changed, after = channels.would_promote(definition.service, options["channel"], image, user_name(), options["note"])
        else:
            changed, after = channels.promote(definition.service, options["channel"], image, user_name(), options["note"])
        told = catalogue.get(image.digest, image.build) or image  # with the channels that point at it now
        result: dict[str, Any] = {"changed": changed, "channel": after, "image": told.as_dict()}
        if context.diff:
            result["diff"] = {"before": f"{before['name'] if before else 'nothing'}\n", "after": f"{after['name']}\n"}
        return result
