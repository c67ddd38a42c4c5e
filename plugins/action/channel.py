# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from typing import Any

from ..plugin_utils._core.action import Context, RoomAction
from ..plugin_utils._core.errors import ImageError
from ..plugin_utils._images.open import Promotion, promote, revoke

NEEDED = {"promoted": ("channel",), "revoked": ("image", "note"), "unrevoked": ("image",)}  # options by state


class ActionModule(RoomAction):
    def work(self, options: dict[str, Any], context: Context) -> dict[str, Any]:
        definition, store = context.definition(options), context.store(options)
        state, image, note = options["state"], options["image"], options["note"]
        missing = [name for name in NEEDED[state] if not options[name]]
        if missing:
            raise ImageError(f"state={state} needs {' and '.join(missing)}")
        if state == "promoted":
            wanted = Promotion(options["target"], options["channel"], image, note)
            return promote(definition, store, wanted, context)
        return revoke(definition, store, image, state, note=note, task=context)
