# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from typing import Any

from ..plugin_utils._bake.base_image import resolve_base
from ..plugin_utils._core.action import Context, RoomAction
from ..plugin_utils._core.errors import ImmutableError
from ..plugin_utils._definition.digest import bake_inputs, digest_of, verify_digest
from ..plugin_utils._definition.explain import compare, explain_lines
from ..plugin_utils._definition.load import load_definition
from ..plugin_utils._definition.summary import summary_of, target_summary
from ..plugin_utils._images.catalogue import Catalogue
from ..plugin_utils._store.registry import find_store, store_location


class ActionModule(RoomAction):
    def work(self, options: dict[str, Any], context: Context) -> dict[str, Any]:
        definition = load_definition(context.folder / options["definition"])
        target = definition.target(options["target"])
        store = find_store(store_location(context.folder, options["store"])) if options["store"] else None
        base = resolve_base(target.base, store, definition.folder, target.build_account) if store else None
        inputs = bake_inputs(definition, target, base) if base else None
        missing = None
        if not options["store"]:
            missing = "the base is one of its inputs, and it is found by the store: give 'store'"
        elif store is None:
            missing = f"the base is one of its inputs, and there is no store {options['store']} yet"
        elif inputs is None:
            missing = f"the base ({target.base.kind} {target.base.source}) is one of its inputs and is not built yet in {store.location}"
        result: dict[str, Any] = {
            "changed": False,
            "definition": summary_of(definition, target),
            "target": target_summary(target),
            "digest": digest_of(inputs) if inputs else None,
            "digest_missing": missing,
            "inputs": inputs,
            "verify_digest": verify_digest(definition, target),
        }
        if options["compare_with"]:
            if store is None or inputs is None:
                raise ImmutableError(
                    f"cannot compare with {options['compare_with']}: the digest cannot be told yet, since {missing}"
                )
            image = Catalogue(store).find(options["compare_with"], definition.service)
            differences = compare(image.inputs, inputs)
            result.update(compared_with=image.digest, differences=differences, explain=explain_lines(differences))
        return result
