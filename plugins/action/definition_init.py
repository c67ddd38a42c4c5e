# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from dataclasses import fields
from typing import Any

from ..plugin_utils._core.action import Context, RoomAction
from ..plugin_utils._scaffold.open import Sources, account_of, write_definition
from ..plugin_utils._scaffold.service import ServiceOptions


class ActionModule(RoomAction):
    exclusive = (("auto_scaling_group", "target_group", "providers"),)

    def work(self, options: dict[str, Any], context: Context) -> dict[str, Any]:
        sources = Sources(
            template=context.path(options["template"]) if options["template"] else None,
            build=options["build"] or "",
            executable=options["executable"] or "packer",
            scaling_group=options["auto_scaling_group"] or "",
            target_group=options["target_group"] or "",
            account=account_of(options),
        )
        return write_definition(context.path(options["folder"]), _service(options), sources, task=context)


def _service(options: dict[str, Any]) -> ServiceOptions:
    given: dict[str, Any] = {}
    for name in (field.name for field in fields(ServiceOptions)):
        value = options[name]
        if value is not None:
            given[name] = tuple(value) if isinstance(value, list) else value
    return ServiceOptions(**given)
