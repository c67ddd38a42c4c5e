# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from typing import Any

from ..plugin_utils._core.action import Context, RoomAction
from ..plugin_utils._core.units import seconds_of
from ..plugin_utils._definition.load import load_definition
from ..plugin_utils._fleet.autoscaling.result import refuse_group
from ..plugin_utils._fleet.lease import Lease, SystemClock
from ..plugin_utils._fleet.upkeep.marks import Marks, marking_of
from ..plugin_utils._images.revocation import Revocations
from ..plugin_utils._providers.registry import open_provider
from ..plugin_utils._store.registry import open_store, store_location


class ActionModule(RoomAction):
    def work(self, options: dict[str, Any], context: Context) -> dict[str, Any]:
        definition = load_definition(context.folder / options["definition"])
        target = definition.target(options["target"])
        refuse_group(target, "host_mark")
        fleet, mark, present = definition.fleet_name(target.name), options["mark"], options["state"] == "present"
        marking = marking_of(fleet, options["hosts"], mark, present, options["reason"], target.fleet.drain_timeout)
        store = open_store(store_location(context.folder, options["store"]))
        purpose = f"marking hosts {mark}" if present else f"taking the mark {mark} from hosts"
        provider = open_provider(target, store)
        lease = Lease(store, fleet, purpose, SystemClock(), longest_call=provider.longest_call)
        marks = Marks(provider, lease, context.guard.check, Revocations(store).reasons())
        result = marks.apply(marking, seconds_of(options["lock_timeout"]), context.check_mode)
        if not context.diff:
            del result["diff"]
        if result["left_out"]:
            result["warnings"] = [
                f"{name} is not put back in traffic: {why}" for name, why in result["left_out"].items()
            ]
        return result
