# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Fills a new control plane through its API: bootstrap.py identity|resources|zones."""

from __future__ import annotations

import sys

import openstack
from openstack.connection import Connection

ENDPOINTS = {
    "image": ("glance", "http://127.0.0.1:9292"),
    "placement": ("placement", "http://127.0.0.1:8778"),
    "compute": ("nova", "http://127.0.0.1:8774/v2.1"),
    "network": ("neutron", "http://127.0.0.1:9696"),
    "volumev3": ("cinderv3", "http://127.0.0.1:8776/v3/%(project_id)s"),
    "load-balancer": ("octavia", "http://127.0.0.1:9876"),
}
# Names, MiB of memory and GiB of disk. The larger one boots a Debian.
FLAVORS = (("m1.micro", 64, 1), ("m1.tiny", 512, 4))


def identity(cloud: Connection) -> None:
    """The services' user and the endpoints, and a plain user with the role that Octavia asks for."""
    api = cloud.identity
    roles = {role.name: role for role in api.roles()}
    for name in ("service", "load-balancer_member"):
        roles.setdefault(name, api.create_role(name=name))
    for user, project, granted in (
        ("svc", "service", ("admin", "service")),
        ("demo", "demo", ("member", "load-balancer_member")),
    ):
        project = api.create_project(name=project, domain_id="default")
        user = api.create_user(name=user, password=user, domain_id="default", default_project_id=project.id)
        for name in granted:
            api.assign_project_role_to_user(project, user, roles[name])
    for type_, (name, url) in ENDPOINTS.items():
        service = api.create_service(name=name, type=type_)
        for interface in ("public", "internal"):
            api.create_endpoint(service_id=service.id, interface=interface, url=url, region_id="RegionOne")


def resources(cloud: Connection) -> None:
    """Flavors, the provider's network, and a volume type."""
    for name, memory, disk in FLAVORS:
        cloud.compute.create_flavor(name=name, ram=memory, vcpus=1, disk=disk)
    network = cloud.network.create_network(
        name="provider",
        provider_network_type="flat",
        provider_physical_network="provider",
        is_router_external=True,
        is_shared=True,
    )
    cloud.network.create_subnet(
        network_id=network.id,
        name="provider",
        ip_version=4,
        cidr="198.51.100.0/24",
        gateway_ip="198.51.100.1",
        allocation_pools=[{"start": "198.51.100.50", "end": "198.51.100.250"}],
    )
    cloud.block_storage.create_type(name="nfs", extra_specs={"volume_backend_name": "nfs"})


def zones(cloud: Connection) -> None:
    """One zone for the hosts that only pretend to run machines, and one for the host that does."""
    known = {group.name: group for group in cloud.compute.aggregates()}
    for service in cloud.compute.services():
        if service.binary == "nova-compute":
            zone = "fake" if service.host.startswith("fake") else "real"
            if zone not in known:
                known[zone] = cloud.compute.create_aggregate(name=zone, availability_zone=zone)
            if service.host not in (known[zone].hosts or []):
                cloud.compute.add_host_to_aggregate(known[zone], service.host)


if __name__ == "__main__":
    {"identity": identity, "resources": resources, "zones": zones}[sys.argv[1]](openstack.connect())
