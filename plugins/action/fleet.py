# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from typing import Any

from ..plugin_utils._core.action import Context, RoomAction
from ..plugin_utils._core.units import seconds_of
from ..plugin_utils._fleet.open import is_rehearsal, open_fleet
from ..plugin_utils._fleet.options import FleetOptions
from ..plugin_utils._fleet.prediction.rehearse import rehearse


class ActionModule(RoomAction):
    exclusive = (("rollback", "image"),)

    def work(self, options: dict[str, Any], context: Context) -> dict[str, Any]:
        definition = context.definition(options)
        target = definition.target(options["target"])
        if is_rehearsal(target):
            return rehearse(definition, target, context.report)
        wanted = FleetOptions(
            state=options["state"],
            channel=options["channel"],
            image=options["image"],
            rollback=options["rollback"],
            remove_volumes=options["remove_volumes"],
            ignore_windows=options["ignore_windows"],
            latencies=options["latencies"] or {},
            lock_timeout=seconds_of(options["lock_timeout"]),
            wait=options["wait"],
            approve=options["approve"],
        )
        return open_fleet(definition, target, context.store(options)).converge(wanted, context)
