# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from typing import Any

from ..plugin_utils._core.action import Context, RoomAction
from ..plugin_utils._report.facts import Wanted, shown_targets
from ..plugin_utils._report.open import write_report
from ..plugin_utils._report.write import mode_of


class ActionModule(RoomAction):
    def work(self, options: dict[str, Any], context: Context) -> dict[str, Any]:
        definition = context.definition(options)
        wanted = Wanted(
            targets=shown_targets(definition, options["target"]),
            channel=options["channel"],
            swaps=options["swaps"],
            predict=options["predict"],
            attested=options["attested"],
        )
        store = context.existing_store(options)
        dest, mode = context.path(options["dest"]), mode_of(options["mode"])
        return write_report(definition, store, wanted, context, dest=dest, mode=mode)
