# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How Packer reaches a build machine on EC2: its subnet, who may connect to it, and through which program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from ..._aws.clients import Clients, aws_errors
from ..._aws.instances import instances_in
from ..._core.errors import BakeError
from ..._definition.model import Target
from ..._definition.ssh_proxy import proxy_command
from .ssh_relay import SshRelay, relayed

DISCOVERY_SINCE = (1, 9)  # the first Packer whose AWS code always has temporary_security_group_source_public_ip
# From where a private address is reached: RFC 1918 and RFC 6598.
PRIVATE_NETWORKS = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
# Options of amazon-ebs with which the user decides who may connect.
OWN_SECURITY_GROUP = (
    "security_group_id",
    "security_group_ids",
    "security_group_filter",
    "temporary_security_group_source_cidrs",
    "temporary_security_group_source_public_ip",
)


def build_network(target: Target, packer: tuple[int, ...]) -> dict[str, Any]:
    """Return the options of amazon-ebs for the subnet of the build machine and for who may connect to it.

    Args:
        packer: the version of Packer, such as ``(1, 11, 2)``.
    """
    subnet = target.build.subnet or _first_subnet(target)
    return {**({"subnet_id": subnet} if subnet else {}), **_source_of_ssh(target, packer)}


def _first_subnet(target: Target) -> str:
    """The subnet of the first zone, if the image is baked in the region of the target; "" otherwise."""
    elsewhere = target.build.region not in ("", target.aws.region)
    return "" if elsewhere else next((target.network.subnets[zone] for zone in target.zones), "")


def _source_of_ssh(target: Target, packer: tuple[int, ...]) -> dict[str, Any]:
    """Who may connect to the build machine, by the security group that Packer creates for it.

    Packer asks https://checkip.amazonaws.com for this machine's address, which is not the one that a private network
    sees.
    """
    build, options = target.build, target.build.options
    if any(name in options for name in OWN_SECURITY_GROUP):
        return {}
    if build.ssh_cidrs:
        return {"temporary_security_group_source_cidrs": list(build.ssh_cidrs)}
    public = options.get("ssh_interface", "public_ip") in ("public_ip", "public_dns")
    if not public or target.network.ssh_proxy:
        return {"temporary_security_group_source_cidrs": list(PRIVATE_NETWORKS)}
    if packer < DISCOVERY_SINCE or target.aws.endpoint_url:
        return {}
    return {"temporary_security_group_source_public_ip": True}


def ssh_proxy(target: Target, clients: Clients, key_name: str) -> AbstractContextManager[Mapping[str, Any]]:
    """Options with which Packer connects through the program of ``network.ssh_proxy``; none without one.

    Args:
        key_name: of the key pair that only this bake's machine has.
    """
    arguments = target.network.ssh_proxy
    if not arguments:
        return nullcontext({})
    return _privately(
        SshRelay(lambda host, port: proxy_command(arguments, host, port, _build_machine(clients, key_name, host)))
    )


@contextmanager
def _privately(relay: SshRelay) -> Iterator[Mapping[str, Any]]:
    with relayed(relay) as settings:
        yield {"ssh_interface": "private_ip", **settings}


def _build_machine(clients: Clients, key_name: str, address: str) -> str:
    """The id of the bake's machine at a private address. Raises BakeError for anything else."""
    wanted = {"key-name": key_name, "private-ip-address": address, "instance-state-name": "running"}
    filters = [{"Name": name, "Values": [value]} for name, value in wanted.items()]
    with aws_errors(BakeError, "finding the build machine"):
        answer = clients.ec2.describe_instances(Filters=filters)
    ids = [each["InstanceId"] for each in instances_in([answer])]
    if len(ids) != 1:
        raise BakeError(f"{address} is not the address of one build machine of this bake")
    return str(ids[0])
