# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every provider offers all members of the contract; optional abilities that it lacks are None."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._aws.clients import Account, Clients
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._openstack.cloud import Cloud
from ansible_collections.immutable.infra.plugins.plugin_utils._openstack.connect import Connections
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container.provider import ContainerProvider
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container_engine import open_engine
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import Provider, Traffic
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.disk_images import DiskImages
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2.provider import Ec2Provider
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.openstack.provider import OpenStackProvider
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.qemu.provider import QemuProvider
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.registry import PROVIDERS
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.provider import SimulatedProvider
from ansible_collections.immutable.infra.plugins.plugin_utils._store.memory import MemoryStore

# What each provider offers of OPTIONAL. One that offers more or less in some case has a further entry.
OFFERED: dict[str, set[str]] = {
    "container": set(),
    "qemu": {"reimager"},
    "simulated": {"probe", "reimager"},
    "aws": {"pace", "leftovers", "pin_secrets", "prove_again", "reimager"},
    "aws, probed by its load balancer": {"probe", "pace", "leftovers", "pin_secrets", "prove_again", "reimager"},
    "openstack": {"pace", "prove_again", "reimager"},
}
PLUGINS = Path(__file__).parents[3] / "plugins"
OPTIONAL = {"probe", "pace", "leftovers", "pin_secrets", "prove_again", "reimager"}


def balancer(_fleet: str) -> Traffic:
    raise ProviderError("no balancer is needed here")


def ec2(probes: bool) -> Ec2Provider:
    clients = Clients(Account(region="eu-central-1"))
    return Ec2Provider(clients, MemoryStore(), balancer, images=DiskImages(), probes=probes)


def test_the_contract_is_checked_for_every_provider_of_the_registry() -> None:
    assert {name.partition(",")[0] for name in OFFERED} == set(PROVIDERS)


@pytest.mark.parametrize(("name", "offered"), OFFERED.items())
def test_a_provider_sets_every_member_of_the_contract(name: str, offered: set[str], tmp_path: Path) -> None:
    providers: dict[str, Provider] = {
        "container": ContainerProvider(tmp_path, open_engine("podman", tmp_path), balancer),
        "qemu": QemuProvider(tmp_path, balancer),
        "simulated": SimulatedProvider(),
        "aws": ec2(probes=True),
        "aws, probed by its load balancer": ec2(probes=False),
        "openstack": OpenStackProvider(Connections(Cloud("none")), MemoryStore(), balancer, images=DiskImages()),
    }
    provider = providers[name]
    assert provider.name == name.partition(",")[0]
    members = {member for member in vars(Provider) if not member.startswith("_")}
    assert members >= OPTIONAL
    missing = object()
    found = {member: getattr(provider, member, missing) for member in members}
    assert [member for member, value in found.items() if value is missing] == []
    assert {member for member in OPTIONAL if found[member] is not None} == offered
    assert [member for member in members - OPTIONAL if found[member] is None] == []


def test_no_code_guesses_what_a_provider_offers() -> None:
    guesses = [
        f"{file.relative_to(PLUGINS)}:{node.lineno}"
        for file in PLUGINS.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("getattr", "hasattr")
        and "provider" in ast.unparse(node.args[0])
    ]
    assert guesses == []
