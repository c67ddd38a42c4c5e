# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from ..plugin_utils._bake.current import current_image
from ..plugin_utils._core.action import Context, RoomAction
from ..plugin_utils._core.errors import ImageError
from ..plugin_utils._core.units import seconds_of
from ..plugin_utils._definition.digest import verify_digest
from ..plugin_utils._definition.launch import PARAMETER
from ..plugin_utils._definition.load import load_definition
from ..plugin_utils._definition.model import Definition, Target
from ..plugin_utils._fleet.recipes import Secrets
from ..plugin_utils._hosts.playbook_arguments import playbook_run
from ..plugin_utils._image_model import Image
from ..plugin_utils._images.catalogue import Catalogue
from ..plugin_utils._images.copies import copied, missing, region_of
from ..plugin_utils._providers.registry import open_provider
from ..plugin_utils._store.base import Store
from ..plugin_utils._store.keys import identity
from ..plugin_utils._store.registry import open_store, store_location
from ..plugin_utils._verification.verify import Candidate, Verification


class ActionModule(RoomAction):
    def work(self, options: dict[str, Any], context: Context) -> dict[str, Any]:
        definition = load_definition(context.folder / options["definition"])
        target = definition.target(options["target"])
        store = open_store(store_location(context.folder, options["store"]))
        catalogue = Catalogue(store)
        image = (
            catalogue.find(options["image"], definition.service)
            if options["image"]
            else current_image(definition, target, store)
        )
        if "artifacts" in image.artifact:
            raise ImageError(
                f"{image.name} was built from a Packer template of your own; only an image that a definition was baked into can be booted here"
            )
        tested_by = verify_digest(definition, target)
        due, why = _due(image, tested_by, options["force"])
        places = missing(image, definition)
        result: dict[str, Any] = {
            "changed": due or bool(places),
            "due": due,
            "why": why,
            "copied": sorted(places),
            "image": image.as_dict(),
        }
        if context.check_mode or not result["changed"]:
            return result
        with store.lock(f"verify-{definition.fleet_name(target.name)}", f"verify {image.name}"):
            if due:
                image = _booted(image, definition, target, store, catalogue, context)
                outcome = _tested(image, definition, target, store, seconds_of(options["timeout"]), context)
                at = datetime.now(timezone.utc).isoformat(timespec="seconds")
                image = catalogue.mark_verified(image, {"at": at, "verify": tested_by, **outcome})
                result["checks"] = outcome["checks"]
            image = _copied(image, missing(image, definition), target, store, catalogue, context)
        return {**result, "image": image.as_dict()}


def _due(image: Image, tested_by: str, force: bool) -> tuple[bool, str]:
    before = image.verified or {}
    if force:
        return True, "asked for by force"
    if not before:
        return True, "it was never verified"
    if before.get("verify") != tested_by:
        return True, "the tests changed since it was verified"
    return False, f"it passed the same tests at {before.get('at')}"


def _booted(
    image: Image, definition: Definition, target: Target, store: Store, catalogue: Catalogue, context: Context
) -> Image:
    """Where the image is in another region than the target, it is needed there to be booted at all; nowhere else before it passed."""
    places = missing(image, definition)
    own = {region: key for region, key in places.items() if region == region_of(target)} if places else {}
    return _copied(image, own, target, store, catalogue, context)


def _copied(
    image: Image, places: Mapping[str, str], target: Target, store: Store, catalogue: Catalogue, context: Context
) -> Image:
    if places:
        context.report(f"{image.name}: copying it to {', '.join(sorted(places))}")
        context.guard.check()
    return copied(image, target, places, identity(store), catalogue)


def _tested(
    image: Image, definition: Definition, target: Target, store: Store, timeout: float, context: Context
) -> dict[str, Any]:
    candidate = Candidate(
        image=image,
        definition=definition,
        target=target,
        settings=target.settings,
        secrets=Secrets(context.task_vars, context.template)(
            {name: each for name, each in target.secrets.items() if each.kind != PARAMETER}
        ),
        authorized_keys=()
        if definition.shell == "off"
        else (target.authorized_key or store.ssh_key(definition.fleet_name(target.name))[1],),
    )
    return Verification(candidate, open_provider(target, store), playbook_run(), context.guard, context.report).run(
        timeout
    )
