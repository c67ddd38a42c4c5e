# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The events of instances that 0.1.0 wrote into records of swaps are events that today's code writes and reads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.events import InstanceEvent

DATA = Path(__file__).parent / "data/0.1.0"


def events(value: Any) -> Iterator[str]:
    """The kind of every event of an instance, anywhere in a captured document."""
    if isinstance(value, dict):
        if value.get("instance") and isinstance(value.get("event"), str):
            yield value["event"].partition(":")[0]
        for inner in value.values():
            yield from events(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from events(inner)


def test_events_of_instances_keep_their_names() -> None:
    found = {kind for path in DATA.rglob("*.json") for kind in events(json.loads(path.read_text(encoding="utf-8")))}
    # An ailing instance and a rollback say more than the name of a step, and no latency is measured from them.
    assert found - {"unhealthy", "rolling back"} <= set(get_args(InstanceEvent))
    assert {"launched", "sealed", "in service", "told to stop", "gone"} <= found
