# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one shape in which a fleet and its instances are told."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..providers.base import STOPPED
from .model import PRESENT, InstanceView, Intent, Observed
from .timeline import iso


def instance_dict(view: InstanceView, image: str, launch: str | None) -> dict[str, Any]:
    """``outdated``: whether it differs from the image (and, where known, the launch fingerprint) that it should have."""
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
        "created": iso(view.created),
    }


def instance_dicts(observed: Observed, image: str, launch: str | None) -> list[dict[str, Any]]:
    """By slot, the oldest first."""
    return [instance_dict(view, image, launch) for view in sorted(observed.instances, key=lambda view: (view.slot, view.created, view.id))]


def volume_dicts(observed: Observed) -> list[dict[str, Any]]:
    volumes = sorted(observed.volumes, key=lambda volume: (volume.slot, volume.name))
    return [{"id": each.id, "slot": each.slot, "name": each.name, "size": each.size, "attached_to": each.attached_to} for each in volumes]


def slots_text(instances: Sequence[Mapping[str, Any]]) -> str:
    """A line per slot, for diffs."""
    return "".join(f"slot {each['slot']}: {each['image_name']}\n" for each in instances if each["state"] != STOPPED)


def wanted_text(intent: Intent) -> str:
    return "".join(f"slot {slot}: {intent.image_name}\n" for slot in range(intent.size)) if intent.goal == PRESENT else ""
