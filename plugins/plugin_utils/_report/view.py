# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The page as plain data: what its template shows, in its order. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._summary.fleet import instance_note
from .._summary.text import counted, slots
from .due import due_of
from .swaps import swap_view

MAX_ROWS = 100  # instances of a fleet; of more, those that need attention come first
MAX_HISTORY = 20  # promotions of a channel


def page_view(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the page shows. ``facts``: see ``facts.report_facts``."""
    images = {image["digest"]: image for image in facts["images"]}
    return {
        "service": facts["service"],
        "version": facts["version"],
        "channel": facts["channel"],
        "due": due_of(facts),
        "rehearsals_only": all(fleet["simulated"] for fleet in facts["fleets"]),
        "fleets": [_fleet(fleet, images, facts["channels"]) for fleet in facts["fleets"]],
        "swaps": [swap_view(story) for fleet in facts["fleets"] for story in _stories(fleet)],
        "images": [_image(image, facts["channels"]) for image in facts["images"]],
        "image_problem": facts["image_problem"],
        "channels": [_channel(channel) for channel in facts["channels"]],
        "packages": facts["packages"],
        "attested": _attested(facts["attested"]),
    }


def _stories(fleet: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What is foreseen, then what happened, the newest first."""
    return [*([fleet["foreseen"]] if fleet["foreseen"] else []), *fleet["swaps"]]


def _fleet(
    fleet: Mapping[str, Any], images: Mapping[str, Mapping[str, Any]], channels: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    info = fleet["info"] or {}
    instances = info.get("instances") or []
    runs = sorted({str(each.get("image") or "") for each in instances})
    rows = [_instance(each, info) for each in instances]
    worst = sorted(rows, key=lambda row: (not row["attention"], row["slot"]))
    shown = sorted(worst[:MAX_ROWS], key=lambda row: row["slot"])
    cells = _cells(instances)
    return {
        "name": fleet["name"],
        "target": fleet["target"],
        "provider": fleet["provider"],
        "simulated": fleet["simulated"],
        "problem": fleet["problem"],
        "foreseen_problem": fleet["foreseen_problem"],
        "observed": fleet["info"] is not None,
        "serving": info.get("serving"),
        "size": info.get("size"),
        "endpoint": info.get("endpoint"),
        "volumes": len(info.get("volumes") or []),
        "lineage": [_lineage(digest, instances, images, channels) for digest in runs],
        "cells": cells,
        "cells_text": _cells_text(cells),
        "instances": shown,
        "instances_left_out": len(rows) - len(shown),
    }


def _lineage(
    digest: str,
    instances: Sequence[Mapping[str, Any]],
    images: Mapping[str, Mapping[str, Any]],
    channels: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Where an image that runs comes from."""
    of_image = [each for each in instances if str(each.get("image") or "") == digest]
    known = images.get(digest)
    view = _image(known, channels) if known else {}
    return {
        "name": str(of_image[0].get("image_name") or digest or "an unknown image"),
        "slots": slots([int(each["slot"]) for each in of_image]),
        "known": known is not None,
        **{name: view.get(name) for name in ("base", "commit", "created", "verified", "promoted", "revoked")},
    }


def _instance(each: Mapping[str, Any], info: Mapping[str, Any]) -> dict[str, Any]:
    note = instance_note(each, info.get("image"))
    return {
        "slot": int(each["slot"]),
        "id": each["id"],
        "image": each.get("image_name") or "",
        "sealed": {True: "yes", False: "no", None: "unknown"}[each.get("sealed")],
        "serving": "yes" if each.get("serving") else "no",
        "created": each.get("created") or "",
        "note": note,
        "attention": bool(note) or not each.get("serving"),
    }


def _cells(instances: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One cell for each slot: the state of its best instance."""
    ranks = {"serving": 0, "outdated": 1, "down": 2}
    best: dict[int, str] = {}
    for each in instances:
        state = (
            ("outdated" if each.get("outdated") or each.get("tainted") else "serving")
            if each.get("serving")
            else "down"
        )
        slot = int(each["slot"])
        best[slot] = min(best.get(slot, state), state, key=lambda name: ranks[name])
    return [{"slot": slot, "state": state} for slot, state in sorted(best.items())]


def _cells_text(cells: Sequence[Mapping[str, Any]]) -> str:
    """The cells in words."""
    words = {"serving": "up to date", "outdated": "outdated but in service", "down": "not in service"}
    counts = [(sum(cell["state"] == state for cell in cells), text) for state, text in words.items()]
    return f"{counted(len(cells), 'slot')}: " + ", ".join(f"{count} {text}" for count, text in counts if count)


def _image(image: Mapping[str, Any], channels: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    provenance, base, verified = image["provenance"], image["base"], image["verified"]
    promotions = [
        _promotion(channel, entry)
        for channel in channels
        for entry in channel["history"]
        if (entry["image"], entry["build"]) == (image["digest"], image["build"])
    ]
    return {
        "name": image["name"],
        "digest": image["digest"],
        "build": image["build"],
        "created": image["created"],
        "seconds": round(float(image["seconds"] or 0)),
        "previous": image.get("previous"),
        "base": _base(base),
        "commit": str(provenance.get("commit") or provenance.get("template") or ""),
        "packer": str(provenance.get("packer") or ""),
        "verified": _verified(verified),
        "promoted": promotions[-5:],
        "channels": list(image["channels"]),
        "revoked": _revoked(image["revoked"]),
    }


def _base(base: Mapping[str, Any]) -> str:
    """The base in words: its kind and source, and its checksum or AMI."""
    parts = [str(base[name]) for name in ("kind", "source", "name", "ami") if base.get(name)]
    checksum = str(base.get("sha256") or base.get("checksum") or "")
    return " ".join(dict.fromkeys(parts)) + (f" ({checksum.removeprefix('sha256:')[:12]})" if checksum else "")


def _verified(verified: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not verified:
        return None
    checks = verified.get("checks")
    return {
        "at": str(verified.get("at") or ""),
        "checks": [str(each) for each in checks] if isinstance(checks, list) else [],
    }


def _revoked(revoked: Mapping[str, Any] | None) -> str:
    if not revoked:
        return ""
    return (
        f"{revoked.get('reason') or 'without a reason'} ({revoked.get('by') or 'unknown'}, {revoked.get('at') or ''})"
    )


def _promotion(channel: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, str]:
    return {
        "channel": channel["channel"],
        "name": str(entry["name"]),
        **{name: str(entry.get(name) or "") for name in ("at", "by", "note")},
    }


def _channel(channel: Mapping[str, Any]) -> dict[str, Any]:
    history = [_promotion(channel, entry) for entry in reversed(channel["history"])]
    return {
        "name": channel["channel"],
        "image": channel["name"],
        "history": history[:MAX_HISTORY],
        "left_out": max(0, len(history) - MAX_HISTORY),
    }


def _attested(results: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The results of attestation, those that need attention first. None if there are none."""
    if not results:
        return None
    ordered = sorted(results, key=lambda each: (each["attested"] is True, each["host"]))
    equal = sum(each["attested"] is True for each in results)
    return {
        "equal": equal,
        "count": len(results),
        "hosts": ordered[:MAX_ROWS],
        "left_out": max(0, len(ordered) - MAX_ROWS),
    }
