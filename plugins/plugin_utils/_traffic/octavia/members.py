# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Members of an Octavia pool as its API describes them. Pure.

Source: https://docs.openstack.org/api-ref/load-balancer/v2/
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..._core.errors import TrafficError
from ..._openstack.metadata import key_of
from ..._providers.contract import DOWN, DRAIN, UP, MemberState
from ..._providers.tags import FLEET

IN_SERVICE, OUT_OF_SERVICE = 1, 0  # weights
# Operating statuses of members whose checks pass, or that nothing checks. DRAINING is that of a member with weight 0.
PASSING = ("ONLINE", "DRAINING", "NO_MONITOR")
REMOVED = ("PENDING_DELETE", "DELETED")  # provisioning statuses
_ID = re.compile(r"[A-Za-z0-9-]{1,64}")


@dataclass(frozen=True)
class PoolMember:
    """A member of the pool that is an instance of the fleet."""

    id: str  # the instance's
    member_id: str  # Octavia's own
    address: str
    port: int
    weight: int
    status: str  # operating status

    @property
    def passing(self) -> bool:
        return self.status in PASSING

    @property
    def state(self) -> MemberState:
        if self.weight == OUT_OF_SERVICE:
            return DRAIN
        return UP if self.passing else DOWN


def member_tag(fleet: str) -> str:
    """The tag of a fleet's members: a pool may have members of others as well."""
    return f"{key_of(FLEET)}:{hashlib.sha256(fleet.encode()).hexdigest()[:32]}"


def members_of(described: Iterable[Mapping[str, Any]], fleet: str) -> list[PoolMember]:
    """The members of a fleet. Their names are the IDs of its instances."""
    tag = member_tag(fleet)
    return [
        PoolMember(
            id=str(one["name"]),
            member_id=str(one["id"]),
            address=str(one.get("address", "")),
            port=int(one.get("protocol_port") or 0),
            weight=OUT_OF_SERVICE if one.get("weight") == OUT_OF_SERVICE else IN_SERVICE,
            status=str(one.get("operating_status", "")),
        )
        for one in described
        if tag in (one.get("tags") or ())
        and _ID.fullmatch(str(one.get("name", "")))
        and one.get("provisioning_status") not in REMOVED
    ]


def wanted_member(fleet: str, instance: str, endpoint: tuple[str, int], weight: int) -> dict[str, Any]:
    """A member in the body of a request. Octavia knows it again by its address and port."""
    address, port = endpoint
    tags = [member_tag(fleet)]
    return {"name": instance, "address": address, "protocol_port": port, "weight": weight, "tags": tags}


def require_deadline(monitor: Mapping[str, Any], pool: str, deadline: float) -> None:
    """Raise TrafficError if a healthy member may come into service after the deadline, in seconds."""
    checks, delay = int(monitor.get("max_retries") or 1), int(monitor.get("delay") or 0)
    needed = checks * delay
    if needed > deadline:
        raise TrafficError(
            f"pool {pool}: a member comes into service up to {needed} s after it is added ({checks} checks at an "
            f"interval of {delay} s), but health.deadline is {deadline:g} s (allowed: a health.deadline of "
            f"{needed} s or more, or fewer checks or a shorter interval in the health monitor)",
            permanent=True,
        )


def endpoint_of(balancer: Mapping[str, Any], listener: Mapping[str, Any]) -> str:
    """URL of a load balancer at one of its listeners."""
    scheme = {"HTTP": "http", "HTTPS": "https", "TERMINATED_HTTPS": "https"}.get(str(listener.get("protocol")), "tcp")
    address, port = str(balancer.get("vip_address", "")), int(listener.get("protocol_port") or 0)
    host = f"[{address}]" if ":" in address else address
    return f"{scheme}://{host}" + ("" if {"http": 80, "https": 443}.get(scheme) == port else f":{port}")
