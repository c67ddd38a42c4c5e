# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from typing import Any

from ..module_utils.packer.runner import Packer
from ..plugin_utils.action import Context, RoomAction
from ..plugin_utils.bake.targets import bake_targets, plan_bakes
from ..plugin_utils.definition.load import load_definition
from ..plugin_utils.store.registry import open_store
from ..plugin_utils.units import parse_duration
from ..plugin_utils.vault import decryptor


class ActionModule(RoomAction):
    exclusive = (("definition", "template"),)
    one_of = (("definition", "template"),)

    def work(self, options: dict[str, Any], context: Context) -> dict[str, Any]:
        definition = load_definition(context.folder / options["definition"])
        store = open_store(context.folder / options["store"])
        timeout = parse_duration(options["timeout"]) if options["timeout"] else None
        bakes = plan_bakes(definition, options["target"], store, force=options["force"], timeout=timeout)
        due = [bake for bake in bakes if bake.decision.due]
        if not context.check_mode:
            bake_targets(due, store, Packer(options["executable"]), decryptor(context.loader), context.report)
        images = {target: bake.image for bake in bakes for target in bake.targets}
        told = {target: image.as_dict() if image else None for target, image in images.items()}
        first = (due or bakes)[0].decision
        result = {
            "changed": bool(due),
            "due": bool(due),
            "why": first.why,
            "differences": [dict(difference) for difference in first.differences],
            "image": told[options["target"][0]],
            "images": told,
        }
        if context.diff:
            result["diff"] = [_diff(dict(difference)) for bake in due for difference in bake.decision.differences] or _reason(first.why, bool(due))
        return result


def _diff(difference: dict[str, Any]) -> dict[str, str]:
    path = difference["path"]
    return {"before_header": path, "after_header": path, "before": f"{difference['before']}\n", "after": f"{difference['after']}\n"}


def _reason(why: str, due: bool) -> dict[str, str]:
    return {"prepared": f"{'a bake is due' if due else 'no bake is due'}: {why}\n"}
