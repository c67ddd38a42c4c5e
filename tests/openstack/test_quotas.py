# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Quotas of a real OpenStack: each service refuses in its own way, before anything is created."""

from __future__ import annotations

import pytest
from ansible_collections.immutable.infra.tests.support.openstack.projects import Project
from openstack import exceptions

COMPUTE = {
    "instances": (1, "Quota exceeded for instances: Requested 1, but already used 1 of 1 instances"),
    "cores": (1, "Quota exceeded for cores: Requested 1, but already used 1 of 1 cores"),
    "ram": (100, "Quota exceeded for ram: Requested 64, but already used 64 of 100 ram"),
}


@pytest.mark.parametrize("resource", COMPUTE)
def test_servers(project: Project, resource: str) -> None:
    limit, message = COMPUTE[resource]
    api = project.cloud.compute
    project.admin.set_compute_quotas(project.name, **{resource: limit})
    server = project.server()
    with pytest.raises(exceptions.ForbiddenException, match=message):
        api.create_server(**project.wanted())
    assert [each.id for each in api.servers()] == [server.id]


def test_several_servers_are_created_as_far_as_the_quota_reaches_or_not_at_all(project: Project) -> None:
    api = project.cloud.compute
    project.admin.set_compute_quotas(project.name, instances=2)
    with pytest.raises(exceptions.ForbiddenException, match="Quota exceeded for instances: Requested 3"):
        api.create_server(**project.wanted(min_count=3, max_count=3))
    assert not list(api.servers())
    api.create_server(**project.wanted(min_count=1, max_count=3))
    assert len(list(api.servers())) == 2


def test_metadata(project: Project) -> None:
    project.admin.set_compute_quotas(project.name, metadata_items=1)
    with pytest.raises(exceptions.ForbiddenException, match="Maximum number of metadata items exceeds 1"):
        project.cloud.compute.create_server(**project.wanted(metadata={"a": "b", "c": "d"}))


def test_server_groups(project: Project) -> None:
    api = project.cloud.compute
    project.admin.set_compute_quotas(project.name, server_groups=1, server_group_members=1)
    group = api.create_server_group(name="fleet", policy="soft-anti-affinity")
    with pytest.raises(exceptions.ForbiddenException, match="Quota exceeded, too many server groups"):
        api.create_server_group(name="fleet", policy="soft-anti-affinity")
    project.server(scheduler_hints={"group": group.id})
    with pytest.raises(exceptions.ForbiddenException, match="Quota exceeded, too many servers in group"):
        api.create_server(**project.wanted(scheduler_hints={"group": group.id}))


def test_volumes(project: Project) -> None:
    """Cinder answers 413, for which openstacksdk has no class of its own."""
    volume = project.volume()
    api = project.cloud.block_storage
    refused = {
        "VolumeLimitExceeded": ({"volumes": 1, "gigabytes": 9}, lambda: api.create_volume(size=1)),
        "quota is 1G and 1G has been consumed": ({"volumes": 9, "gigabytes": 1}, project.volume),
        "Requested 2G, quota is 1G": ({"volumes": 9, "gigabytes": 1}, lambda: api.extend_volume(volume.id, 3)),
        "SnapshotLimitExceeded": ({"snapshots": 0, "gigabytes": 9}, lambda: api.create_snapshot(volume_id=volume.id)),
    }
    for message, (quotas, act) in refused.items():
        project.admin.set_volume_quotas(project.name, **quotas)
        with pytest.raises(exceptions.HttpException, match=message) as error:
            act()
        assert error.value.status_code == 413
    assert [each.id for each in api.volumes()] == [volume.id]


def test_ports(project: Project) -> None:
    """Neutron says 409 to us, and Nova says 403 for what Neutron refuses it."""
    network = project.network()
    project.admin.set_network_quotas(project.name, port=1)
    project.cloud.network.create_port(network_id=network)
    with pytest.raises(exceptions.ConflictException, match="Quota exceeded for resources: \\['port'\\]"):
        project.cloud.network.create_port(network_id=network)
    with pytest.raises(exceptions.ForbiddenException, match="Maximum number of ports exceeded"):
        project.cloud.compute.create_server(**project.wanted(networks=[{"uuid": network}]))
