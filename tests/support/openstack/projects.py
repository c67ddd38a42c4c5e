# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A project of its own for each test in a real OpenStack, so that tests do not meet and quotas are theirs.

Nothing is cleaned up: the whole control plane is thrown away when the run ends.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable
from typing import Any

from ansible_collections.immutable.infra.plugins.plugin_utils._openstack.cloud import Cloud
from ansible_collections.immutable.infra.plugins.plugin_utils._openstack.connect import Connections

# openstacksdk's types name the resources of each version of an API, which only the cloud decides.
Connection = Any
Server = Any

COMPUTE = "2.90"  # the newest of Zed, which every call of ours and of openstacksdk's understands
ROLES = ("member", "load-balancer_member")
SOON = 120.0  # seconds until a state is reached; a busy machine takes a few
INTERVAL = 0.2  # seconds


def connect(**more: Any) -> Connection:
    """A connection of the cloud that clouds.yaml calls ``admin``, or as ``more`` says."""
    import openstack

    return openstack.connect(**{"cloud": "admin", "compute_default_microversion": COMPUTE, **more})


def wait_until_whole(admin: Connection) -> None:
    """Wait until every service of Nova is up, and its zone accepts servers, after a test that broke one."""
    end = time.monotonic() + SOON
    while True:
        services = [(each.host, each.binary, each.state, each.is_forced_down) for each in admin.compute.services()]
        zones = [(each.name, each.state) for each in admin.compute.availability_zones()]
        down = [each for each in services if each[2] != "up" or each[3]]
        if not down and ("fake", {"available": True}) in zones:
            return
        assert time.monotonic() < end, (services, zones)
        time.sleep(INTERVAL)


class Project:
    """A new project with a user, who is a plain member."""

    def __init__(self, admin: Connection) -> None:
        self.admin, self.name = admin, f"test-{secrets.token_hex(4)}"
        identity = admin.identity
        self._created = identity.create_project(name=self.name, domain_id="default")
        user = identity.create_user(name=self.name, password=self.name, domain_id="default")
        for role in ROLES:
            identity.assign_project_role_to_user(self._created, user, identity.find_role(role))
        self.cloud = self.user()
        self.flavor: str = self.cloud.compute.find_flavor("m1.micro").id
        self.images: list[str] = []

    @property
    def id(self) -> str:
        return str(self._created.id)

    def user(self) -> Connection:
        """A new connection of the project's user."""
        who = {"username": self.name, "password": self.name, "project_name": self.name}
        return connect(auth={"auth_url": self.admin.config.get_auth_args()["auth_url"], **who, **DOMAINS})

    def image(self, content: bytes = b"image", **more: Any) -> str:
        """The id of a new image."""
        formats = {"disk_format": "raw", "container_format": "bare"}
        name = f"{self.name}-{len(self.images)}"
        created = self.cloud.image.create_image(name=name, data=content, **{**formats, **more})
        self.images.append(str(created.id))
        return self.images[-1]

    def wanted(self, **more: Any) -> dict[str, Any]:
        """What a server is created with. It has no network, which takes most of the time that a server needs."""
        image = more.pop("image_id", None) or (self.images or [self.image()])[0]
        return {"name": "web", "image_id": image, "flavor_id": self.flavor, "networks": "none", **more}

    def server(self, status: str = "ACTIVE", **more: Any) -> Server:
        """A new server in this state."""
        return self.wait(self.cloud.compute.create_server(**self.wanted(**more)), status)

    def wait(self, server: Server, status: str) -> Server:
        """The server when it is in this state and has no task. Raises ResourceFailure if it fails before."""
        return self._wait(lambda: self.cloud.compute.get_server(server.id), status, "ERROR")

    def wait_until_gone(self, server: Server) -> None:
        """openstacksdk's wait also ends at DELETED, which Nova shows for a moment before it denies the server."""
        from openstack import exceptions

        with contextlib.suppress(exceptions.NotFoundException):
            self._wait(lambda: self.cloud.compute.get_server(server.id), "", "ERROR")

    def volume(self, status: str = "available", **more: Any) -> Any:
        """A new volume of 1 GiB in this state."""
        created = self.cloud.block_storage.create_volume(**{"size": 1, "name": "uploads", **more})
        return self.wait_for_volume(created, status)

    def wait_for_volume(self, volume: Any, status: str) -> Any:
        """The volume when it is in this state. Raises ResourceFailure if it fails before."""
        return self._wait(lambda: self.cloud.block_storage.get_volume(volume.id), status, "error")

    def wait_for_snapshot(self, snapshot: Any, status: str) -> Any:
        return self._wait(lambda: self.cloud.block_storage.get_snapshot(snapshot.id), status, "error")

    def _wait(self, observe: Callable[[], Any], status: str, failed: str) -> Any:
        from openstack import exceptions

        end = time.monotonic() + SOON
        while True:
            seen = observe()
            if seen.status == status and getattr(seen, "task_state", None) is None:
                return seen
            if seen.status == failed:
                raise exceptions.ResourceFailure(f"{seen.name} is in {seen.status}, not {status}: {seen}")
            if time.monotonic() > end:
                raise exceptions.ResourceTimeout(f"{seen.name} is in {seen.status}, not {status}: {seen}")
            time.sleep(INTERVAL)

    def network(self) -> str:
        """The id of a new network with a subnet."""
        network = self.cloud.network.create_network(name="net")
        self.cloud.network.create_subnet(network_id=network.id, ip_version=4, cidr="10.7.0.0/24", enable_dhcp=False)
        return str(network.id)


DOMAINS = {"user_domain_name": "Default", "project_domain_name": "Default"}


class ProjectConnections(Connections):
    """The connection of a test's project."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(Cloud())
        self._connection = connection

    @property
    def connection(self) -> Connection:
        return self._connection
