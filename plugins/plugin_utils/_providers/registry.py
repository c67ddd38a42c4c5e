# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Find a provider by the name that a target gives.

A new provider is one entry in the table at the end of this file. Its openers import its folder when they are called,
so that a target needs only the libraries of its own provider.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .._core.errors import ProviderError, StoreError
from .._definition.fleet import AUTOSCALING
from .._definition.model import ProviderName, Target
from .._image_model import CloudKey
from .._store.base import Store
from .._store.keys import store_id
from .._store.registry import bucket_of, folder_store
from .contract import Images, Provider, Traffic
from .group import AutoScalingGroup
from .shares import AccountPlace, ImageShares

if TYPE_CHECKING:
    from .simulated.provider import SimulatedProvider

# https://docs.aws.amazon.com/autoscaling/ec2/userguide/autoscaling-service-linked-role.html
AUTOSCALING_ROLE = "role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"
CONTAINER: Final = "container"
SIMULATED: Final = "simulated"
_SIMULATED: dict[tuple[str, str], SimulatedProvider] = {}  # by store and target, for as long as this process lives


@dataclass(frozen=True)
class AccountOpeners:
    """How to open what a provider with accounts or projects has.

    Attributes:
        account: the account and the region of a target.
        build_account: those in which the target's image is baked.
        shares: how the target's account gets images that another account bakes.
        artifact: the key by which artifacts name an image of such an account.
    """

    account: Callable[[Target], AccountPlace]
    build_account: Callable[[Target], AccountPlace]
    shares: Callable[[Target, Store], ImageShares]
    artifact: CloudKey


@dataclass(frozen=True)
class ProviderOpeners:
    """How to open one provider, its images alone, its group of instances, and its accounts.

    The last two are None if the provider has no such groups or no accounts.
    """

    provider: Callable[[Target, Store], Provider]
    images: Callable[[Target], Images]
    group: Callable[[Target, str, Store, str], AutoScalingGroup] | None = None
    accounts: AccountOpeners | None = None


def open_provider(target: Target, store: Store) -> Provider:
    """Open the provider of a target.

    Raises ProviderError if its name is unknown, StoreError if the provider cannot work with this store.
    """
    return _openers(target).provider(target, store)


def open_images(target: Target) -> Images:
    """Open the images of a target's provider, without the provider itself. Raises ProviderError."""
    return _openers(target).images(target)


def open_shares(target: Target, store: Store) -> ImageShares:
    """Open the way in which a target's account gets images that another account bakes.

    Raises ProviderError if the provider has no accounts.
    """
    return _accounts(target).shares(target, store)


def open_account(target: Target) -> AccountPlace:
    """Open the account and the region of a target. Raises ProviderError if the provider has no accounts."""
    return _accounts(target).account(target)


def open_build_account(target: Target) -> AccountPlace:
    """Open the account and the region in which the image of a target is baked. Raises as ``open_account`` does."""
    return _accounts(target).build_account(target)


def artifact_key(target: Target) -> CloudKey | None:
    """Return the key of artifacts that are images of the target's provider. None if the provider has no accounts."""
    accounts = _openers(target).accounts
    return accounts.artifact if accounts else None


def _accounts(target: Target) -> AccountOpeners:
    accounts = _openers(target).accounts
    if accounts is None:
        having = ", ".join(name for name, openers in PROVIDERS.items() if openers.accounts)
        raise ProviderError(
            f"target {target.name} has no account, because its provider is {target.provider} (providers with accounts: "
            f"{having})"
        )
    return accounts


def open_group(target: Target, store: Store, fleet: str) -> AutoScalingGroup:
    """Open the group of a target whose engine is autoscaling. Raises ProviderError for any other target.

    Args:
        fleet: name of the fleet that the group is.
    """
    open_one = _openers(target).group
    if open_one is None or target.fleet.autoscaling is None:
        having = ", ".join(name for name, openers in PROVIDERS.items() if openers.group)
        raise ProviderError(
            f"target {target.name} has no group of instances (allowed: provider {having} with engine: autoscaling)"
        )
    return open_one(target, target.fleet.autoscaling.group, store, fleet)


