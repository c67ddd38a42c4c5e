# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from typing import Any

from ..plugin_utils._core.action import Context, RoomAction
from ..plugin_utils._core.errors import ImageError
from ..plugin_utils._core.units import seconds_of
from ..plugin_utils._definition.load import load_definition
from ..plugin_utils._fleet.upkeep.references import swapped_images
from ..plugin_utils._image_model import bake_name
from ..plugin_utils._images.prune import Rule
from ..plugin_utils._images.pruner import Pruner
from ..plugin_utils._providers.registry import SIMULATED, open_provider
from ..plugin_utils._store.file import user_name
from ..plugin_utils._store.registry import open_store, store_location


class ActionModule(RoomAction):
    def work(self, options: dict[str, Any], context: Context) -> dict[str, Any]:
        if options["keep"] < 1:
            raise ImageError(f"keep: {options['keep']} leaves nothing to swap to (allowed: 1 or more)")
        definition = load_definition(context.folder / options["definition"])
        target = definition.target(options["target"])
        if target.provider == SIMULATED:
            raise ImageError(f"target {target.name} is simulated and holds no images; name a target that is not")
        store = open_store(store_location(context.folder, options["store"]))
        pruner = Pruner(
            service=definition.service,
            provider=open_provider(target, store),
            store=store,
            swaps=lambda: swapped_images(store),
            lock=lambda image: store.lock(bake_name(image.digest), f"remove {image.name}"),
            guard=context.guard,
            report=context.report,
            shared=options["shared"],
        )
        rule = Rule(options["keep"], seconds_of(options["older_than"]))
        verdicts = pruner.look(rule) if context.check_mode else pruner.prune(rule, user_name())
        kept, removed = ([each for each in verdicts if each.stays is stays] for stays in (True, False))
        result: dict[str, Any] = {
            "changed": bool(removed),
            "kept": [each.as_dict() for each in kept],
            "removed": [each.as_dict() for each in removed],
        }
        if context.diff:
            before, after = (
                "".join(f"{each.image.name}: {'; '.join(each.why)}\n" for each in some) for some in (verdicts, kept)
            )
            result["diff"] = {"before": before, "after": after}
        return result
