# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..plugin_utils._core.action import Context, RoomAction
from ..plugin_utils._core.units import seconds_of
from ..plugin_utils._definition.load import load_definition
from ..plugin_utils._fleet.lease import Lease
from ..plugin_utils._fleet.upkeep.orphans import VOLUME, Orphan
from ..plugin_utils._fleet.upkeep.sweep import OrphanSweeper
from ..plugin_utils._images.leftovers import BakeSweeper
from ..plugin_utils._providers.contract import Leftover
from ..plugin_utils._providers.registry import open_provider
from ..plugin_utils._store.registry import open_store, store_location


class ActionModule(RoomAction):
    def work(self, options: dict[str, Any], context: Context) -> dict[str, Any]:
        definition = load_definition(context.folder / options["definition"])
        target = definition.target(options["target"])
        store = open_store(store_location(context.folder, options["store"]))
        provider = open_provider(target, store)

        def lease(fleet: str) -> Lease:
            return Lease(store, fleet, f"sweep of {fleet}", provider.clock, longest_call=provider.longest_call)

        broom = OrphanSweeper(provider, store, context.guard, lease, context.report)
        older_than = seconds_of(options["older_than"])
        found = broom.look(older_than)
        leftovers = provider.leftovers  # not every provider bakes elsewhere
        bakes = BakeSweeper(leftovers, store, context.guard, context.report) if leftovers else None
        left = bakes.look(older_than) if bakes else []
        removed: list[Orphan | Leftover] = []
        if options["state"] == "absent" and context.check_mode:
            removed = [*(each for each in found if each.kind != VOLUME or each.id in options["volumes"]), *left]
        elif options["state"] == "absent":
            removed = [*broom.sweep(found, options["volumes"]), *(bakes.sweep(left) if bakes and left else [])]
        result: dict[str, Any] = {
            "changed": bool(removed),
            "orphans": [_told(each) for each in (*found, *left)],
            "removed": [_told(each) for each in removed],
        }
        if context.diff:
            lines = {(each.kind, each.id): f"{each.kind} {each.id}: {each.why}\n" for each in (*found, *left)}
            gone = {(each.kind, each.id) for each in removed}
            result["diff"] = {
                "before": "".join(lines.values()),
                "after": "".join(line for key, line in lines.items() if key not in gone),
            }
        return result


def _told(each: Orphan | Leftover) -> dict[str, Any]:
    """One shape for both: what belongs to no fleet has none, what no bake left says nothing of one."""
    return {"fleet": "", "slot": None, "place": "", "bake": "", **asdict(each)}
