# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from typing import Any

from ..plugin_utils.action import Context, RoomAction
from ..plugin_utils.definition.load import load_definition
from ..plugin_utils.fleet.lease import Lease
from ..plugin_utils.fleet.orphans import VOLUME
from ..plugin_utils.fleet.sweep import Broom
from ..plugin_utils.providers.registry import open_provider
from ..plugin_utils.store.registry import open_store, store_location
from ..plugin_utils.units import seconds_of


class ActionModule(RoomAction):
    def work(self, options: dict[str, Any], context: Context) -> dict[str, Any]:
        definition = load_definition(context.folder / options["definition"])
        target = definition.target(options["target"])
        store = open_store(store_location(context.folder, options["store"]))
        provider = open_provider(target, store)
        broom = Broom(provider, store, context.guard, lambda fleet: Lease(store, fleet, f"sweep of {fleet}", provider.clock), context.report)
        found = broom.look(seconds_of(options["older_than"]))
        wanted = [each for each in found if each.kind != VOLUME or each.id in options["volumes"]] if options["state"] == "absent" else []
        removed = wanted if context.check_mode else broom.sweep(found, options["volumes"]) if options["state"] == "absent" else []
        result: dict[str, Any] = {
            "changed": bool(removed),
            "orphans": [each.as_dict() for each in found],
            "removed": [each.as_dict() for each in removed],
        }
        if context.diff:
            lines = {each.id: f"{each.kind} {each.id}: {each.why}\n" for each in found}
            gone = {each.id for each in removed}
            result["diff"] = {"before": "".join(lines.values()), "after": "".join(line for key, line in lines.items() if key not in gone)}
        return result
