# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A project of its own for each test in a real OpenStack, so that tests do not meet and quotas are theirs.

Nothing is cleaned up: the whole control plane is thrown away when the run ends.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openstack.compute.v2.server import Server
    from openstack.connection import Connection

COMPUTE = "2.90"  # the newest of Zed, which every call of ours and of openstacksdk's understands
ROLES = ("member", "load-balancer_member")
SOON = 120.0  # seconds until a state is reached; a busy machine takes a few


def connect(**more: Any) -> Connection:
    """A connection of the cloud that clouds.yaml calls ``admin``, or as ``more`` says."""
    import openstack

    return openstack.connect(**{"cloud": "admin", "compute_default_microversion": COMPUTE, **more})


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
        """The server when it is in this state. Raises openstack.exceptions.ResourceFailure if it fails before."""
        failures = [] if status == "ERROR" else ["ERROR"]
        return self.cloud.compute.wait_for_server(server, status, failures=failures, interval=0.1, wait=SOON)

    def volume(self, status: str = "available", **more: Any) -> Any:
        """A new volume of 1 GiB in this state."""
        created = self.cloud.block_storage.create_volume(**{"size": 1, "name": "uploads", **more})
        return self.wait_for_volume(created, status)

    def wait_for_volume(self, volume: Any, status: str) -> Any:
        failures = [] if status == "error" else ["error"]
        api = self.cloud.block_storage
        return api.wait_for_status(volume, status, failures=failures, interval=0.1, wait=SOON)

    def network(self) -> str:
        """The id of a new network with a subnet."""
        network = self.cloud.network.create_network(name="net")
        self.cloud.network.create_subnet(network_id=network.id, ip_version=4, cidr="10.7.0.0/24", enable_dhcp=False)
        return str(network.id)


DOMAINS = {"user_domain_name": "Default", "project_domain_name": "Default"}