def _openers(target: Target) -> ProviderOpeners:
    if target.provider not in PROVIDERS:
        known = ", ".join(PROVIDERS)
        raise ProviderError(f"target {target.name}: unknown provider {target.provider!r} (known: {known})")
    return PROVIDERS[target.provider]


def _open_aws(target: Target, store: Store) -> Provider:
    from .._aws.clients import Clients
    from .._traffic.elbv2.balancer import TargetGroups
    from .ec2.provider import Ec2Provider

    _check_store(target, store)
    clients = Clients(target.aws)

    def balancer(fleet: str) -> Traffic:
        decides = target.probe == "balancer"
        return TargetGroups(clients, fleet, target.traffic, target.health, decides=decides)

    return Ec2Provider(
        clients,
        store,
        balancer,
        images=_open_amis(target, store_id(store)),
        probes=target.probe == "direct",
        snapshots=target.snapshots,
        bakes=[] if target.image_from else [Clients(target.build_account)],
        tags=target.tags,
        foreign=target.image_from is not None,
        certificates=target.identity_certificates,
    )


def _open_amis(target: Target, store: str = "") -> Images:
    from .ec2.images import Ec2Images

    return Ec2Images(
        target.build_account, target.build.encrypt, store=store, tags=target.tags, others=target.image_users
    )


def _open_ami_shares(target: Target, store: Store) -> ImageShares:
    from .ec2.image_shares import AmiShares, Recipient

    recipient = Recipient(
        target.aws,
        roles=launch_roles(target),
        copies=target.image_from is not None and target.image_from.how == "copy",
        encrypt=target.build.encrypt,
        kms_key=target.build.kms_key,
        tags=target.tags,
    )
    return AmiShares(target.build_account, recipient, store_id(store))


def launch_roles(target: Target) -> tuple[str, ...]:
    """ARNs of the roles that launch instances on AWS, as far as the definition names them."""
    role = target.aws.role
    if not role or target.fleet.engine != AUTOSCALING:
        return (role,) if role else ()
    return role, f"{':'.join(role.split(':')[:5])}:{AUTOSCALING_ROLE}"


def _open_aws_account(target: Target) -> AccountPlace:
    from .._aws.clients import Clients

    return Clients(target.aws)


def _open_aws_build(target: Target) -> AccountPlace:
    from .._aws.clients import Clients

    return Clients(target.build_account)


def _open_auto_scaling(target: Target, group: str, store: Store, fleet: str) -> AutoScalingGroup:
    from .ec2.autoscaling import Ec2AutoScalingGroup

    _check_store(target, store)
    return Ec2AutoScalingGroup(
        target.aws,
        group,
        store=store,
        fleet=fleet,
        address=target.network.address,
        tags=target.tags,
        foreign=target.image_from is not None,
        certificates=target.identity_certificates,
    )


def _check_store(target: Target, store: Store) -> None:
    """Raise StoreError if the hosts of a target have no bucket to put their evidence into."""
    if target.evidence == "bucket" and bucket_of(store) is None:
        raise StoreError(
            f"target {target.name} has evidence: bucket, so it needs a store in S3 (this one is {store.location})"
        )


