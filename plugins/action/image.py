# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from typing import Any

from ..plugin_utils._bake.open import BakeOptions, bake_definition, bake_template
from ..plugin_utils._bake.template_inputs import TemplateJob
from ..plugin_utils._core.action import Context, RoomAction
from ..plugin_utils._core.errors import ImmutableError
from ..plugin_utils._core.units import seconds_of
from ..plugin_utils._core.vaulted import decrypted, is_vaulted

ONLY_TEMPLATE = ("service", "version", "vars", "var_files", "secrets", "inputs")


class ActionModule(RoomAction):
    exclusive = (("definition", "template"),)
    one_of = (("definition", "template"),)

    def work(self, options: dict[str, Any], context: Context) -> dict[str, Any]:
        store = context.store(options)
        timeout = seconds_of(options["timeout"]) if options["timeout"] else None
        bake = BakeOptions(options["executable"], force=options["force"], timeout=timeout)
        if options["template"]:
            return bake_template(_job(options, context), store, bake, task=context)
        _require_definition_options(options)
        return bake_definition(context.definition(options), options["target"], store, bake, task=context)


def _require_definition_options(options: dict[str, Any]) -> None:
    misplaced = [name for name in ONLY_TEMPLATE if options[name]]
    if misplaced:
        raise ImmutableError(f"{', '.join(misplaced)}: allowed only with 'template'; a definition has its own")
    if not options["target"]:
        raise ImmutableError("target: name at least one target of the definition")


def _job(options: dict[str, Any], context: Context) -> TemplateJob:
    missing = [name for name in ("service", "version") if not options[name]]
    if missing:
        raise ImmutableError(f"{', '.join(missing)}: required with 'template', to record what it builds")
    # The inputs of an image are recorded in clear, except for secrets.
    vaulted = {name: value for name, value in options["vars"].items() if is_vaulted(value)}
    both = sorted(set(vaulted) & set(options["secrets"]))
    if both:
        raise ImmutableError(f"in both vars and secrets: {', '.join(both)}; keep each in one of them")
    return TemplateJob(
        service=options["service"],
        version=options["version"],
        template=context.path(options["template"]),
        vars={name: value for name, value in options["vars"].items() if name not in vaulted},
        var_files=tuple(context.path(path) for path in options["var_files"]),
        secrets=decrypted({**vaulted, **options["secrets"]}),
        extra=tuple(context.path(path) for path in options["inputs"]),
        base=context.folder,
    )
