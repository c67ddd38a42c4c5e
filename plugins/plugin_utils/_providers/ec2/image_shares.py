# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""AMIs for another account than the one that bakes them.

The account that bakes shares the AMI and grants the use of its key. The other account launches the AMI itself, or
copies it. After a copy, the permission and the grant are taken back.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..._aws.amis import find_ami, snapshots_of
from ..._aws.clients import Account, Clients, aws_errors
from ..._core.errors import ProviderError
from ..._image_model import ROLES, SHARED, ami_of, entry_of
from .image_grants import (
    COPYING,
    GRANT_TIMEOUT,
    grant,
    grant_name,
    keys_of_snapshots,
    require_own_key,
    revoke_grants,
    wait_until_usable,
)
from .images import COPY_DELAY, Ec2Images

VISIBLE_TIMEOUT, VISIBLE_POLL = 60.0, 2.0  # seconds until the other account must see a shared AMI


@dataclass(frozen=True)
class Recipient:
    """The account that gets images.

    Attributes:
        roles: ARNs of who launches them. The first is the one that the controller assumes.
        copies: whether it gets copies of its own.
        encrypt: whether they are encrypted.
        kms_key: the key of its copies, "" for its default key.
        tags: of its copies.
    """

    account: Account
    roles: tuple[str, ...] = ()
    copies: bool = False
    encrypt: bool = True
    kms_key: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Pace:
    """How long to wait, in seconds: see the constants."""

    copy: float = COPY_DELAY
    grant: float = GRANT_TIMEOUT
    visible: float = VISIBLE_TIMEOUT


class AmiShares:
    """See ``shares.ImageShares``."""

    def __init__(self, owner: Account, recipient: Recipient, store: str, pace: Pace | None = None) -> None:
        """
        Args:
            owner: the account that bakes.
            store: the store's identity.
        """
        self._owner = Clients(owner)
        self._other = Clients(recipient.account)
        self._recipient = recipient
        self._store = store
        self._pace = pace or Pace()

    @property
    def _account(self) -> str:
        return self._other.account_id

    @property
    def _region(self) -> str:
        return self._other.region

    def require_shareable(self, artifact: Mapping[str, Any]) -> None:
        region = str(artifact["region"])
        clients = self._owner.in_region(region)
        image = _existing(clients, str(artifact["ami"]))
        self._require_keys(clients, image)

    def hand_over(self, artifact: Mapping[str, Any], tags: Mapping[str, str]) -> Mapping[str, Any]:
        if not self._recipient.copies:
            return self._share(artifact)
        region = str(artifact["region"])
        owner, image = self._owner.in_region(region), _existing(self._owner.in_region(region), str(artifact["ami"]))
        keys = self._require_keys(owner, image)
        self._permit(owner, image, True)
        name = grant_name(self._store, image["ImageId"], COPYING)
        self._grant(owner, self._other.in_region(region), keys, name)
        images = Ec2Images(
            self._recipient.account,
            self._recipient.encrypt,
            store=self._store,
            copy_delay=self._pace.copy,
            tags=self._recipient.tags,
        )
        copied = images.copy_to(artifact, self._region, self._recipient.kms_key, tags)
        revoke_grants(owner, keys, name)
        if not entry_of(artifact, self._account, region).get(
            SHARED
        ):  # another target of the account may launch the AMI itself
            self._permit(owner, image, False)
        return copied

    def permit(self, artifact: Mapping[str, Any], allowed: bool) -> bool:
        clients = self._owner.in_region(self._region)
        image = find_ami(clients.ec2, ami_of(artifact, self._region))
        return image is not None and self._permit(clients, image, allowed)

    def _share(self, artifact: Mapping[str, Any]) -> Mapping[str, Any]:
        region, owner = self._region, self._owner.in_region(self._region)
        image = _existing(owner, ami_of(artifact, region))
        keys = self._require_keys(owner, image)
        self._permit(owner, image, True)
        self._grant(owner, self._other, keys, grant_name(self._store, image["ImageId"]))
        self._wait_until_visible(image["ImageId"])
        roles = list(dict.fromkeys([*entry_of(artifact, self._account, region).get(ROLES, ()), *self._recipient.roles]))
        return {"ami": str(image["ImageId"]), SHARED: True, ROLES: roles}

    def _require_keys(self, clients: Clients, image: Mapping[str, Any]) -> list[str]:
        """The keys of the AMI. Raises ProviderError if one of them cannot be shared."""
        ami = str(image["ImageId"])
        with aws_errors(doing=f"reading the snapshots of {ami}"):
            keys = keys_of_snapshots(clients.ec2, snapshots_of(image))
        for key in keys:
            require_own_key(clients, key, ami)
        if keys and not self._recipient.roles:
            raise ProviderError(
                f"{ami} is encrypted with {keys[0]}, whose use is granted to a role of account {self._account}: set "
                "role for its target",
                permanent=True,
            )
        return keys

    def _permit(self, clients: Clients, image: Mapping[str, Any], allowed: bool) -> bool:
        """Give or take back the permission to launch an AMI, and for a copy to read its snapshots."""
        ec2, ami, account = clients.ec2, str(image["ImageId"]), self._account
        verb = "Add" if allowed else "Remove"
        with aws_errors(doing=f"{'sharing' if allowed else 'no longer sharing'} {ami} with account {account}"):
            answer = ec2.describe_image_attribute(ImageId=ami, Attribute="launchPermission")
            shared = account in [each.get("UserId") for each in answer.get("LaunchPermissions", ())]
            if shared is not allowed:
                ec2.modify_image_attribute(ImageId=ami, LaunchPermission={verb: [{"UserId": account}]})
            for snapshot in snapshots_of(image) if self._recipient.copies else ():
                ec2.modify_snapshot_attribute(
                    SnapshotId=snapshot,
                    Attribute="createVolumePermission",
                    OperationType=verb.lower(),
                    UserIds=[account],
                )
        return shared is not allowed

    def _grant(self, owner: Clients, other: Clients, keys: list[str], name: str) -> None:
        """Let the other account's role use the keys, and it lets other roles of the account use them."""
        first, *others = self._recipient.roles or ("",)
        for key in keys:
            grant(owner, key, first, name)
            wait_until_usable(other, key, timeout=self._pace.grant)
            for role in others if not self._recipient.copies else ():
                grant(other, key, role, name)

    def _wait_until_visible(self, ami: str) -> None:
        deadline = time.monotonic() + self._pace.visible
        while find_ami(self._other.ec2, ami) is None:
            if time.monotonic() >= deadline:
                raise ProviderError(
                    f"{ami} is shared with account {self._account}, which does not see it in {self._region} after "
                    f"{self._pace.visible:g} s. Run again to continue"
                )
            time.sleep(VISIBLE_POLL)


def _existing(clients: Clients, ami: str) -> Mapping[str, Any]:
    image = find_ami(clients.ec2, ami)
    if image is None:
        raise ProviderError(f"there is no AMI {ami} in {clients.region}: bake the image again", permanent=True)
    return image
