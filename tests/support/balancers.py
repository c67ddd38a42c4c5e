# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What tests ask a real HAProxy."""

from __future__ import annotations

from ansible_collections.immutable.infra.plugins.plugin_utils._definition.probes import Health, HttpProbe
from ansible_collections.immutable.infra.plugins.plugin_utils._traffic.haproxy.balancer import HAProxy

HTTP = Health(http=HttpProbe(8080, "/healthz"))


def port_of(balancer: HAProxy) -> int:
    return int(balancer.describe()["endpoint"].rpartition(":")[2])


def states(balancer: HAProxy) -> dict[str, str]:
    return {member.id: member.state for member in balancer.members()}


def passing(balancer: HAProxy) -> dict[str, bool]:
    return {member.id: member.passing for member in balancer.members()}
