# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from typing import Any

from ..plugin_utils._core.action import Context, RoomAction
from ..plugin_utils._core.errors import ImageError
from ..plugin_utils._core.units import seconds_of
from ..plugin_utils._images.open import prune, pruned_target
from ..plugin_utils._images.prune import RetentionRule


class ActionModule(RoomAction):
    def work(self, options: dict[str, Any], context: Context) -> dict[str, Any]:
        if options["keep"] < 1:
            raise ImageError(f"keep: {options['keep']} leaves nothing to swap to (allowed: 1 or more)")
        definition = context.definition(options)
        target = pruned_target(definition, options["target"])
        rule = RetentionRule(options["keep"], seconds_of(options["older_than"]))
        return prune(definition.service, target, context.store(options), rule, shared=options["shared"], task=context)
