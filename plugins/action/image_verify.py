# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from ..plugin_utils.action import Context, RoomAction
from ..plugin_utils.bake.current import current_image
from ..plugin_utils.definition.digest import verify_digest
from ..plugin_utils.definition.launch import PARAMETER
from ..plugin_utils.definition.load import load_definition
from ..plugin_utils.errors import ImageError
from ..plugin_utils.fleet.launch import Secrets
from ..plugin_utils.images.catalogue import Catalogue
from ..plugin_utils.images.verify import Candidate, Verification
from ..plugin_utils.playbooks import playbook_run
from ..plugin_utils.providers.registry import open_provider
from ..plugin_utils.store.registry import open_store, store_location
from ..plugin_utils.units import seconds_of


class ActionModule(RoomAction):
    def work(self, options: dict[str, Any], context: Context) -> dict[str, Any]:
        definition = load_definition(context.folder / options["definition"])
        target = definition.target(options["target"])
        store = open_store(store_location(context.folder, options["store"]))
        catalogue = Catalogue(store)
        image = catalogue.find(options["image"], definition.service) if options["image"] else current_image(definition, target, store)
        if "path" not in image.artifact:
            raise ImageError(f"{image.name} was built from a Packer template of your own; only an image that a definition was baked into can be booted here")
        tested_by = verify_digest(definition, target)
        before = image.verified or {}
        due, why = True, "it was never verified"
        if before:
            due, why = before.get("verify") != tested_by, "the tests changed since it was verified"
        if options["force"]:
            due, why = True, "asked for by force"
        if not due:
            return {"changed": False, "due": False, "why": f"it passed the same tests at {before.get('at')}", "image": image.as_dict()}
        if context.check_mode:
            return {"changed": True, "due": True, "why": why, "image": image.as_dict()}
        fleet = definition.fleet_name(target.name)
        with store.lock(f"verify-{fleet}", f"verify {image.name}"):
            candidate = Candidate(
                image=image,
                definition=definition,
                target=target,
                settings=target.settings,
                secrets=Secrets(context.task_vars, context.template)({name: each for name, each in target.secrets.items() if each.kind != PARAMETER}),
                authorized_keys=() if definition.shell == "off" else (target.authorized_key or store.ssh_key(fleet)[1],),
            )
            provider = open_provider(target, store)
            outcome = Verification(candidate, provider, playbook_run(), context.guard, context.report).run(seconds_of(options["timeout"]))
            at = datetime.now(timezone.utc).isoformat(timespec="seconds")
            image = catalogue.mark_verified(image, {"at": at, "verify": tested_by, **outcome})
        return {"changed": True, "due": True, "why": why, "checks": outcome["checks"], "image": image.as_dict()}
