# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the actions on images and channels call."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from .._bake.current import named_image
from .._core.errors import ImageError
from .._core.task import Task
from .._definition.model import Definition, ProviderName, Target
from .._fleet.upkeep.references import swapped_images
from .._image_model import LOG_FILE, MANIFEST_FILE, SBOM_FILE, Image, bake_name, digest_hex, image_key
from .._providers.registry import SIMULATED, open_provider
from .._store.base import Store
from .._store.file import user_name
from .accounts import permit
from .catalogue import Catalogue, lineage
from .channels import Channels
from .copies import publish_channel
from .engine_copies import needed_copies
from .integrity import require_unchanged_file
from .prune import RetentionRule, Verdict
from .pruner import Pruner
from .revocation import Revocations, revocation_of

# What a bake reads for the manifest, by provider, which is how its builds begin.
_UNREAD: Mapping[ProviderName, str] = {"aws": "the snapshot", "openstack": "the image in Glance"}
FILES = {"manifest": MANIFEST_FILE, "sbom": SBOM_FILE, "log": LOG_FILE}  # result key -> file


@dataclass(frozen=True)
class Promotion:
    """What to point a channel at."""

    target: str  # name of the target whose current image is promoted if no image is named
    channel: str
    image: str | None = None  # digest, at least six digits of it, or name
    note: str = ""


def promote(definition: Definition, store: Store, wanted: Promotion, task: Task) -> dict[str, Any]:
    """Point a channel at a verified image and publish it. Returns the result of the task. Raises ImageError."""
    service, channel = definition.service, wanted.channel
    image = named_image(wanted.image, definition, wanted.target, store)
    channels = Channels(store)
    before = channels.current(service, channel)
    write = channels.preview if task.check_mode else channels.promote
    changed, after = write(service, channel, image, by=user_name(), note=wanted.note)
    # After the channel, which is the authority: if a run is killed in between, the next one publishes.
    replaced = publish_channel(image, definition, wanted.target, channel, check=task.check_mode)
    current = Catalogue(store).get(image.digest, image.build) or image  # with the channels that point at it now
    result: dict[str, Any] = {
        "changed": changed or bool(replaced),
        "channel": after,
        "image": current.as_dict(),
        "published": sorted(replaced),
    }
    if task.diff:
        result["diff"] = _promotion_diff(before, after, replaced)
    return result


def _promotion_diff(
    before: Mapping[str, Any] | None, after: Mapping[str, Any], replaced: Mapping[str, str]
) -> dict[str, str]:
    """``replaced``: what each place had before, "" for nothing."""
    return {
        "before": f"{before['name'] if before else 'nothing'}\n"
        + "".join(f"{place}: {old or 'nothing'}\n" for place, old in replaced.items()),
        "after": f"{after['name']}\n" + "".join(f"{place}: its AMI\n" for place in replaced),
    }


def revoke(
    definition: Definition, store: Store, name: str, state: Literal["revoked", "unrevoked"], *, note: str, task: Task
) -> dict[str, Any]:
    """Revoke an image, or take that back. Returns the result of the task. Raises ImageError."""
    image = Catalogue(store).find(name, definition.service)
    before = after = image.revoked
    wanted = state == "revoked"
    if wanted is (before is None):
        after = revocation_of(user_name(), note) if wanted else None
        if not task.check_mode:
            after = _write_revocation(image, store, note if wanted else None)
    # After the revocation, which is the authority: if a run is killed in between, the next one takes the rest back.
    accounts = [] if task.check_mode else permit(image, definition, store, allowed=not wanted)
    result: dict[str, Any] = {
        "changed": before != after or bool(accounts),
        **({"accounts": accounts} if accounts else {}),
        "image": replace(image, revoked=after).as_dict(),
    }
    if after and image.channels:
        channels = ", ".join(image.channels)
        result["warnings"] = [
            f"{image.name} is revoked, but channels of {image.service} still point at it: {channels}; "
            "promote another image"
        ]
    if task.diff:
        result["diff"] = {"before": _revocation_text(before), "after": _revocation_text(after)}
    return result


