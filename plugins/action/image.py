# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from pathlib import Path
from typing import Any

from ..module_utils._packer.runner import Packer
from ..plugin_utils._bake.decide import Decision
from ..plugin_utils._bake.targets import bake_targets, decision_of, plan_bakes
from ..plugin_utils._bake.user_template import TemplateBake, TemplateJob
from ..plugin_utils._bake.variables import bake_variables
from ..plugin_utils._core.action import Context, RoomAction
from ..plugin_utils._core.errors import ImmutableError
from ..plugin_utils._core.units import seconds_of
from ..plugin_utils._definition.load import load_definition
from ..plugin_utils._image_model import Image
from ..plugin_utils._store.base import Store
from ..plugin_utils._store.registry import open_store, store_location

OF_TEMPLATES = ("service", "version", "vars", "var_files", "secrets", "inputs")


class ActionModule(RoomAction):
    exclusive = (("definition", "template"),)
    one_of = (("definition", "template"),)

    def work(self, options: dict[str, Any], context: Context) -> dict[str, Any]:
        store = open_store(store_location(context.folder, options["store"]))
        bake = _by_template if options["template"] else _by_definition
        decision, images = bake(options, store, context)
        told = {name: image.as_dict() if image else None for name, image in images.items()}
        result = {
            "changed": decision.due,
            "due": decision.due,
            "why": decision.why,
            "differences": [dict(difference) for difference in decision.differences],
            "image": next(iter(told.values())),
            "images": told,
        }
        if context.diff:
            result["diff"] = [_diff(dict(difference)) for difference in decision.differences] or _reason(decision)
        return result


def _by_definition(options: dict[str, Any], store: Store, context: Context) -> tuple[Decision, dict[str, Image | None]]:
    """The decision for all targets, and the image of each."""
    stray = [name for name in OF_TEMPLATES if options[name]]
    if stray:
        raise ImmutableError(f"{', '.join(stray)}: only with 'template', a definition says this itself")
    if not options["target"]:
        raise ImmutableError("target: names no target of the definition")
    definition = load_definition(context.folder / options["definition"])
    bakes = plan_bakes(definition, options["target"], store, force=options["force"], timeout=_timeout(options))
    decision = decision_of(bakes)
    due = [bake for bake in bakes if bake.decision.due]
    if not context.check_mode:
        packer = Packer(options["executable"])
        bake_targets(
            due, store, packer, lambda: bake_variables(definition, context.loader), context.guard, context.report
        )
    by_target = {target: bake.image for bake in bakes for target in bake.targets}
    return decision, {target: by_target[target] for target in options["target"]}


def _by_template(options: dict[str, Any], store: Store, context: Context) -> tuple[Decision, dict[str, Image | None]]:
    missing = [name for name in ("service", "version") if not options[name]]
    if missing:
        raise ImmutableError(f"{', '.join(missing)}: required with 'template', to record what it builds")
    order = TemplateJob(
        service=options["service"],
        version=options["version"],
        template=_absolute(options["template"], context),
        vars=options["vars"],
        var_files=tuple(_absolute(path, context) for path in options["var_files"]),
        secrets=options["secrets"],
        extra=tuple(_absolute(path, context) for path in options["inputs"]),
    )
    bake = TemplateBake(order, store, Packer(options["executable"]), context.guard, context.report)
    decision, image = bake.decide(options["force"])
    if decision.due and not context.check_mode:
        image = bake.run(_timeout(options), options["force"])
    return decision, {order.service: image}


def _absolute(path: str, context: Context) -> Path:
    return (context.folder / path).absolute()


def _timeout(options: dict[str, Any]) -> float | None:
    return seconds_of(options["timeout"]) if options["timeout"] else None


def _diff(difference: dict[str, Any]) -> dict[str, str]:
    path = difference["path"]
    return {
        "before_header": path,
        "after_header": path,
        "before": f"{difference['before']}\n",
        "after": f"{difference['after']}\n",
    }


def _reason(decision: Decision) -> dict[str, str]:
    return {"prepared": f"{'a bake is due' if decision.due else 'no bake is due'}: {decision.why}\n"}
