# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Health checks of ELBv2 target groups, and how long a new target takes to come into service. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..._core.errors import TrafficError
from ..._definition.probes import Health

# Protocols of target groups that only a Network Load Balancer can use, see
# https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateTargetGroup.html
NETWORK_PROTOCOLS = ("TCP", "TLS")
# Seconds until a Network Load Balancer begins to check a new target. The documentation says "a few minutes". The
# maintainers of AWS's controller for Kubernetes say 90 to 180 seconds, see
# https://docs.aws.amazon.com/elasticloadbalancing/latest/network/target-group-health-checks.html and
# https://github.com/kubernetes-sigs/aws-load-balancer-controller/issues/1834
NETWORK_REGISTRATION = 180
TRAFFIC_PORT = "traffic-port"  # AWS's name for the port of the target


@dataclass(frozen=True)
class HealthCheck:
    """How a load balancer checks the targets of a group. Times are in seconds."""

    group: str  # name
    balancer: str  # "application" or "network"
    protocol: str
    port: str  # a number, or TRAFFIC_PORT
    path: str  # "" if the check sends no HTTP request
    interval: int
    timeout: int
    healthy_threshold: int

    @property
    def registration(self) -> int:
        """Seconds until the checks of a new target begin."""
        return NETWORK_REGISTRATION if self.balancer == "network" else 0

    @property
    def first_checks(self) -> int:
        """How many checks a new target must pass.

        An Application Load Balancer asks for one, whatever the threshold, see
        https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html
        """
        return self.healthy_threshold if self.balancer == "network" else 1

    @property
    def in_service_after(self) -> int:
        """Seconds that a healthy target can take until it is in service."""
        return self.registration + self.first_checks * self.interval


def health_check_of(group: Mapping[str, Any]) -> HealthCheck:
    """The health check in an answer of DescribeTargetGroups. Missing values are AWS's defaults."""
    network = group.get("Protocol") in NETWORK_PROTOCOLS
    return HealthCheck(
        group=str(group.get("TargetGroupName") or group.get("TargetGroupArn")),
        balancer="network" if network else "application",
        protocol=str(group.get("HealthCheckProtocol") or ("TCP" if network else "HTTP")),
        port=str(group.get("HealthCheckPort") or TRAFFIC_PORT),
        path=str(group.get("HealthCheckPath") or ""),
        interval=int(group.get("HealthCheckIntervalSeconds") or 30),
        timeout=int(group.get("HealthCheckTimeoutSeconds") or 5),
        healthy_threshold=int(group.get("HealthyThresholdCount") or 5),
    )


def require_deadline(check: HealthCheck, deadline: float) -> None:
    """Raises TrafficError if a healthy target may come into service after the deadline, in seconds."""
    needed = check.in_service_after
    if needed <= deadline:
        return
    count = check.first_checks
    kind = "a Network" if check.balancer == "network" else "an Application"
    registration = f"{check.registration} s for the registration, then " if check.registration else ""
    checks = "one check" if count == 1 else f"{count} checks"
    fewer = "a shorter interval" if count == 1 else "fewer checks or a shorter interval"
    raise TrafficError(
        f"target group {check.group} of {kind} Load Balancer: an instance comes into service up to {needed} s after it "
        f"is registered ({registration}{checks} at an interval of {check.interval} s), but health.deadline is "
        f"{deadline:g} s (allowed: a health.deadline of {needed} s or more, or {fewer} in the target group)",
        permanent=True,
    )


def mismatches(check: HealthCheck, health: Health) -> Iterator[str]:
    """Ways in which the checks of a group test something else than the definition's health, as warnings."""
    http = health.http
    if http is None:
        return
    asked = f"health.http asks {http.path} at port {http.port}"
    if check.protocol not in ("HTTP", "HTTPS"):
        yield f"target group {check.group} checks by {check.protocol} only, but {asked}, so no request is tested"
        return
    port = str(http.port) if check.port == TRAFFIC_PORT else check.port
    if (port, check.path) != (str(http.port), http.path):
        yield f"target group {check.group} checks {check.path} at port {port}, but {asked}"
