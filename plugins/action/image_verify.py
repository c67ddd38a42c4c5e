# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from typing import Any

from ..plugin_utils._core.action import Context, RoomAction
from ..plugin_utils._core.units import seconds_of
from ..plugin_utils._verification.open import VerifyOptions, verify_image


class ActionModule(RoomAction):
    def work(self, options: dict[str, Any], context: Context) -> dict[str, Any]:
        definition = context.definition(options)
        target = definition.target(options["target"])
        times = {name: seconds_of(options[name]) for name in ("timeout", "lock_timeout")}
        wanted = VerifyOptions(options["image"], options["force"], **times)
        return verify_image(definition, target, context.store(options), wanted, task=context)
