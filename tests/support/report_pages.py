# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Facts for reports: of swaps in the simulated cloud, of a large fleet, and of one whose every text is hostile."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ansible_collections.immutable.infra.plugins.module_utils._plain_text import map_texts
from ansible_collections.immutable.infra.plugins.plugin_utils._core.units import iso
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.ledger import Ledger
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.model import DONE, Intent, Version
from ansible_collections.immutable.infra.plugins.plugin_utils._report.facts import bounded, swap_story
from ansible_collections.immutable.infra.plugins.plugin_utils._report.page import page_html
from ansible_collections.immutable.infra.plugins.plugin_utils._report.view import page_view
from ansible_collections.immutable.infra.tests.support import fleetlab

WRITTEN = "2026-01-31T09:30:00Z"
OLD, NEW = "sha256:" + "a" * 64, "sha256:" + "b" * 64
# Ends a text, an attribute and an element, and has a template, a tag with a handler, and a mark that reverses text.
HOSTILE = (
    "</script></style><script>document.title='taken'</script>"
    "\"'><img src=x onerror=\"document.title='taken'\">{{7*7}}\x1b[31m\u202e"
)


def swaps(lab: fleetlab.Lab, most: int = 5) -> list[dict[str, Any]]:
    """The ended swaps of a lab, the newest first, as facts."""
    return [swap_story(record["intent"]["fleet"], record) for record in Ledger(lab.store, lab.fleet).records(most)]


def instance(slot: int, image: str = NEW, **changes: Any) -> dict[str, Any]:
    each = {
        "id": f"i-{slot:05}",
        "slot": slot,
        "image": image,
        "image_name": "shop-1.4.2-bbbbbbbbbbbb" if image == NEW else "shop-1.4.1-aaaaaaaaaaaa",
        "state": "running",
        "sealed": True,
        "problem": "",
        "serving": True,
        "outdated": image != NEW,
        "zone": "eu-central-1a",
        "tainted": None,
        "protected": None,
        "standby": None,
        "created": "2026-01-30T09:00:00Z",
    }
    return {**each, **changes}


def image(digest: str, version: str, **changes: Any) -> dict[str, Any]:
    name = f"shop-{version}-{digest[7:19]}"
    verified = {"at": "2026-01-29T10:00:00+00:00", "checks": ["boots", "seals", "health", "verify.yml"]}
    record = {
        "name": name,
        "digest": digest,
        "build": "aws-123456789012-x86_64",
        "created": "2026-01-29T09:00:00+00:00",
        "seconds": 94.0,
        "base": {"kind": "ami", "source": "debian-12", "ami": "ami-0123456789abcdef0"},
        "provenance": {"commit": "4f1c9d2", "packer": "1.14.2"},
        "verified": verified,
        "revoked": None,
        "channels": [],
        "previous": None,
    }
    return {**record, **changes}


