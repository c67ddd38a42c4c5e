# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from typing import Any

from ..plugin_utils._core.action import Context, RoomAction
from ..plugin_utils._core.display import show_lines
from ..plugin_utils._core.errors import ImmutableError


class ActionModule(RoomAction):
    def work(self, options: dict[str, Any], context: Context) -> dict[str, Any]:  # noqa: ARG002  as all actions
        show_lines(options["lines"])
        if options["failure"]:
            raise ImmutableError(options["failure"])
        return {"changed": False, "lines": options["lines"]}
