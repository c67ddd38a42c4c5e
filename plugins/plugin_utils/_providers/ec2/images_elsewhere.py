# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What other accounts have of an image: who uses it there, and its removal.

An account is looked into with the credentials of a target of the definition. What belongs to any other account stays.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..._aws.amis import find_ami, snapshots_of
from ..._aws.clients import Account, Clients, aws_errors
from ..._core.errors import ProviderError
from ..._image_model import SHARED, accounts_of, amis_of
from .image_grants import grant_name, keys_of_snapshots, revoke_grants
from .image_users import foreign_amis, image_users, remove_image


@dataclass(frozen=True)
class OtherAccount:
    """An account that has images of another one, and the regions in which it may use them."""

    id: str
    clients: Clients
    regions: frozenset[str]


def other_accounts(
    owner: Clients, artifacts: Sequence[Mapping[str, Any]], accounts: Sequence[Account]
) -> list[OtherAccount]:
    """The other accounts in which targets get these artifacts."""
    by_id: dict[str, list[Clients]] = defaultdict(list)
    for clients in map(Clients, accounts):
        by_id[clients.account_id].append(clients)
    return [
        OtherAccount(
            account,
            found[0],
            frozenset(each.region for each in found)
            | {region for artifact in artifacts for region in accounts_of(artifact).get(account, {})},
        )
        for account, found in by_id.items()
        if account != owner.account_id
    ]


def users_elsewhere(
    artifacts: Sequence[Mapping[str, Any]], others: Sequence[OtherAccount], store: str
) -> list[list[str]]:
    """For each artifact descriptions of everything in other accounts that refers to it. Raises ProviderError."""
    found: list[list[str]] = [[] for _artifact in artifacts]
    for other in others:
        shared = [_in_regions(artifact, other) for artifact in artifacts]
        own = [_own(artifact, other.id) for artifact in artifacts]
        with aws_errors(doing=f"searching account {other.id}"):
            users = image_users(other.clients, [*shared, *own], shared=False)
            foreign = foreign_amis(other.clients, own, store)
        lists = users[: len(shared)], users[len(shared) :], foreign
        for texts, *more in zip(found, *lists, strict=True):
            texts += [f"{text} of account {other.id}" for some in more for text in some]
    known = {other.id for other in others}
    for texts, artifact in zip(found, artifacts, strict=True):
        texts += [
            f"account {account} has it, in which no target of the definition gets its image"
            for account in accounts_of(artifact)
            if account not in known
        ]
    return found


def remove_elsewhere(owner: Clients, artifact: Mapping[str, Any], accounts: Sequence[Account], store: str) -> None:
    """Remove the copies in other accounts, and take back the grants for them. Raises ProviderError."""
    others = {other.id: other.clients for other in other_accounts(owner, [artifact], accounts)}
    for account in accounts_of(artifact):
        if account not in others:
            raise ProviderError(
                f"account {account} has {artifact['ami']}, and no target of the definition gets its image there: add "
                "one that does, or remove it there"
            )
        for copy in _split(_own(artifact, account)):
            remove_image(others[account], copy, store)
    for region, ami in amis_of(artifact).items() if others else ():
        clients = owner.in_region(region)
        with aws_errors(doing=f"reading {ami} in {region}"):
            image = find_ami(clients.ec2, ami)
            keys = keys_of_snapshots(clients.ec2, snapshots_of(image)) if image else []
        revoke_grants(clients, keys, grant_name(store, ami))


def _in_regions(artifact: Mapping[str, Any], other: OtherAccount) -> dict[str, Any]:
    """The artifact with the AMIs of the account that baked it, in the regions of another account."""
    return _as_artifact({region: ami for region, ami in amis_of(artifact).items() if region in other.regions}, {})


def _own(artifact: Mapping[str, Any], account: str) -> dict[str, Any]:
    """The artifact with the AMIs that an account owns."""
    entries = accounts_of(artifact).get(account, {})
    own = {region: one for region, one in entries.items() if not one.get(SHARED)}
    return _as_artifact({region: str(one["ami"]) for region, one in own.items()}, own)


def _as_artifact(amis: Mapping[str, str], entries: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    regions = list(amis)
    if not regions:
        return {}
    first, *rest = regions
    parts = {
        region: {"ami": amis[region], "snapshots": entries.get(region, {}).get("snapshots", ())} for region in regions
    }
    return {**parts[first], "region": first, "copies": {region: parts[region] for region in rest}}


def _split(artifact: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [artifact] if artifact else []
