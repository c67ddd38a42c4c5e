# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from typing import Any

from ..plugin_utils._core.action import Context, RoomAction
from ..plugin_utils._core.units import seconds_of
from ..plugin_utils._fleet.upkeep.open import marking_for, open_marks


class ActionModule(RoomAction):
    def work(self, options: dict[str, Any], context: Context) -> dict[str, Any]:
        definition = context.definition(options)
        target = definition.target(options["target"])
        marking = marking_for(
            definition,
            target,
            options["hosts"],
            options["mark"],
            present=options["state"] == "present",
            reason=options["reason"],
        )
        marks = open_marks(target, context.store(options), marking, context)
        result = marks.apply(marking, seconds_of(options["lock_timeout"]), context.check_mode)
        if not context.diff:
            del result["diff"]
        if result["left_out"]:
            result["warnings"] = [
                f"{name} does not return to traffic: {why}" for name, why in result["left_out"].items()
            ]
        return result
