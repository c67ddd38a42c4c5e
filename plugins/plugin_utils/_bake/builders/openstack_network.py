# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How Packer reaches a build machine on OpenStack: its networks, its floating address, and through which program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from ..._core.errors import BakeError
from ..._definition.model import Target
from ..._definition.ssh_proxy import proxy_command
from ..._openstack.connect import Connections
from ..._openstack.rest import Rest
from .ssh_relay import SshRelay, relayed


@dataclass(frozen=True)
class BuildNetwork:
    """Everything by ID. ``floating_network`` is "" if the build machine gets no floating address."""

    networks: tuple[str, ...]
    security_groups: tuple[str, ...] = ()
    floating_network: str = ""


def build_network(target: Target, cloud: Connections) -> BuildNetwork:
    """Return the networks of the build machine. Raises BakeError for a network that this project cannot see."""
    build, network = target.build, target.network
    floating = build.floating_network or network.floating_network
    return BuildNetwork(
        tuple(_network_ids(cloud, build.networks or network.networks)),
        build.security_groups or network.security_groups,
        next(_network_ids(cloud, [floating]), "") if floating else "",
    )


def _network_ids(cloud: Connections, names: Sequence[str]) -> Iterator[str]:
    network = Rest(cloud, "network")
    for name in names:
        found = [
            str(one["id"])
            for key in ("id", "name")
            for one in network.pages("/networks", "networks", f"reading network {name}", **{key: name})
        ]
        if len(found) != 1:
            raise BakeError(
                f"{cloud.place} has {len(found)} networks {name} that this project can see (allowed: the ID of a "
                "network, or a name that only one has)"
            )
        yield found[0]


@contextmanager
def floating_address(cloud: Connections, network: BuildNetwork, name: str) -> Iterator[Mapping[str, Any]]:
    """Options with which Packer uses an address of the floating network; none without one.

    Args:
        name: of the bake. The address has it as its description, by which a later run finds what a killed one left.
    """
    if not network.floating_network:
        yield {}
        return
    service, doing = Rest(cloud, "network"), "reserving a floating address for the build machine"
    for left in service.pages("/floatingips", "floatingips", doing, description=name):
        service.delete(f"/floatingips/{left['id']}", doing)
    wanted = {"floating_network_id": network.floating_network, "description": name}
    address = str(service.post("/floatingips", {"floatingip": wanted}, doing)["floatingip"]["id"])
    try:
        yield {"floating_ip": address, **_floating_network_of_first(network)}
    finally:
        service.delete(f"/floatingips/{address}", "releasing the floating address of the build machine")


def _floating_network_of_first(network: BuildNetwork) -> dict[str, Any]:
    """A machine with more than one network gets its floating address on the first one."""
    return {"instance_floating_ip_net": network.networks[0]} if len(network.networks) > 1 else {}


def ssh_proxy(target: Target, cloud: Connections, name: str) -> AbstractContextManager[Mapping[str, Any]]:
    """Options with which Packer connects through the program of ``network.ssh_proxy``; none without one.

    Args:
        name: of the build machine.
    """
    arguments = target.network.ssh_proxy
    if not arguments:
        return nullcontext({})
    return relayed(SshRelay(lambda host, port: proxy_command(arguments, host, port, _build_machine(cloud, name))))


def _build_machine(cloud: Connections, name: str) -> str:
    """The ID of the bake's machine. Raises BakeError if there is not exactly one."""
    # Nova takes the name as a regular expression.
    servers = Rest(cloud, "compute").pages("/servers", "servers", "finding the build machine", name=f"^{name}$")
    ids = [str(server["id"]) for server in servers if server.get("name") == name]
    if len(ids) != 1:
        raise BakeError(f"{cloud.place} has {len(ids)} build machines {name} of this bake, expected one")
    return ids[0]
