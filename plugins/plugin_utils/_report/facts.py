# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Collect what a report shows: from the store, from the providers, and by predictions. Changes nothing.

Everything is plain data without control characters and of bounded size, because others may have written it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...module_utils._bounded import shortened
from ...module_utils._plain_text import map_texts, plain_text
from .._bake.open import definition_info
from .._core.errors import ImmutableError
from .._core.progress import silent
from .._core.task import Task
from .._definition.explain import compare, explain_lines
from .._definition.model import Definition, Target
from .._fleet.ledger import Ledger
from .._fleet.model import OPEN
from .._fleet.open import Foreseen, is_rehearsal, open_fleet
from .._fleet.prediction.rehearse import rehearse, rehearsed_intent
from .._image_model import Image
from .._store.base import Store
from .image_facts import image_facts, images_of, package_facts

MAX_TEXT = 600  # characters of one text
MAX_IMAGES = 10  # the newest, besides those in use
MAX_WHY = 20  # inputs that differ, or steps
MAX_ATTESTED = 2000  # hosts
MAX_DIFFERENCES = 100  # of one host
_OF_DIFFERENCE = ("kind", "path", "expected", "found")


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
    images, channels, problem = images_of(definition, store)
    promoted = next((each for each in channels if each["channel"] == wanted.channel), None)
    collector = _Collector(definition, wanted, task, images=images, promoted=promoted)
    shown = [image for number, image in enumerate(images) if number < MAX_IMAGES or image.channels]
    facts: dict[str, Any] = bounded(
        {
            "service": definition.service,
            "version": definition.version,
            "channel": wanted.channel,
            "fleets": [collector.fleet(target, store) for target in wanted.targets],
            "images": [image_facts(image, images) for image in shown],
            "channels": channels,
            "image_problem": problem,
            "packages": package_facts(store, shown, images) if store else [],
            "attested": [attested_facts(*each) for each in list(wanted.attested.items())[:MAX_ATTESTED]],
        }
    )
    return facts


def bounded(data: Any) -> Any:
    """Return plain data with texts that are safe to show and not too long."""
    return map_texts(data, lambda text: shortened(plain_text(text), MAX_TEXT))


@dataclass(frozen=True)
class _Collector:
    """Collects what is known of the fleets of one service.

    ``images``: all of the service, newest first. ``promoted``: the document of the channel, or None.
    """

    definition: Definition
    wanted: Wanted
    task: Task
    images: Sequence[Image]
    promoted: Mapping[str, Any] | None

    def fleet(self, target: Target, store: Store | None) -> dict[str, Any]:
        known: dict[str, Any] = {
            "name": self.definition.fleet_name(target.name),
            "target": target.name,
            "provider": target.provider,
            "simulated": is_rehearsal(target),
            "problem": None,
            "info": None,
            "foreseen": None,
            "foreseen_problem": None,
            "swaps": [],
            "unfinished": None,
            "last_failure": None,
            "bake": None,
        }
        try:
            if is_rehearsal(target):
                return {**known, "foreseen": _rehearsal(self.definition, target)}
            if store is None:
                problem = "there is no store yet, so nothing is known of this fleet"
                return {**known, "problem": problem, "bake": _unknown("there is no store yet")}
            return {**known, "bake": self._bake(target, store), **self._observed(target, store)}
        except ImmutableError as error:
            return {**known, "problem": error.message}

    def _observed(self, target: Target, store: Store) -> dict[str, Any]:
        name = self.definition.fleet_name(target.name)
        fleet, ledger = open_fleet(self.definition, target, store), Ledger(store, name)
        info, last = fleet.info(self.wanted.channel), ledger.last()
        found: dict[str, Any] = {
            "info": info,
            "unfinished": last.as_dict() if last and last.status == OPEN and last.begun else None,
            "last_failure": ledger.last_failure(info["image"]),
            "swaps": [swap_story(name, record) for record in ledger.records(self.wanted.swaps)]
            if self.wanted.swaps > 0
            else [],
        }
        if not self.wanted.predict:
            return found
        try:
            foreseen = fleet.foresee(self.wanted.channel, self.task)
        except ImmutableError as error:
            return {**found, "foreseen_problem": error.message}
        found["info"] = {**info, "instances": foreseen.instances}
        return {**found, "foreseen": _prediction(name, foreseen) if foreseen.plan["changed"] else None}

    def _bake(self, target: Target, store: Store) -> dict[str, Any]:
        """What the definition's current inputs are baked, verified and promoted as.

        Returns ``problem`` (why that is not known, or None), ``image`` (its name, or None if a bake is due), its
        ``digest``, ``verified``, ``promoted``, and ``why``: the inputs that differ from those of the channel's image.
        While the base is not built, there is no digest, and ``unknown`` says why.
        """
        try:
            info = definition_info(self.definition, target, store, store_option=store.location)
        except ImmutableError as error:
            return {"problem": error.message}
        digest, inputs, current = info["digest"], info["inputs"], self.promoted
        if not digest:
            return _unknown(info["digest_missing"])
        image = next((image for image in self.images if image.digest == digest), None)
        promoted = next((image for image in self.images if current and image.digest == current["image"]), None)
        return {
            "problem": None,
            "image": image.name if image else None,
            "digest": digest,
            "verified": image is not None and not image.verification_due(info["verify_digest"]),
            "promoted": current is not None and current["image"] == digest,
            "why": explain_lines(compare(promoted.inputs, inputs))[:MAX_WHY] if promoted else [],
        }


