# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is due for a service, and why: bakes, verifications, promotions, swaps and sweeps. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .._summary.fleet import OTHER_IMAGE, outdated_why
from .._summary.text import counted, moment, slots


def due_of(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what is due: ``fleet`` (or ""), ``what`` and ``why``, and ``details``, a list of texts.

    Args:
        facts: see ``facts.report_facts``.
    """
    found = [{"fleet": fleet["name"], **each} for fleet in facts["fleets"] for each in _of_fleet(fleet)]
    return found + [{"fleet": "", **each} for each in _of_images(facts)]


def _of_fleet(fleet: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    info = fleet.get("info")
    yield from _of_bake(fleet, info)
    if info is None:
        return
    unfinished = fleet.get("unfinished")
    if unfinished:
        asks = unfinished.get("asks")
        yield _due(
            f"swap to {unfinished.get('image_name') or unfinished.get('image')}",
            f"it is unfinished{f' and waits for an approval of {asks}' if asks else ''}",
        )
    foreseen = fleet.get("foreseen") or {}
    reasons = swap_reasons(info)
    if not unfinished and (reasons or foreseen) and not _runs_unpromoted(fleet, info):
        steps = [] if reasons else foreseen.get("steps") or []
        failure = fleet.get("last_failure")
        failed = [f"the last try failed on {moment(failure['at'])}: {failure['reason']}"] if failure else []
        yield _due(
            f"swap to {info.get('image_name') or 'the image of the channel'}", "; ".join([*failed, *reasons]), steps
        )
    orphans = info.get("orphans") or []
    if orphans:
        yield _due(
            "sweep", f"{counted(len(orphans), 'resource')} that no fleet owns", [each["why"] for each in orphans]
        )


def _runs_unpromoted(fleet: Mapping[str, Any], info: Mapping[str, Any]) -> bool:
    """Whether every instance runs the definition's image, but the channel has another one.

    This is the state after a rollback by itself. Promoting the image ends it: then no swap is due.
    """
    bake, instances = fleet.get("bake") or {}, info["instances"]
    return (
        bool(bake.get("image"))
        and not bake.get("promoted")
        and len({each["slot"] for each in instances}) == info.get("size")
        and all(each.get("image") == bake.get("digest") and not each.get("tainted") for each in instances)
    )


def _of_bake(fleet: Mapping[str, Any], info: Mapping[str, Any] | None) -> Iterator[dict[str, Any]]:
    bake = fleet.get("bake")
    if not bake or bake["problem"]:
        return
    if bake["image"] is None:
        yield _due("bake", bake.get("unknown") or "no image has the definition's current inputs", bake["why"])
    elif not bake["verified"]:
        yield _due(f"verification of {bake['image']}", "it has not passed the present tests")
    elif not bake["promoted"]:
        yield _due(f"promotion of {bake['image']}", _why_promote(fleet, info or {}), bake["why"])


def _why_promote(fleet: Mapping[str, Any], info: Mapping[str, Any]) -> str:
    name, failure = info.get("image_name"), fleet.get("last_failure")
    points = f"the channel points at {name}" if name else "the channel points at no image"
    if info and info["instances"] and _runs_unpromoted(fleet, info):
        points = f"every instance runs it, but {points}"
    if not failure:
        return points
    return f"{points}; the last swap to that failed on {moment(failure['at'])}: {failure['reason']}"


def _of_images(facts: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for image in facts["images"]:
        if image["revoked"] and image["channels"]:
            yield _due(
                f"promotion of another image to {', '.join(image['channels'])}",
                f"{image['name']} is revoked: {image['revoked'].get('reason') or 'without a reason'}",
            )


def swap_reasons(info: Mapping[str, Any]) -> list[str]:
    """Return why instances must be replaced, each reason with the slots. ``info``: as ``fleet_info`` returns it."""
    where: dict[str, list[int]] = {}
    for each in info["instances"]:
        reason = _reason(each, info)
        if reason:
            where.setdefault(reason, []).append(each["slot"])
    found = [f"{reason} ({slots(numbers)})" for reason, numbers in sorted(where.items())]
    present = {each["slot"] for each in info["instances"]}
    missing = [slot for slot in range(int(info.get("size") or 0)) if slot not in present]
    return [*found, f"no instance ({slots(missing)})"] if missing and info.get("image") else found


def _reason(instance: Mapping[str, Any], info: Mapping[str, Any]) -> str:
    """Why an instance must be replaced, or ""."""
    if instance.get("tainted"):
        return f"tainted: {instance['tainted']}"
    why = outdated_why(instance, info.get("image"))
    if why == OTHER_IMAGE:
        return f"runs {instance.get('image_name') or why}, not {info.get('image_name') or 'the image of the channel'}"
    return why


def _due(what: str, why: str, details: Sequence[str] = ()) -> dict[str, Any]:
    return {"what": what, "why": why, "details": [str(each) for each in details][:20]}
