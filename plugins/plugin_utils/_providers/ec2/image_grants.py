# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The KMS keys of an AMI's snapshots, and grants that let roles of other accounts use them.

Sources: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/sharingamis-explicit.html (keys of shared AMIs),
https://docs.aws.amazon.com/ebs/latest/userguide/ebs-encryption-requirements.html (operations), and
https://docs.aws.amazon.com/autoscaling/ec2/userguide/key-policy-requirements-EBS-encryption.html (the grant for Auto
Scaling is made by the account of the group).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from ..._aws.batches import MAX_FILTER_VALUES, batches
from ..._aws.clients import DENIED, Clients, aws_errors
from ..._core.errors import ProviderError

OPERATIONS = (
    "CreateGrant",
    "Decrypt",
    "DescribeKey",
    "GenerateDataKeyWithoutPlaintext",
    "ReEncryptFrom",
    "ReEncryptTo",
)
COPYING = "-copy"  # purpose of a grant that lasts as long as a copy is being made
BY_AWS = "AWS"  # the manager of a key such as aws/ebs
# "usually less than five minutes", says the reference of CreateGrant
GRANT_TIMEOUT, GRANT_POLL = 300.0, 5.0  # seconds until a grant must work, and between two looks


def grant_name(store: str, ami: str, purpose: str = "") -> str:
    """The name of the grants for an AMI. With it, a repeated request does not make another grant."""
    return f"immutable-{store}-{ami}{purpose}"


def keys_of_snapshots(ec2: Any, snapshots: Sequence[str]) -> list[str]:
    """ARNs of the keys that encrypt the account's own snapshots, each once. None for snapshots without encryption."""
    keys: dict[str, None] = {}
    for part in batches(list(snapshots), MAX_FILTER_VALUES):
        filters = [{"Name": "snapshot-id", "Values": part}]
        for page in ec2.get_paginator("describe_snapshots").paginate(OwnerIds=["self"], Filters=filters):
            keys.update({str(each["KmsKeyId"]): None for each in page["Snapshots"] if each.get("Encrypted")})
    return list(keys)


def require_own_key(clients: Clients, key: str, ami: str) -> None:
    """Raise ProviderError if AWS manages the key: what it encrypts cannot be shared."""
    with aws_errors(doing=f"reading the key of {ami}"):
        manager = clients.client("kms").describe_key(KeyId=key)["KeyMetadata"].get("KeyManager")
    if manager == BY_AWS:
        raise ProviderError(
            f"{ami} is encrypted with {key}, the default key of its account, and AWS shares no such snapshot; "
            "set build.kms_key to a key of your own, and bake the image again",
            permanent=True,
        )


def grant(clients: Clients, key: str, role: str, name: str) -> None:
    """Let a role use the key. Raises ProviderError."""
    with aws_errors(doing=f"letting {role} use the key {key}"):
        clients.client("kms").create_grant(KeyId=key, GranteePrincipal=role, Operations=list(OPERATIONS), Name=name)


def wait_until_usable(other: Clients, key: str, *, timeout: float, poll: float = GRANT_POLL) -> None:
    """Return as soon as the other account's role may use the key. Raises ProviderError after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            with aws_errors(doing=f"using the key {key}"):
                other.client("kms").describe_key(KeyId=key)
        except ProviderError as error:
            if error.code not in DENIED:
                raise
            if time.monotonic() >= deadline:
                raise ProviderError(
                    f"{error.message}. The role was granted the use of the key {timeout:g} s ago; its own policy must "
                    "allow it too",
                    permanent=True,
                ) from error
            time.sleep(poll)
        else:
            return


def revoke_grants(clients: Clients, keys: Sequence[str], name: str) -> None:
    """Take back all grants whose names are this one, or this one with a purpose. Raises ProviderError."""
    for key in keys:
        kms = clients.client("kms")
        with aws_errors(doing=f"taking back the grants of {name}"):
            pages = kms.get_paginator("list_grants").paginate(KeyId=key)
            found = [
                each["GrantId"]
                for page in pages
                for each in page["Grants"]
                if each.get("Name") in (name, name + COPYING)
            ]
            for one in found:
                kms.revoke_grant(KeyId=key, GrantId=one)
