# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Collect what a report shows: from the store, from the providers, and by predictions. Changes nothing.

Everything is plain data without control characters and of bounded size, because others may have written it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...module_utils._bounded import shortened
from ...module_utils._plain_text import map_texts, plain_text
from .._bake.open import definition_info
from .._core.documents import parse_json
from .._core.errors import ImmutableError
from .._core.task import Task
from .._definition.explain import compare, explain_lines
from .._definition.model import Definition, Target
from .._fleet.ledger import Ledger
from .._fleet.open import is_rehearsal, open_fleet
from .._fleet.prediction.rehearse import rehearse, rehearsed_intent
from .._image_model import SBOM_FILE, Image
from .._images.catalogue import Catalogue, lineage
from .._images.channels import Channels
from .._store.base import Store
from .packages import compared, packages_of

MAX_TEXT = 600  # characters of one text
MAX_IMAGES = 10  # the newest, besides those in use
MAX_COMPARED = 5  # images whose packages are compared
MAX_SBOM = 32 * 1024**2  # bytes
MAX_CHANGES = 400  # of the packages of one image
MAX_WHY = 20  # inputs that differ
MAX_ATTESTED = 2000  # hosts
MAX_DIFFERENCES = 100  # of one host


@dataclass(frozen=True)
class Wanted:
    """What a user wants to see."""

    targets: Sequence[Target]
    channel: str
    swaps: int  # the newest of each fleet
    predict: bool
    attested: Mapping[str, Any]  # results of ``host_attest`` by host


def shown_targets(definition: Definition, names: Sequence[str]) -> list[Target]:
    """Return the targets of these names, or by default all that are not simulated, or all if there are no others.

    Raises DefinitionError for a name that is none.
    """
    every = [definition.target(name) for name in definition.targets]
    return [definition.target(name) for name in names] or [each for each in every if not is_rehearsal(each)] or every


def report_facts(definition: Definition, store: Store | None, wanted: Wanted, task: Task) -> dict[str, Any]:
    """Return what a report shows of a service.

    A fleet that cannot be observed has the reason as ``problem``, and so has each other part.

    Args:
        store: None if there is none yet.
    """
    images, channels, problem = _images(definition, store)
    fleets = [_fleet(definition, target, store, wanted, task) for target in wanted.targets]
    for fleet, target in zip(fleets, wanted.targets, strict=True):
        if store and not fleet["simulated"]:
            fleet["bake"] = _bake(definition, target, store, wanted.channel, images)
    shown = [image for number, image in enumerate(images) if number < MAX_IMAGES or image.channels]
    facts: dict[str, Any] = bounded(
        {
            "service": definition.service,
            "version": definition.version,
            "channel": wanted.channel,
            "fleets": fleets,
            "images": [_image(image, images) for image in shown],
            "channels": channels,
            "image_problem": problem,
            "packages": _packages(store, shown, images) if store else [],
            "attested": [_attested(*each) for each in list(wanted.attested.items())[:MAX_ATTESTED]],
        }
    )
    return facts


def bounded(data: Any) -> Any:
    """Return plain data with texts that are safe to show and not too long."""
    return map_texts(data, lambda text: shortened(plain_text(text), MAX_TEXT))


def _fleet(definition: Definition, target: Target, store: Store | None, wanted: Wanted, task: Task) -> dict[str, Any]:
    name = definition.fleet_name(target.name)
    known: dict[str, Any] = {
        "name": name,
        "target": target.name,
        "provider": target.provider,
        "simulated": is_rehearsal(target),
        "problem": None,
        "info": None,
        "foreseen": None,
        "foreseen_problem": None,
        "swaps": [],
        "unfinished": None,
        "bake": None,
    }
    try:
        if is_rehearsal(target):
            return {**known, "foreseen": _rehearsal(definition, target, task)}
        if store is None:
            return {**known, "problem": "there is no store yet, so nothing is known of this fleet"}
        return {**known, **_observed(definition, target, store, wanted, task)}
    except ImmutableError as error:
        return {**known, "problem": error.message}


def _rehearsal(definition: Definition, target: Target, task: Task) -> dict[str, Any]:
    result = rehearse(definition, target, task.report)
    simulated = result["simulated"]
    return {
        **_story("rehearsal", definition.fleet_name(target.name), result),
        "intent": rehearsed_intent(definition, target).as_dict(),
        "duration": simulated["duration"],
        "stops": simulated["stops"],
    }


