# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Swaps on real machines under load.

If the strategy promises it, no request is lost. If not, the test prints how long no instance answers.
"""

from __future__ import annotations

import pytest
from ansible_collections.immutable.infra.tests.support.load import PER_SECOND, Load
from ansible_collections.immutable.infra.tests.support.machines import Service

pytestmark = pytest.mark.vm
long = pytest.mark.long
CANARY = {"strategy": "canary", "canary": [{"instances": 1, "soak": "5s"}]}


def under_load(service: Service, greeting: str) -> Load:
    """Swap to another setting, with requests until the swap ends."""
    load = Load()
    service.greet(greeting)
    with load.on(service.module("fleet_info")["endpoint"]):
        service.play("swap")
    service.converged(greeting)
    print(f"{greeting}: {load}; seconds: {service.newest_record()['timeline'][-1]['seconds']}")
    return load


@pytest.mark.parametrize(
    "fleet",
    [
        pytest.param({}, id="rolling"),
        pytest.param({"strategy": "blue_green"}, id="blue_green", marks=long),
        pytest.param(CANARY, id="canary", marks=long),
    ],
)
def test_no_request_is_lost(plain: Service, fleet: dict[str, object]) -> None:
    plain.define(fleet=fleet)
    load = under_load(plain, f"loaded, {fleet.get('strategy', 'rolling')}")
    assert load.sent > 0
    assert load.failed == 0, load
    assert plain.newest_record()["lowest_in_service"] == plain.size


@long
def test_the_downtime_is_recorded(keeper: Service) -> None:
    """One host with data is recreated. The duration is printed, not tested."""
    words = keeper.write("alone;")
    for hot in (False, True):
        keeper.define(fleet={"size": 1, "strategy": "recreate", "hot": hot})
        load = under_load(keeper, f"alone, hot {hot}")
        record = keeper.newest_record()
        lost = load.failed / PER_SECOND
        print(f"hot {hot}: no instance served for {record['downtime']} s; {load}, or {lost} s of requests")
        assert record["downtime"] > 0
        assert record["lowest_in_service"] == 0
    keeper.greet("two again", fleet={"size": 2})
    keeper.play("swap")
    keeper.converged("two again", words)
