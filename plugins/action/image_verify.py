# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ansible import constants as C
from ansible import context as cli

from ..plugin_utils.action import Context, RoomAction
from ..plugin_utils.bake.current import current_image
from ..plugin_utils.definition.digest import verify_digest
from ..plugin_utils.definition.load import load_definition
from ..plugin_utils.errors import ImageError
from ..plugin_utils.fleet.launch import Secrets
from ..plugin_utils.images.catalogue import Catalogue
from ..plugin_utils.images.playbook import PlaybookRun
from ..plugin_utils.images.verify import Candidate, Verification
from ..plugin_utils.providers.registry import open_provider
from ..plugin_utils.store.registry import open_store
from ..plugin_utils.units import seconds_of


class ActionModule(RoomAction):
    def work(self, options: dict[str, Any], context: Context) -> dict[str, Any]:
        definition = load_definition(context.folder / options["definition"])
        target = definition.target(options["target"])
        store = open_store(context.folder / options["store"])
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
                secrets=Secrets(context.task_vars, context.template)(target.secrets),
                authorized_keys=() if definition.shell == "off" else (target.authorized_key or store.ssh_key(fleet)[1],),
            )
            provider = open_provider(target, store)
            run = PlaybookRun(_vault_arguments(), _configuration())
            outcome = Verification(candidate, provider, run, context.guard, context.report).run(seconds_of(options["timeout"]))
            at = datetime.now(timezone.utc).isoformat(timespec="seconds")
            image = catalogue.mark_verified(image, {"at": at, "verify": tested_by, **outcome})
        return {"changed": True, "due": True, "why": why, "checks": outcome["checks"], "image": image.as_dict()}


def _vault_arguments() -> tuple[str, ...]:
    """The vault ids that ansible-playbook itself was given. What was typed at a prompt cannot be handed on."""
    given = [source for source in cli.CLIARGS.get("vault_ids") or () if not source.endswith("@prompt")]
    files = cli.CLIARGS.get("vault_password_files") or ()
    absolute = [_absolute_vault_id(source) for source in (*given, *files)]
    return tuple(argument for source in absolute for argument in ("--vault-id", source))


def _absolute_vault_id(source: str) -> str:
    label, at, path = source.rpartition("@")
    return f"{label}{at}{Path(path).expanduser().absolute()}"


def _configuration() -> dict[str, str]:
    paths = {"ANSIBLE_COLLECTIONS_PATH": ":".join(C.config.get_config_value("COLLECTIONS_PATHS") or [])}
    if C.CONFIG_FILE:
        paths["ANSIBLE_CONFIG"] = str(C.CONFIG_FILE)
    return paths
