# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The summaries of a bake, of a verification and of a channel. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .text import LINES, ROWS, counted, duration, wrapped

_ABSENT = "absent"  # an input that one side lacks
_STAGES = 3  # of a bake that are named, those that took longest
_CHECKS = 8  # names of checks that are shown


def bake_lines(result: Mapping[str, Any], now: float, width: int) -> list[str]:  # noqa: ARG001  as all summaries
    """Return the summary of a result of ``image``."""
    images = {name: image for name, image in result["images"].items() if image}
    if not result["due"]:
        return [f"{each}: no bake is due, {result['why']}" for each in _names(images)]
    if not images:  # check mode
        differences = _differences(result["differences"], width)
        why = "" if differences else f" {result['why']}"
        return [f"A bake is due for {', '.join(result['images'])}:{why}", *differences, *_same_version(result)]
    lines = [f"Baked {line}" for line in _names(images, took=True)]
    lines += [*_differences(result["differences"], width), *_same_version(result)] or [f"  {result['why']}"]
    return (
        lines
        + [line for image in images.values() for text in _longest(image)[:1] for line in wrapped(text, width)][:LINES]
    )


def _longest(image: Mapping[str, Any]) -> list[str]:
    """Name the stages of a bake that took longest."""
    stages = (image.get("provenance") or {}).get("stages") or []
    longest = sorted(stages, key=lambda stage: -stage["seconds"])[:_STAGES]
    named = ", ".join(f"{stage['name']} ({duration(stage['seconds'])})" for stage in longest)
    return [f"The slowest stages: {named}"] if named else []


def _names(images: Mapping[str, Mapping[str, Any]], took: bool = False) -> list[str]:
    """Name each image with its targets."""
    targets: dict[str, list[str]] = {}
    for target, image in images.items():
        seconds = f" in {duration(image['seconds'])}" if took and image.get("seconds") else ""
        targets.setdefault(f"{image['name']} ({image['build']}){seconds}", []).append(target)
    return [f"{name} for {', '.join(names)}" for name, names in targets.items()]


def _differences(differences: list[Mapping[str, Any]], width: int) -> list[str]:
    lines = []
    for each in differences[:ROWS]:
        if each["before"] == _ABSENT:
            line = f"  + {each['path']}: {each['after']}"
        elif each["after"] == _ABSENT:
            line = f"  - {each['path']}"
        else:
            line = f"  ~ {each['path']}: {each['before']} -> {each['after']}"
        lines += wrapped(line, width)
    more = len(differences) - ROWS
    return [*lines, f"    and {more} more"] if more > 0 else lines


def _same_version(result: Mapping[str, Any]) -> list[str]:
    """Remind of a version that was not changed with the inputs. Then only the digest tells the images apart."""
    changed = {each["path"] for each in result["differences"]}
    if not changed or "version" in changed:
        return []
    return ["  The version is the same as before. A new one in the definition tells the images apart."]


def verify_lines(result: Mapping[str, Any], now: float, width: int) -> list[str]:  # noqa: ARG001  as all summaries
    """Return the summary of a result of ``image_verify``."""
    name = result["image"]["name"]
    copied = f"; copied to {', '.join(result['copied'])}" if result["copied"] else ""
    if "checks" in result:
        checks = result["checks"]
        named = f": {', '.join(checks[:_CHECKS])}" if checks else ""
        more = f" and {len(checks) - _CHECKS} more" if len(checks) > _CHECKS else ""
        return [f"{name} passed {counted(len(checks), 'check')}{named}{more}{copied}"]
    if result["due"]:  # check mode
        return [f"{name} would be booted and tested, because {result['why']}"]
    return [f"{name} is verified: {result['why']}{copied}"]


def channel_lines(result: Mapping[str, Any], now: float, width: int) -> list[str]:  # noqa: ARG001  as all summaries
    """Return the summary of a result of ``channel``."""
    image = result["image"]
    if "channel" not in result:
        revoked = image.get("revoked")
        return [f"{image['name']} is revoked: {revoked['reason']}" if revoked else f"{image['name']} is not revoked"]
    channel = result["channel"]
    earlier = [entry for entry in channel.get("history") or () if entry.get("image") != channel["image"]]
    before = f", before {earlier[-1].get('name')}" if result["changed"] and earlier else ""
    published = f"; published to {', '.join(result['published'])}" if result["published"] else ""
    state = "now has" if result["changed"] else "has"
    return [f"The channel {channel['channel']} {state} {channel['name']}{before}{published}"]
