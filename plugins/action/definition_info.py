# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from typing import Any

from ..plugin_utils._bake.open import definition_info
from ..plugin_utils._core.action import Context, RoomAction


class ActionModule(RoomAction):
    def work(self, options: dict[str, Any], context: Context) -> dict[str, Any]:
        definition = context.definition(options)
        return definition_info(
            definition,
            definition.target(options["target"]),
            context.existing_store(options),
            store_option=options["store"],
            compare_with=options["compare_with"],
            variables=context.variables,
        )