def _write_revocation(image: Image, store: Store, note: str | None) -> dict[str, Any] | None:
    revocations = Revocations(store)
    if note is None:
        revocations.restore(image)
    else:
        revocations.revoke(image, user_name(), note)
    return revocations.of(image)


def _revocation_text(revoked: Mapping[str, Any] | None) -> str:
    return f"revoked: {revoked['reason']}\n" if revoked else "not revoked\n"


def image_info(store: Store, service: str | None, name: str | None) -> list[dict[str, Any]]:
    """Describe the images of a service, or one of them, each with its lineage and the files that its bake kept."""
    catalogue = Catalogue(store)
    known = catalogue.list(service)
    images = [catalogue.find(name, service)] if name else known
    keys = set(store.list("images/"))
    return [
        {**image.as_dict(), "lineage": lineage(image, known), "files": _files(store, image, keys)} for image in images
    ]


def _files(store: Store, image: Image, present: set[str]) -> dict[str, str]:
    """Return where the files of the image are, for those of the keys that are present."""
    keys = {name: f"{image.key}/{file}" for name, file in FILES.items()}
    return {name: store.location_of(key) for name, key in keys.items() if key in present}


def pruned_target(definition: Definition, name: str) -> Target:
    """Return the target whose images may be pruned. Raises ImageError for a simulated one."""
    target = definition.target(name)
    if target.provider == SIMULATED:
        raise ImageError(f"target {name} is simulated and has no images; name another target")
    return target


def prune(
    service: str, target: Target, store: Store, rule: RetentionRule, *, shared: bool, task: Task
) -> dict[str, Any]:
    """Remove the images of a service that the rule gives up and nothing needs. Returns the result of the task.

    Args:
        shared: whether to remove images that are shared with other accounts, too.
    """
    pruner = Pruner(
        service=service,
        provider=open_provider(target, store),
        store=store,
        swaps=lambda: swapped_images(store),
        lock=lambda image: store.lock(bake_name(image.digest), f"remove {image.name}"),
        guard=task.guard,
        report=task.report,
        shared=shared,
    )
    verdicts = pruner.plan(rule) if task.check_mode else pruner.prune(rule, user_name())
    task.guard.check()
    copies = pruner.provider.images.remove_copies(needed_copies(store, time.time()), check=task.check_mode)
    for line in [] if task.check_mode else copies:
        task.report(f"the engine's copy {line} removed")
    kept = [verdict for verdict in verdicts if verdict.kept]
    removed = [verdict for verdict in verdicts if not verdict.kept]
    result: dict[str, Any] = {
        "changed": bool(removed or copies),
        "kept": [verdict.as_dict() for verdict in kept],
        "removed": [verdict.as_dict() for verdict in removed],
        **({"copies": list(copies)} if copies else {}),
    }
    if task.diff:
        result["diff"] = {"before": _verdict_lines(verdicts), "after": _verdict_lines(kept)}
    return result


def _verdict_lines(verdicts: Sequence[Verdict]) -> str:
    return "".join(f"{verdict.image.name}: {'; '.join(verdict.reasons)}\n" for verdict in verdicts)


def manifest_of(store: Store, name: str, build: str | None, host: str) -> bytes:
    """Read the compressed manifest of the image that a host runs.

    Args:
        name: the image, by digest or name.
        build: the build of the image if it is known. With a digest it saves a search.

    Raises ImageError if the image has no manifest, or not the one that its bake recorded.
    """
    catalogue = Catalogue(store)
    if build and digest_hex(name) != name:
        key, image = image_key(name, build), catalogue.record(name, build)
    else:
        image = catalogue.find(name)
        key = image.key
    manifest = store.read_blob(f"{key}/{MANIFEST_FILE}")
    if manifest is not None:
        if image:
            require_unchanged_file(image, MANIFEST_FILE, manifest, store.location_of(f"{key}/{MANIFEST_FILE}"))
        return manifest
    unread = next((what for provider, what in _UNREAD.items() if f"/{provider}-" in key), None)
    if unread:
        raise ImageError(
            f"image {name}, which {host} runs, has no manifest: its bake could not read {unread}, "
            "and the build machine could not list its files"
        )
    raise ImageError(
        f"the store {store.location} has no manifest of image {name}, which {host} runs; bake the image again"
    )