def _unknown(why: str) -> dict[str, Any]:
    """Return what is known of the bake of a definition without a digest: that it is due."""
    return {"problem": None, "image": None, "digest": None, "unknown": why, "why": []}


def _rehearsal(definition: Definition, target: Target) -> dict[str, Any]:
    result = rehearse(definition, target, silent)
    simulated = result["simulated"]
    return {
        **_story("rehearsal", definition.fleet_name(target.name), result),
        "intent": rehearsed_intent(definition, target).as_dict(),
        "duration": simulated["duration"],
        "stops": simulated["stops"],
    }


def _prediction(name: str, foreseen: Foreseen) -> dict[str, Any]:
    plan = foreseen.plan
    return {
        **_story("prediction", name, {**plan, "timeline": foreseen.timeline}),
        "intent": foreseen.intent.as_dict(),
        "duration": plan.get("duration"),
        "pauses": plan.get("pauses"),
        "stops": plan.get("stops"),
        "steps": [each["action"] for each in plan["steps"]][:MAX_WHY],
        "last_failure": plan.get("last_failure"),
    }


def swap_story(fleet: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """What is shown of an ended swap. ``record``: of the ledger."""
    return {**_story("swap", fleet, record), "intent": record["intent"], "ended": record["ended"]}


def _story(kind: str, fleet: str, result: Mapping[str, Any]) -> dict[str, Any]:
    """See ``swaps.swap_view``."""
    return {
        "kind": kind,
        "fleet": fleet,
        "timeline": result.get("timeline") or [],
        "left_out": _whole(result.get("timeline_left_out")) or 0,
        "lowest": _whole(result.get("lowest_in_service")),
        "peak": _whole(result.get("peak")),
        "downtime": _number(result.get("downtime")),
    }


def _whole(value: Any) -> int | None:
    """A whole number of a record, or None if the record has something else."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(value: Any) -> float | None:
    return value if isinstance(value, float) and math.isfinite(value) else _whole(value)


def attested_facts(host: str, result: Any) -> dict[str, Any]:
    """What is shown of a result of ``host_attest``. A host can return anything, so nothing else is taken over."""
    result = result if isinstance(result, Mapping) else {}
    differences = result.get("differences")
    differences = differences if isinstance(differences, list) else []
    attested = result.get("attested")
    known = attested if isinstance(attested, bool) else None
    return {
        "host": str(host),
        "attested": known,
        "count": _whole(result.get("count")) or len(differences),
        "msg": "" if known is not None else _text(result.get("msg")) or "it gave no result",
        "differences": [
            {name: _text(each.get(name)) for name in _OF_DIFFERENCE}
            for each in differences[:MAX_DIFFERENCES]
            if isinstance(each, Mapping)
        ],
    }


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
