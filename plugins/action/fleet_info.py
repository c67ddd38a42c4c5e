# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from typing import Any

from ..plugin_utils._core.action import Context, RoomAction
from ..plugin_utils._fleet.open import open_fleet


class ActionModule(RoomAction):
    def work(self, options: dict[str, Any], context: Context) -> dict[str, Any]:
        definition = context.definition(options)
        target = definition.target(options["target"])
        fleet = open_fleet(definition, target, context.store(options))
        return fleet.info(options["channel"], prove_again=options["prove_again"])