def _open_openstack(target: Target, store: Store) -> Provider:
    from .._openstack.connect import Connections
    from .._traffic.haproxy.balancer import HAProxy
    from .._traffic.octavia.balancer import OctaviaPool
    from .openstack.leftovers import OpenStackLeftovers
    from .openstack.provider import OpenStackProvider

    connections = Connections(target.openstack)

    def balancer(fleet: str) -> Traffic:
        if target.traffic.pool:
            return OctaviaPool(connections, fleet, target.traffic.pool)
        folder = folder_store(store, "HAProxy, which runs on this machine, keeps its files in the store")
        return HAProxy(folder.trusted_tree("traffic") / fleet, fleet, target.traffic, target.health)

    return OpenStackProvider(
        connections,
        store,
        balancer,
        images=_open_glance(target, store_id(store)),
        leftovers=OpenStackLeftovers(connections, store_id(store)),
        snapshots=target.snapshots,
        tags=target.tags,
        foreign=target.image_from is not None,
    )


def _open_glance(target: Target, store: str = "") -> Images:
    from .._openstack.connect import Connections
    from .openstack.images import GlanceImages

    others = [Connections(cloud) for cloud in target.image_clouds]
    return GlanceImages(Connections(target.build_cloud), store=store, others=others)


def _open_glance_shares(target: Target, _store: Store) -> ImageShares:
    from .._openstack.connect import Connections
    from .openstack.image_shares import GlanceShares

    return GlanceShares(Connections(target.build_cloud), Connections(target.openstack))


def _open_project(target: Target) -> AccountPlace:
    from .._openstack.connect import Connections

    return Connections(target.openstack)


def _open_build_project(target: Target) -> AccountPlace:
    from .._openstack.connect import Connections

    return Connections(target.build_cloud)


def _open_qemu(target: Target, store: Store) -> Provider:
    from .._traffic.haproxy.balancer import HAProxy
    from .qemu.provider import QemuProvider

    folder = folder_store(store, "the provider qemu keeps its machines and disks in the store")
    machines, balancers, images = (folder.trusted_tree(name) for name in ("qemu", "traffic", "images"))

    def balancer(fleet: str) -> Traffic:
        return HAProxy(balancers / fleet, fleet, target.traffic, target.health)

    return QemuProvider(machines, balancer, images)


def _open_container(target: Target, store: Store) -> Provider:
    from .._traffic.haproxy.balancer import HAProxy
    from .container.provider import ContainerProvider
    from .container_engine import open_engine

    folder = folder_store(store, "the provider container keeps its containers and volumes in the store")
    balancers, images = (folder.trusted_tree(name) for name in ("traffic", "images"))
    # Files of the engine, its containers and their secrets may belong to other users, so the documents count.
    root = folder.path(CONTAINER)
    for document in (root / "machines").glob("*/*/machine.json"):
        folder.path(document.relative_to(folder.root).as_posix())

    def balancer(fleet: str) -> Traffic:
        return HAProxy(balancers / fleet, fleet, target.traffic, target.health)

    return ContainerProvider(root, open_engine(target.engine, root), balancer, images)


def _open_archives(_target: Target) -> Images:
    from .container_images import ContainerImages

    return ContainerImages()


def _open_disks(_target: Target) -> Images:
    from .disk_images import DiskImages

    return DiskImages()


def _open_simulated(target: Target, store: Store) -> Provider:
    from .simulated.faults import simulate
    from .simulated.provider import SimulatedProvider

    simulated = _SIMULATED.setdefault((store.location, target.name), SimulatedProvider())
    simulate(simulated.world, target.simulation)
    return simulated


PROVIDERS: Mapping[ProviderName, ProviderOpeners] = {
    "aws": ProviderOpeners(
        _open_aws,
        _open_amis,
        group=_open_auto_scaling,
        accounts=AccountOpeners(_open_aws_account, _open_aws_build, _open_ami_shares, artifact="ami"),
    ),
    CONTAINER: ProviderOpeners(_open_container, _open_archives),
    "openstack": ProviderOpeners(
        _open_openstack,
        _open_glance,
        accounts=AccountOpeners(_open_project, _open_build_project, _open_glance_shares, artifact="glance"),
    ),
    "qemu": ProviderOpeners(_open_qemu, _open_disks),
    SIMULATED: ProviderOpeners(_open_simulated, _open_disks),
}
