# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Find a provider by the name that a target gives. What a provider needs is imported only when it is the one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._core.errors import ProviderError
from .._definition.model import Target
from .._store.base import Store
from .._store.registry import folder_store
from .contract import Images, Provider, Traffic
from .group import AutoScaling

if TYPE_CHECKING:
    from .simulated.provider import SimulatedProvider

SIMULATED = "simulated"
KNOWN = ("aws", "qemu", SIMULATED)
_WORLDS: dict[tuple[str, str], SimulatedProvider] = {}  # by store and target, as long as this process lives


def open_provider(target: Target, store: Store) -> Provider:
    """Raises ProviderError for a name that is not known, StoreError for a store that does not serve that provider."""
    if target.provider == "qemu":
        return _qemu(target, store)
    if target.provider == "aws":
        return _aws(target, store)
    if target.provider == SIMULATED:
        from .simulated.faults import simulate
        from .simulated.provider import SimulatedProvider

        simulated = _WORLDS.setdefault((store.location, target.name), SimulatedProvider())
        simulate(simulated.world, target.simulation)
        return simulated
    raise ProviderError(f"target {target.name}: unknown provider {target.provider!r} (known: {', '.join(KNOWN)})")


def open_images(target: Target) -> Images:
    """What is known of the images of a target's provider, without opening the provider itself. Raises ProviderError."""
    if target.provider == "aws":
        from .ec2.images import Ec2Images

        return Ec2Images(target.build_account, target.build.encrypt)
    from .disk_images import DiskImages

    return DiskImages()


def open_group(target: Target) -> AutoScaling:
    """The group of a target whose engine is autoscaling. Raises ProviderError for any other target."""
    if target.provider != "aws" or target.fleet.autoscaling is None:
        raise ProviderError(f"target {target.name}: nobody but aws has a group, and only with engine: autoscaling")
    from .ec2.autoscaling import AwsAutoScaling

    return AwsAutoScaling(target.aws, target.fleet.autoscaling.group, target.network.address)


def _qemu(target: Target, store: Store) -> Provider:
    from .._traffic.haproxy.balancer import HAProxy
    from .qemu.provider import QemuProvider

    root = folder_store(store, "the provider qemu keeps its machines and disks in the store").root

    def balancer(fleet: str) -> Traffic:
        return HAProxy(root / "traffic" / fleet, fleet, target.traffic, target.health)

    return QemuProvider(root / "qemu", balancer)


def _aws(target: Target, store: Store) -> Provider:
    from .._aws.clients import Clients
    from .._traffic.elbv2.balancer import TargetGroups
    from .ec2.provider import Ec2Provider

    clients = Clients(target.aws)

    def balancer(fleet: str) -> Traffic:
        return TargetGroups(clients, fleet, target.traffic, target.health)

    bakes = [Clients(target.build_account)]
    return Ec2Provider(clients, store, balancer, open_images(target), target.probe == "direct", target.snapshots, bakes)
