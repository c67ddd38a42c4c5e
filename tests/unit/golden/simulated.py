# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Fleets in the simulated cloud as the engine of 0.1.0 left them: finished, and interrupted in each kind of swap.

``ENTRIES`` is as in ``produced``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.immutable.infra.tests.unit.golden import adapter, adapter_simulated, plain, produced

OLD, NEW = "sha256:" + "1" * 64, "sha256:" + "2" * 64
DATA = {
    "volumes": [{"name": "uploads", "size": 1024, "mount": "/data", "kind": "fast"}],
    "unavailable": 1,
    "zones": ["a", "b"],
}
STAGES = {"strategy": "canary", "stages": [{"instances": 1, "soak": 60.0}, {"instances": 2, "soak": 30.0}]}
# By name: changes to the intent, the changing call after which the run is killed, and images that never get healthy.
CASES: dict[str, tuple[dict[str, Any], int, tuple[str, ...]]] = {
    "rolling": ({}, 5, ()),
    "rolling_launched": ({}, 1, ()),
    "data": (DATA, 9, ()),
    "canary": (STAGES, 8, ()),
    "blue_green": ({"strategy": "blue_green", "surge": 3, "keep_old": 60.0}, 2, ()),
    "recreate": ({"strategy": "recreate", "hot": True}, 4, ()),
    "rollback": ({}, 3, (NEW,)),
    "rollback_data": (DATA, 8, (NEW,)),
    "absent": ({"goal": "absent", "size": 0, "image": "", "image_name": "", "launch": ""}, 3, ()),
}
# Fields of an intent without times and texts for people.
FACTS = (
    "image",
    "launch",
    "serial",
    "first",
    "passed",
    "retries",
    "restarted",
    "stage",
    "status",
    "begun",
    "origin",
    "culprit",
)


def asked(digest: str, **changes: Any) -> dict[str, Any]:
    name = f"shop-{digest[7]}.0-{digest[7:19]}"
    common = {"fleet": "shop-prod", "image": digest, "image_name": name, "launch": digest[7:], "size": 3}
    tags = {"port": "8080", "image_name": name, "version": f"{digest[7]}.0"}
    return {"intent": {**common, **changes}, "payload": {"ports": [8080], "tags": tags}}


def run(kept: Mapping[str, Any] | None, wanted: Mapping[str, Any], **more: Any) -> Any:
    with produced.steady():
        return plain.plain(adapter_simulated.simulated_run(kept, wanted, **more))


def at_rest(folder: Path) -> Any:
    """Return a fleet with data volumes after two swaps, and the result of the next run."""
    first = run(None, asked(OLD, **DATA))
    kept = run(first, asked(NEW, **DATA))
    assert kept["result"]["changed"]
    return {"kept": _state(kept), "asked": asked(NEW, **DATA), "next": summary(run(_state(kept), asked(NEW, **DATA)))}


def summary(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result of a run without texts for people, and the number of changing calls."""
    result = {name: value for name, value in found["result"].items() if name not in ("warnings", "timeline")}
    return {"result": result, "calls": len(found["calls"])}


def rehearsed(folder: Path) -> Any:
    """Return the predicted outcome of a rollout on each simulated target."""
    produced.definition_in(folder, "strategies")
    names = ("lowest_in_service", "peak", "downtime", "size", "instances", "left_alone")
    found = {}
    with produced.steady():
        for target in plain.golden("definitions/strategies"):
            result = adapter.run_action("fleet", folder, target=target)
            simulated = {**result["simulated"], "stops": bool(result["simulated"]["stops"])}
            found[target] = {**{name: result[name] for name in names}, "simulated": simulated}
    return plain.plain(found)


def interrupted(name: str) -> Callable[[Path], Any]:
    """Return an interrupted swap, and its end after the next run."""

    def made(folder: Path) -> Any:
        changes, killed_at, sick = CASES[name]
        of_old = {key: value for key, value in changes.items() if key in DATA}
        wanted = asked(NEW, **changes)
        kept = _state(run(run(None, asked(OLD, **of_old)), wanted, killed_at=killed_at, sick=sick))
        if sick:  # interrupted once more, during the rollback
            kept = _state(run(kept, wanted, killed_at=2, sick=sick))
        return {"kept": kept, "asked": wanted, "sick": list(sick), "ended": ended(run(kept, wanted, sick=sick))}

    return made


def ended(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the outcome of a run without texts and times."""
    intent = found["documents"]["fleets/shop-prod/intent.json"]
    instances = [
        {name: each[name] for name in ("id", "slot", "image", "launch", "state", "tags", "zone")}
        for each in found["instances"]
    ]
    return {
        "failed": found["result"].get("failed", False),
        "intent": {name: intent[name] for name in FACTS},
        "instances": sorted(instances, key=lambda each: each["id"]),
        "volumes": sorted([each["id"], each["attached_to"]] for each in found["volumes"]),
        "members": sorted([each["id"], each["state"]] for each in found["members"]),
        "documents": sorted(found["documents"]),
        "calls": len(found["calls"]),
    }


def _state(found: Mapping[str, Any]) -> dict[str, Any]:
    documents = {
        key: _holder(document) if key.startswith("leases/") else document
        for key, document in found["documents"].items()
    }
    names = ("instances", "volumes", "members", "healthy", "now")
    return {**{name: found[name] for name in names}, "documents": documents}


def _holder(lease: Mapping[str, Any]) -> dict[str, Any]:
    return {**lease, "holder": {**lease["holder"], "boot": "", "pids": "", "pid": 1, "start": ""}}


def gate(folder: Path) -> Any:
    """Return the input of a gate's playbook: the inventory with groups and variables, and the facts of the swap."""
    produced.definition_in(folder, "strategies")
    document = folder / "immutable.yml"
    text = document.read_text(encoding="utf-8").replace(
        "  canary:\n    provider", f"  prod:\n    authorized_key: {produced.AUTHORIZED_KEY}\n    provider"
    )
    document.write_text(text, encoding="utf-8")
    kept = plain.golden("interrupted/canary")["kept"]
    intent = kept["documents"]["fleets/shop-prod/intent.json"]
    store = produced.store_in(folder)
    with produced.steady():
        found = adapter_simulated.gate_played(folder, "prod", document=intent, kept=kept, store=store)
    return plain.plain(found, {str(folder): "<folder>", sys.executable: "<python>"})


ENTRIES: dict[str, Callable[[Path], Any]] = {
    "fleets/simulated": at_rest,
    "fleets/rehearsed": rehearsed,
    **{f"interrupted/{name}": interrupted(name) for name in CASES},
    "fleets/gate": gate,
}