def fleet(size: int, stories: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    info = {
        "image": NEW,
        "image_name": "shop-1.4.2-bbbbbbbbbbbb",
        "size": size,
        "serving": size,
        "instances": [instance(slot) for slot in range(size)],
        "volumes": [],
        "endpoint": "https://shop.example.com",
        "orphans": [],
    }
    known = {
        "name": "shop-prod",
        "target": "prod",
        "provider": "aws",
        "simulated": False,
        "problem": None,
        "info": info,
        "foreseen": None,
        "foreseen_problem": None,
        "swaps": stories,
        "unfinished": None,
        "bake": {
            "problem": None,
            "image": "shop-1.4.2-bbbbbbbbbbbb",
            "verified": True,
            "digest": NEW,
            "promoted": True,
            "why": [],
        },
    }
    return {**known, **changes}


def facts(fleets: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    entry = {"image": NEW, "build": "aws-123456789012-x86_64", "name": "shop-1.4.2-bbbbbbbbbbbb"}
    said = {"at": "2026-01-30T08:00:00+00:00", "by": "ann", "note": "fixes the checkout"}
    channel = {"channel": "prod", "service": "shop", **entry, "history": [{**entry, **said}]}
    changed = [
        {"change": "changed", "type": "deb", "name": "openssl", "before": "3.0.15-1", "after": "3.0.16-1"},
        {"change": "added", "type": "pypi", "name": "httpx", "before": "", "after": "0.28.1"},
    ]
    drift = {"kind": "mode", "path": "/usr/bin/shop", "expected": "0755", "found": "4755"}
    known = {
        "service": "shop",
        "version": "1.4.2",
        "channel": "prod",
        "fleets": fleets,
        "images": [
            image(NEW, "1.4.2", channels=["prod"], previous="shop-1.4.1-aaaaaaaaaaaa"),
            image(OLD, "1.4.1"),
        ],
        "channels": [channel],
        "image_problem": None,
        "packages": [
            {
                "image": "shop-1.4.2-bbbbbbbbbbbb",
                "previous": "shop-1.4.1-aaaaaaaaaaaa",
                "build": "aws-123456789012-x86_64",
                "count": 311,
                "changes": changed,
                "left_out": 0,
            }
        ],
        "attested": [
            {"host": "shop-prod-0", "attested": True, "count": 0, "msg": "", "differences": []},
            {"host": "shop-prod-1", "attested": False, "count": 1, "msg": "", "differences": [drift]},
        ],
    }
    return {**known, **changes}


def small() -> dict[str, Any]:
    """A fleet of three after a swap that succeeded and one that was rolled back."""
    lab = fleetlab.Lab()
    lab.run(fleetlab.request(fleetlab.V1))
    lab.run(fleetlab.request(fleetlab.V2))
    try:
        lab.run(fleetlab.request(fleetlab.BROKEN))
    except Exception as error:  # the swap is stopped, as intended
        assert "was not healthy" in str(error)
    return facts([fleet(3, swaps(lab))])


def large(size: int = 1000, waves: int = 10, ended: int = 5) -> dict[str, Any]:
    """A fleet of many instances after swaps in waves, each instance at its own pace."""
    return facts([fleet(size, [swap_story("shop-prod", _record(size, waves, number)) for number in range(ended)])])


def _record(size: int, waves: int, number: int) -> dict[str, Any]:
    """A swap as the engine records it: eight events for each slot."""
    began, timeline = 1_769_800_000.0 + 86_400 * number, []
    for slot in range(size):
        begin, spread = slot * waves // size * 40.0, slot * 7919 % 97 / 10
        new, old = f"shop-prod-{slot}-new-{number}", f"shop-prod-{slot}-old-{number}"
        steps = (
            ("launched", new, 0.0),
            ("sealed", new, 20 + spread),
            ("registered", new, 22 + spread),
            ("in service", new, 24 + spread),
            ("draining", old, 25 + spread),
            ("deregistered", old, 28 + spread),
            ("removed", old, 29 + spread),
            ("gone", old, 35 + spread),
        )
        timeline += [(begin + after, event, slot, name) for event, name, after in steps]
    entries = [
        {
            "at": iso(began + seconds),
            "seconds": round(seconds, 1),
            "event": event,
            "slot": slot,
            "instance": name,
            "healthy": size,
            "serving": size + index % 3,
            "draining": index % 5,
        }
        for index, (seconds, event, slot, name) in enumerate(sorted(timeline))
    ]
    origin = Version(image=OLD, image_name="shop-1.4.1-aaaaaaaaaaaa", launch="1", size=size)
    intent = Intent(fleet="shop-prod", image=NEW, image_name="shop-1.4.2-bbbbbbbbbbbb", size=size, surge=size // waves)
    return {
        "intent": replace(intent, origin=origin, status=DONE, started=began, begun=True).as_dict(),
        "ended": iso(began + 500),
        "timeline": entries,
        "lowest_in_service": size,
        "peak": size + size // waves,
        "downtime": 0.0,
    }


def hostile() -> dict[str, Any]:
    """The facts of a small fleet with a hostile text in each place that somebody else may have written."""
    known = small()
    story_ = known["fleets"][0]["swaps"][0]
    story_["intent"].update(reason=HOSTILE, culprit=HOSTILE, last_words=[HOSTILE], image_name=HOSTILE)
    story_["timeline"][0].update(event=HOSTILE, instance=HOSTILE)
    story_["timeline"].append({**story_["timeline"][0], "event": f"unhealthy: {HOSTILE}"})
    known["fleets"][0]["info"]["instances"][0].update(
        dict.fromkeys(("id", "image_name", "state", "problem", "zone", "tainted", "protected", "created"), HOSTILE)
    )
    known["fleets"][0]["info"].update(endpoint=HOSTILE, orphans=[{"why": HOSTILE}])
    known["fleets"][0].update(problem=HOSTILE, foreseen_problem=HOSTILE)
    facts_: dict[str, Any] = bounded(
        {
            **known,
            **{
                name: map_texts(known[name], lambda _text: HOSTILE)
                for name in ("packages", "attested", "image_problem")
            },
            "images": [
                {
                    **each,
                    **map_texts(
                        {name: each[name] for name in ("base", "provenance", "verified")}, lambda _text: HOSTILE
                    ),
                }
                for each in known["images"]
            ],
            "channels": [
                {
                    **each,
                    "history": [
                        {**entry, "note": HOSTILE, "by": HOSTILE, "name": HOSTILE} for entry in each["history"]
                    ],
                }
                for each in known["channels"]
            ],
        }
    )
    return facts_


def page(known: dict[str, Any]) -> bytes:
    return page_html(page_view(known), WRITTEN)
