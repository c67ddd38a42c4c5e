# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from typing import Any

from ..plugin_utils._core.action import Context, RoomAction
from ..plugin_utils._core.units import seconds_of
from ..plugin_utils._fleet.upkeep.open import open_sweep


class ActionModule(RoomAction):
    def work(self, options: dict[str, Any], context: Context) -> dict[str, Any]:
        definition = context.definition(options)
        target = definition.target(options["target"])
        result = open_sweep(target, context.store(options), context).run(
            seconds_of(options["older_than"]),
            options["volumes"],
            remove=options["state"] == "absent",
            check_mode=context.check_mode,
        )
        if not context.diff:
            del result["diff"]
        return result
