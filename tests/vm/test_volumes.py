# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Volumes of real machines that grow and change their type during a swap."""

from __future__ import annotations

import pytest
from ansible_collections.immutable.infra.tests.support.machines import Service, ask

pytestmark = pytest.mark.long
MB = 1024**2


@pytest.mark.parametrize(
    ("fleet", "volume"),
    [
        pytest.param({}, {"size": "128M", "type": "raw"}, id="rolling"),
        pytest.param({"strategy": "recreate"}, {"size": "192M", "type": "qcow2"}, id="recreate"),
        pytest.param({"strategy": "recreate", "hot": True}, {"size": "256M", "type": "raw"}, id="hot recreate"),
    ],
)
def test_a_volume_grows_and_changes_its_type(keeper: Service, fleet: dict[str, object], volume: dict[str, str]) -> None:
    words = keeper.write("before it grew;")
    sizes_before = {each["slot"]: int(ask(each, "/room")[1]) for each in keeper.instances()}
    greeting = f"{volume['size']} {volume['type']}"
    keeper.greet(greeting, fleet=fleet, volume=volume)
    keeper.play("swap")
    after = keeper.converged(greeting, words)
    size = int(volume["size"].rstrip("M")) * MB
    assert [(each["size"], each["type"]) for each in keeper.info()["volumes"]] == [(size, volume["type"])] * 2
    sizes_after = {each["slot"]: int(ask(each, "/room")[1]) for each in after}
    print(f"the file systems had {sizes_before} bytes and have {sizes_after}")
    assert all(sizes_before[slot] + 50 * MB < sizes_after[slot] < size for slot in sizes_after)
    keeper.write("after it grew;")
