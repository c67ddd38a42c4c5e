# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A result is small enough for a database of results, whatever it describes, and says what is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible_collections.immutable.infra.plugins.plugin_utils._core.progress import silent
from ansible_collections.immutable.infra.plugins.plugin_utils._core.result_size import (
    LEFT_OUT,
    MAX_RESULT,
    bounded_result,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.swap.timeline import MAX_ENTRIES, Timeline
from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import Image
from ansible_collections.immutable.infra.plugins.plugin_utils._images.catalogue import Catalogue
from ansible_collections.immutable.infra.plugins.plugin_utils._store.file import FileStore
from ansible_collections.immutable.infra.tests.support import fleetlab
from ansible_collections.immutable.infra.tests.support.aws.tasks import run_tasks
from hypothesis import given
from hypothesis import strategies as st

AWX_LIMIT = 700_000  # bytes of one result that AWX stores
HOSTS = 1000
json_data = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=30),
    lambda part: st.lists(part, max_size=5) | st.dictionaries(st.text(max_size=8), part, max_size=5),
    max_leaves=20,
)


def size(data: Any) -> int:
    return len(json.dumps(data))


def swapped(hosts: int) -> dict[str, Any]:
    """The result of a swap of a small fleet, with the instances and events of a fleet of ``hosts``."""
    lab, few = fleetlab.Lab(), 4
    lab.run(fleetlab.request(fleetlab.V1, size=few))
    result = lab.run(fleetlab.request(fleetlab.V2, size=few))
    times = hosts // few
    return {**result, "instances": result["instances"] * times, "timeline": result["timeline"] * times}


def test_a_swap_of_a_thousand_hosts_fits_and_keeps_both_ends_of_its_timeline() -> None:
    result = swapped(HOSTS)
    assert size(result) > AWX_LIMIT
    bounded = bounded_result(result)
    assert size(bounded) < MAX_RESULT + 1000 < AWX_LIMIT
    assert set(result) <= set(bounded)
    for name in ("instances", "timeline"):
        assert bounded[LEFT_OUT][name] == len(result[name]) - len(bounded[name])
        assert len(bounded[name]) >= 200
    assert bounded["instances"] == result["instances"][: len(bounded["instances"])]
    assert (bounded["timeline"][0], bounded["timeline"][-1]) == (result["timeline"][0], result["timeline"][-1])
    assert "800 of instances" in bounded["warnings"][-1]


def test_a_result_of_a_usual_fleet_is_not_touched() -> None:
    result = swapped(200)
    assert size(result) < MAX_RESULT
    assert bounded_result(result) == result


@given(st.dictionaries(st.text(max_size=8), json_data, max_size=8), st.integers(1, 3000), st.integers(1, 100_000))
def test_any_result_fits(result: dict[str, Any], times: int, length: int) -> None:
    large = {**result, "images": [result] * times, "files": {str(number): result for number in range(times)}}
    large["image"], large["text"] = {"inputs": large["files"]}, "x" * length
    bounded = bounded_result(large)
    assert set(large) <= set(bounded)
    assert size(bounded) < AWX_LIMIT
    if size(large) <= MAX_RESULT:
        assert bounded == large
    else:
        assert bounded[LEFT_OUT] or "left out" in bounded["text"]


def test_a_timeline_of_days_keeps_its_beginning_and_its_end() -> None:
    timeline = Timeline(silent, 0.0)
    for number in range(2 * MAX_ENTRIES + 5):
        timeline.add("unhealthy: x", number, "i-1", float(number))
    found = timeline.as_dict()
    slots = [entry["slot"] for entry in found["timeline"]]
    assert slots == [*range(MAX_ENTRIES), *range(MAX_ENTRIES + 5, 2 * MAX_ENTRIES + 5)]
    assert found["timeline_left_out"] == 5
    short = Timeline(silent, 0.0)
    short.add("sealed", 0, "i-1", 1.0)
    assert set(short.as_dict()) == {"timeline", "lowest_in_service", "peak", "downtime"}


def test_a_task_returns_an_image_with_any_number_of_inputs(tmp_path: Path) -> None:
    few, many = 10, 20_000
    catalogue = Catalogue(FileStore(tmp_path / "store"))
    inputs = {
        files: {"provision": {f"roles/web/files/{each}": "0" * 64 for each in range(files)}} for files in (few, many)
    }
    for files in inputs:
        image = Image(
            digest=f"sha256:{len(str(files))}" + "5" * 63,
            build="packer",
            service=f"shop-{files}",
            version="1",
            created="2026-01-01T00:00:00+00:00",
            artifact={},
            base={},
            inputs=inputs[files],
        )
        catalogue.add(image)
    none = "{{ omit }}"
    options = [{"service": f"shop-{files}", "definition": none, "target": none} for files in inputs]
    complete, bounded = run_tasks(tmp_path, [("image_info", each) for each in options])
    assert not complete.get("failed") and not bounded.get("failed"), (complete, bounded)
    assert complete["images"][0]["inputs"] == inputs[few] and LEFT_OUT not in complete
    assert len(bounded["images"]) == 1 and size(bounded) < AWX_LIMIT
    assert bounded[LEFT_OUT] == {"images.inputs.provision": many - 200}
