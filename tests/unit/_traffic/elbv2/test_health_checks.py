# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How long a target group's checks take, and what they test."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import TrafficError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.probes import Health, HttpProbe, TcpProbe
from ansible_collections.immutable.infra.plugins.plugin_utils._traffic.elbv2.health_checks import (
    HealthCheck,
    health_check_of,
    mismatches,
    require_deadline,
)

HTTP = Health(http=HttpProbe(8080, "/healthz"))


def check(**values: Any) -> HealthCheck:
    return health_check_of({"TargetGroupName": "shop", "Protocol": "HTTP", **values})


def test_an_application_load_balancer_needs_one_check_and_a_network_load_balancer_all_of_them() -> None:
    assert check().in_service_after == 30
    network = check(Protocol="TLS", HealthCheckIntervalSeconds=10, HealthyThresholdCount=3)
    assert network.in_service_after == 180 + 3 * 10
    require_deadline(network, 210.0)
    with pytest.raises(TrafficError, match=r"3 checks at an interval of 10 s\), but health.deadline is 209.5 s"):
        require_deadline(network, 209.5)
    with pytest.raises(TrafficError, match=r"Application Load Balancer.* 30 s .*\(one check at an interval of 30 s\)"):
        require_deadline(check(), 29.0)


@pytest.mark.parametrize(
    ("values", "health", "line"),
    [
        ({"HealthCheckPath": "/healthz"}, HTTP, None),
        ({"HealthCheckPath": "/healthz", "HealthCheckPort": "8080"}, HTTP, None),
        ({"Protocol": "TCP"}, Health(tcp=TcpProbe(8080)), None),
        (
            {"HealthCheckPath": "/"},
            HTTP,
            "target group shop checks / at port 8080, but health.http asks /healthz at port 8080",
        ),
        (
            {"HealthCheckPath": "/healthz", "HealthCheckPort": "9000"},
            HTTP,
            "target group shop checks /healthz at port 9000, but health.http asks /healthz at port 8080",
        ),
        (
            {"Protocol": "TCP"},
            HTTP,
            "target group shop checks by TCP only, but health.http asks /healthz at port 8080, so no request is tested",
        ),
    ],
)
def test_a_check_of_something_else_than_the_definition_is_named(
    values: dict[str, str], health: Health, line: str | None
) -> None:
    assert list(mismatches(check(**values), health)) == ([line] if line else [])
