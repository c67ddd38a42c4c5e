# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Members of a pool as Octavia describes them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import TrafficError
from ansible_collections.immutable.infra.plugins.plugin_utils._traffic.octavia.members import (
    endpoint_of,
    member_tag,
    members_of,
    require_deadline,
    wanted_member,
)

FLEET = "shop-live"
MEMBER = {
    "id": "m1",
    "name": "11111111-1111-1111-1111-111111111111",
    "address": "10.7.0.11",
    "protocol_port": 8080,
    "weight": 1,
    "operating_status": "ONLINE",
    "tags": [member_tag(FLEET)],
}


@pytest.mark.parametrize(
    ("weight", "status", "state", "passing"),
    [
        (1, "ONLINE", "up", True),
        (100, "ONLINE", "up", True),
        (1, "NO_MONITOR", "up", True),
        (1, "OFFLINE", "down", False),
        (1, "ERROR", "down", False),
        (0, "DRAINING", "drain", True),
        (0, "ERROR", "drain", False),
    ],
)
def test_the_weight_and_the_status_are_the_state(weight: int, status: str, state: str, passing: bool) -> None:
    (one,) = members_of([{**MEMBER, "weight": weight, "operating_status": status}], FLEET)
    assert (one.state, one.passing) == (state, passing)


@pytest.mark.parametrize(
    "change",
    [{"tags": []}, {"tags": [member_tag("blog-live")]}, {"name": "a b"}, {"provisioning_status": "PENDING_DELETE"}],
)
def test_members_of_others_and_those_that_go_are_not_shown(change: dict[str, Any]) -> None:
    assert members_of([{**MEMBER, **change}], FLEET) == []


def test_what_is_requested_is_found_again() -> None:
    wanted = wanted_member(FLEET, MEMBER["name"], ("10.7.0.11", 8080), 0)
    (one,) = members_of([{**wanted, "id": "m1", "operating_status": "DRAINING"}], FLEET)
    assert (one.id, one.address, one.port, one.state) == (MEMBER["name"], "10.7.0.11", 8080, "drain")


def test_a_deadline_that_a_healthy_member_may_miss_is_refused() -> None:
    require_deadline({"delay": 5, "max_retries": 3}, "p", 15.0)
    with pytest.raises(TrafficError, match="up to 15 s"):
        require_deadline({"delay": 5, "max_retries": 3}, "p", 14.0)


@pytest.mark.parametrize(
    ("address", "protocol", "port", "url"),
    [
        ("198.51.100.7", "HTTP", 80, "http://198.51.100.7"),
        ("198.51.100.7", "HTTP", 8080, "http://198.51.100.7:8080"),
        ("fd00::7", "TERMINATED_HTTPS", 443, "https://[fd00::7]"),
        ("198.51.100.7", "TCP", 5432, "tcp://198.51.100.7:5432"),
    ],
)
def test_the_endpoint_of_a_listener(address: str, protocol: str, port: int, url: str) -> None:
    assert endpoint_of({"vip_address": address}, {"protocol": protocol, "protocol_port": port}) == url
