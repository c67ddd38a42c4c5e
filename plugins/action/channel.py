# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..plugin_utils._bake.current import current_image
from ..plugin_utils._core.action import Context, RoomAction
from ..plugin_utils._core.errors import ImageError
from ..plugin_utils._definition.load import load_definition
from ..plugin_utils._definition.model import Definition
from ..plugin_utils._images.catalogue import Catalogue
from ..plugin_utils._images.channels import Channels
from ..plugin_utils._images.copies import published
from ..plugin_utils._images.revocation import Revocations, would_revoke
from ..plugin_utils._store.base import Store
from ..plugin_utils._store.file import user_name
from ..plugin_utils._store.registry import open_store, store_location


class ActionModule(RoomAction):
    def work(self, options: dict[str, Any], context: Context) -> dict[str, Any]:
        definition = load_definition(context.folder / options["definition"])
        store = open_store(store_location(context.folder, options["store"]))
        needed = {"promoted": ("channel",), "revoked": ("image", "note"), "unrevoked": ("image",)}[options["state"]]
        missing = [name for name in needed if not options[name]]
        if missing:
            raise ImageError(f"state={options['state']} needs {' and '.join(missing)}")
        if options["state"] == "promoted":
            return _promote(options, definition, store, context)
        return _revoke(options, definition, store, context)


def _promote(options: dict[str, Any], definition: Definition, store: Store, context: Context) -> dict[str, Any]:
    catalogue, named = Catalogue(store), options["image"]
    image = (
        catalogue.find(named, definition.service)
        if named
        else current_image(definition, definition.target(options["target"]), store)
    )
    channels = Channels(store)
    before = channels.current(definition.service, options["channel"])
    if context.check_mode:
        changed, after = channels.would_promote(
            definition.service, options["channel"], image, user_name(), options["note"]
        )
    else:
        changed, after = channels.promote(definition.service, options["channel"], image, user_name(), options["note"])
    # After the channel, which says what is true: a run that was killed in between is mended by the next one.
    told_of = published(image, definition, options["target"], options["channel"], check=context.check_mode)
    told = catalogue.get(image.digest, image.build) or image  # with the channels that point at it now
    result: dict[str, Any] = {
        "changed": changed or bool(told_of),
        "channel": after,
        "image": told.as_dict(),
        "published": sorted(told_of),
    }
    if context.diff:
        result["diff"] = {
            "before": f"{before['name'] if before else 'nothing'}\n"
            + "".join(f"{place}: {was or 'nothing'}\n" for place, was in told_of.items()),
            "after": f"{after['name']}\n" + "".join(f"{place}: its AMI\n" for place in told_of),
        }
    return result


def _revoke(options: dict[str, Any], definition: Definition, store: Store, context: Context) -> dict[str, Any]:
    image = Catalogue(store).find(options["image"], definition.service)
    revoke = options["state"] == "revoked"
    before, after = image.revoked, image.revoked
    if revoke is (before is None):
        after = would_revoke(user_name(), options["note"]) if revoke else None
        if not context.check_mode:
            revocations = Revocations(store)
            if revoke:
                revocations.revoke(image, user_name(), options["note"])
            else:
                revocations.restore(image)
            after = revocations.of(image)
    result: dict[str, Any] = {"changed": before != after, "image": replace(image, revoked=after).as_dict()}
    if after and image.channels:
        result["warnings"] = [
            f"{image.name} is revoked, but is what {', '.join(image.channels)} of {image.service} points at; promote another image"
        ]
    if context.diff:
        result["diff"] = {"before": _line(before), "after": _line(after)}
    return result


def _line(revoked: Any) -> str:
    return f"revoked: {revoked['reason']}\n" if revoked else "not revoked\n"
