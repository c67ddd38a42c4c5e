# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Results of a swap: the one shape of a fleet and its instances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ....module_utils._packer.redact import Redactor
from ..._core.consoles import redacted_lines, telling_lines
from ..._core.errors import ProviderError
from ..._core.units import iso
from ..._providers.contract import STOPPED, Compute, Volume
from ..actions import Done, Outcome, Pause, Wait
from ..model import PRESENT, Intent, Request
from ..observed import InstanceView, Observed

CONSOLE_LINES = 15  # of a failed instance, that a result shows


def instance_dict(view: InstanceView, image: str, launch: str | None) -> dict[str, Any]:
    """``outdated``: whether it differs from ``image`` and, if given, from the fingerprint ``launch``."""
    return {
        "id": view.id,
        "slot": view.slot,
        "image": view.image,
        "image_name": view.image_name,
        "launch": view.launch,
        "state": view.state,
        "sealed": view.proven,
        "healthy": view.healthy,
        "problem": view.problem,
        "traffic": view.member,
        "in_flight": view.in_flight,
        "serving": view.serving,
        "outdated": bool(image) and (view.image != image or (launch is not None and view.launch != launch)),
        "address": view.address[0] if view.address else None,
        "port": view.address[1] if view.address else None,
        "volumes": list(view.volumes),
        "zone": view.zone or None,
        "tainted": view.tainted or None,
        "protected": view.protected or None,
        "standby": view.standby or None,
        "created": iso(view.created),
    }


def instance_dicts(observed: Observed, image: str, launch: str | None) -> list[dict[str, Any]]:
    """By slot, the oldest first."""
    return [
        instance_dict(view, image, launch)
        for view in sorted(observed.instances, key=lambda view: (view.slot, view.created, view.id))
    ]


def volume_dicts(observed: Observed) -> list[dict[str, Any]]:
    volumes = sorted(observed.volumes, key=lambda volume: (volume.slot, volume.name))
    return [_volume_dict(volume) for volume in volumes]


def _volume_dict(volume: Volume) -> dict[str, Any]:
    return {
        "id": volume.id,
        "slot": volume.slot,
        "name": volume.name,
        "size": volume.size,
        "type": volume.kind or None,
        "attached_to": volume.attached_to,
    }


def swap_result(request: Request, intent: Intent, observed: Observed, outcome: Outcome | None) -> dict[str, Any]:
    """The result of a run. ``outcome``: what it ended with, or None if it failed."""
    paused = outcome.reason if isinstance(outcome, (Pause, Wait)) else None
    return {
        "fleet": intent.fleet,
        "service": request.service,
        "target": request.target,
        "image": intent.image or None,
        "image_name": intent.image_name or None,
        "size": intent.size,
        "instances": instance_dicts(observed, intent.image, intent.launch),
        "volumes": volume_dicts(observed),
        "paused": paused,
        "approval": outcome.gate or None if isinstance(outcome, Pause) else None,
        "left_alone": list(outcome.left) if isinstance(outcome, Done) else [],
        "origin_image_name": intent.origin.image_name if intent.origin else None,
    }


def failure_message(intent: Intent, reason: str) -> str:
    """Why a swap was stopped, with the end of the failed instance's console."""
    lines = "".join(f"\n  | {line}" for line in intent.last_words)
    console = f"\nThe last lines of {intent.culprit}'s console:{lines}" if lines else ""
    return f"the swap of {intent.fleet} to {intent.image_name or intent.image} was stopped: {reason}{console}"


def last_console_lines(compute: Compute, instance_id: str, secrets: Mapping[str, str]) -> tuple[str, ...]:
    """The end of a failed instance's console, without the secrets that the instance got and may have printed.

    It explains a failure and decides nothing, so it may be missing.
    """
    redactor = Redactor(secrets.values())
    try:
        lines = redacted_lines(compute.console(instance_id), redactor)
    except ProviderError as error:
        lines = [f"(its console could not be read: {error.message})"]
    return tuple(telling_lines(lines, CONSOLE_LINES))


def slots_text(instances: Sequence[Mapping[str, Any]]) -> str:
    """One line per slot, for the diff before a swap."""
    return "".join(f"slot {each['slot']}: {each['image_name']}\n" for each in instances if each["state"] != STOPPED)


def wanted_text(intent: Intent) -> str:
    """One line per slot, for the diff after a swap."""
    if intent.goal != PRESENT:
        return ""
    return "".join(f"slot {slot}: {intent.image_name}\n" for slot in range(intent.size))
