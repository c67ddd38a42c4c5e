# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A pool as a fleet's load balancer, against the real Octavia. Its drivers do nothing, so no check passes."""

from __future__ import annotations

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import TrafficError
from ansible_collections.immutable.infra.plugins.plugin_utils._traffic.octavia.balancer import OctaviaPool
from ansible_collections.immutable.infra.tests.support.openstack.projects import Project, ProjectConnections

ONE, TWO = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"
NOWHERE = "00000000-0000-0000-0000-000000000000"
SOON = 120.0  # seconds until Octavia has made a change


def pool_of(project: Project) -> str:
    """The ID of a new pool with its load balancer, listener and health monitor."""
    api = project.cloud.load_balancer
    balancer = api.create_load_balancer(name="shop", vip_network_id=project.network())

    def settle() -> None:
        api.wait_for_load_balancer(balancer.id, interval=0.2, wait=SOON)

    settle()
    listener = api.create_listener(load_balancer_id=balancer.id, protocol="HTTP", protocol_port=8080)
    settle()
    pool = api.create_pool(listener_id=listener.id, protocol="HTTP", lb_algorithm="ROUND_ROBIN")
    settle()
    api.create_health_monitor(pool_id=pool.id, type="HTTP", delay=5, timeout=3, max_retries=4)
    settle()
    api.create_member(pool.id, name="theirs", address="10.7.0.200", protocol_port=80)
    settle()
    return str(pool.id)


def test_members_come_drain_and_go_and_those_of_others_stay(project: Project) -> None:
    pool = pool_of(project)
    traffic = OctaviaPool(ProjectConnections(project.cloud), "shop-live", pool)
    other = OctaviaPool(ProjectConnections(project.cloud), "blog-live", pool)
    assert traffic.ensure() is False and traffic.members() == []
    traffic.register({ONE: ("10.7.0.11", 8080), TWO: ("10.7.0.12", 8080)}, staged=True)
    assert {one.id: one.state for one in traffic.members()} == {ONE: "drain", TWO: "drain"}
    traffic.switch([ONE, TWO], [])
    assert {one.id: one.state for one in traffic.members()} == {ONE: "down", TWO: "down"}
    traffic.register({ONE: ("10.7.0.11", 8080)}, staged=True)  # it is in service, and stays so
    traffic.switch([TWO], [ONE])
    assert {one.id: one.state for one in traffic.members()} == {ONE: "drain", TWO: "down"}
    with pytest.raises(TrafficError, match="the pool does not know it"):
        traffic.switch([NOWHERE], [TWO])
    traffic.drain([TWO, NOWHERE], 1.0)
    traffic.register({TWO: ("10.7.0.99", 8080)})  # at another address
    addresses = {one.name: one.address for one in project.cloud.load_balancer.members(pool)}
    assert addresses == {ONE: "10.7.0.11", TWO: "10.7.0.99", "theirs": "10.7.0.200"}
    traffic.deregister([ONE, NOWHERE])
    assert [one.id for one in traffic.members()] == [TWO]
    assert other.members() == []
    described = traffic.describe()
    assert described["endpoint"].startswith("http://") and described["endpoint"].endswith(":8080")
    assert (described["kind"], described["warnings"]) == ("octavia", [])
    traffic.check_deadline(20.0)
    with pytest.raises(TrafficError, match="up to 20 s after it is added .4 checks at an interval of 5 s"):
        traffic.check_deadline(19.0)
    traffic.remove()
    left = [one for one in project.cloud.load_balancer.members(pool) if one.provisioning_status != "PENDING_DELETE"]
    assert [one.name for one in left] == ["theirs"]


def test_a_pool_that_does_not_exist_is_one_clear_error(project: Project) -> None:
    traffic = OctaviaPool(ProjectConnections(project.cloud), "shop-live", NOWHERE)
    with pytest.raises(TrafficError, match=f"traffic.pool: there is no pool {NOWHERE}"):
        traffic.ensure()