def _observed(definition: Definition, target: Target, store: Store, wanted: Wanted, task: Task) -> dict[str, Any]:
    name = definition.fleet_name(target.name)
    fleet, ledger = open_fleet(definition, target, store), Ledger(store, name)
    found: dict[str, Any] = {"info": fleet.info(wanted.channel)}
    found["swaps"] = [
        {**_story("swap", name, record), "intent": record["intent"], "ended": record["ended"]}
        for record in (ledger.records(wanted.swaps) if wanted.swaps else [])
    ]
    last = ledger.last()
    if last and last.status == "open" and last.begun:
        found["unfinished"] = last.as_dict()
    if wanted.predict:
        try:
            foreseen = fleet.foresee(wanted.channel, task)
        except ImmutableError as error:
            return {**found, "foreseen_problem": error.message}
        found["info"]["instances"] = foreseen.instances
        if foreseen.plan["changed"]:
            plan = {**foreseen.plan, "timeline": foreseen.timeline}
            story = {**_story("prediction", name, plan), "intent": foreseen.intent.as_dict()}
            found["foreseen"] = {**story, "duration": plan.get("duration"), "pauses": plan.get("pauses")}
            found["foreseen"].update(stops=plan.get("stops"), steps=[each["action"] for each in plan["steps"]][:20])
    return found


def _story(kind: str, fleet: str, result: Mapping[str, Any]) -> dict[str, Any]:
    """See ``swaps.swap_view``."""
    return {
        "kind": kind,
        "fleet": fleet,
        "timeline": result.get("timeline") or [],
        "left_out": result.get("timeline_left_out") or 0,
        "lowest": result.get("lowest_in_service"),
        "peak": result.get("peak"),
        "downtime": result.get("downtime"),
    }


def _bake(
    definition: Definition, target: Target, store: Store, channel: str, images: Sequence[Image]
) -> dict[str, Any]:
    """What the definition's current inputs are baked, verified and promoted as.

    Returns ``problem`` (why that is not known, or None), ``image`` (its name, or None if a bake is due), ``verified``,
    ``promoted``, and ``why``: the inputs that differ from those of the channel's image.
    """
    try:
        info = definition_info(definition, target, store, store_option=store.location)
        current = Channels(store).current(definition.service, channel)
    except ImmutableError as error:
        return {"problem": error.message}
    digest, inputs = info["digest"], info["inputs"]
    if not digest:
        return {"problem": info["digest_missing"]}
    image = next((image for image in images if image.digest == digest), None)
    promoted = next((image for image in images if current and image.digest == current["image"]), None)
    verified = image.verified if image else None
    return {
        "problem": None,
        "image": image.name if image else None,
        "verified": verified is not None and verified.get("verify") in (None, info["verify_digest"]),
        "promoted": current is not None and current["image"] == digest,
        "why": explain_lines(compare(promoted.inputs, inputs))[:MAX_WHY] if promoted else [],
    }


def _images(definition: Definition, store: Store | None) -> tuple[list[Image], list[dict[str, Any]], str | None]:
    """The images and the channels of the service, or why they cannot be read."""
    if store is None:
        return [], [], None
    try:
        return Catalogue(store).list(definition.service), Channels(store).list(definition.service), None
    except ImmutableError as error:
        return [], [], error.message


def _image(image: Image, every: Sequence[Image]) -> dict[str, Any]:
    """The record without what is long, and with the name of the image before it."""
    previous = lineage(image, every)["previous"]
    names = {other.digest: other.name for other in every}
    data = {name: value for name, value in image.as_dict().items() if name not in ("inputs", "artifact")}
    return {**data, "previous": names.get(previous) if previous else None}


def _packages(store: Store, shown: Sequence[Image], every: Sequence[Image]) -> list[dict[str, Any]]:
    """How the packages of the newest images differ from those of the images before them."""
    known: dict[str, dict[tuple[str, str], str] | None] = {}

    def packages(image: Image) -> dict[tuple[str, str], str] | None:
        if image.key not in known:
            known[image.key] = _sbom(store, image)
        return known[image.key]

    found: list[dict[str, Any]] = []
    for image in shown:
        digest = lineage(image, every)["previous"]
        previous = next((each for each in every if (each.digest, each.build) == (digest, image.build)), None)
        if previous is None or len(found) == MAX_COMPARED:
            continue
        before, after = packages(previous), packages(image)
        if before is None or after is None:
            continue
        changes = compared(before, after)
        found.append(
            {
                "image": image.name,
                "previous": previous.name,
                "build": image.build,
                "count": len(after),
                "changes": changes[:MAX_CHANGES],
                "left_out": max(0, len(changes) - MAX_CHANGES),
            }
        )
    return found


def _sbom(store: Store, image: Image) -> dict[tuple[str, str], str] | None:
    """The packages of an image, or None if it has no SBOM that can be read."""
    try:
        data = store.read_blob(f"{image.key}/{SBOM_FILE}")
        return packages_of(parse_json(data)) if data is not None and len(data) <= MAX_SBOM else None
    except (ImmutableError, ValueError):
        return None


def _attested(host: str, result: Any) -> dict[str, Any]:
    """What is shown of a result of ``host_attest``."""
    result = result if isinstance(result, Mapping) else {}
    differences = result.get("differences")
    differences = differences if isinstance(differences, list) else []
    return {
        "host": str(host),
        "attested": result.get("attested"),
        "checked": result.get("checked"),
        "count": result.get("count"),
        "msg": "" if result.get("attested") is not None else str(result.get("msg") or "it gave no result"),
        "differences": [dict(each) for each in differences[:MAX_DIFFERENCES] if isinstance(each, Mapping)],
    }
