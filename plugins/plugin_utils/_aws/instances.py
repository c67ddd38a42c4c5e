# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What several rooms know about EC2's instances. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

MAX_LAUNCHED = 100  # instances that one call launches: AWS advises no more, and the slots of all must fit into tags
HOP_LIMIT = 1  # of responses of the metadata service, unless a target sets another one


def machine_settings(
    data: Mapping[str, Any], security_groups: Sequence[str], instance_type: str = ""
) -> dict[str, Any]:
    """Return the settings of a target's ``machine`` that launch such an instance, without what is unset.

    Args:
        data: an instance, or a version of a launch template, as EC2 describes it.
        instance_type: another type than that of ``data``.
    """
    profile = data.get("IamInstanceProfile") or {}
    found = {
        "type": instance_type or data.get("InstanceType"),
        "instance_profile": profile.get("Name") or str(profile.get("Arn", "")).rpartition("/")[2],
        "security_groups": list(security_groups),
        "metadata_hop_limit": (data.get("MetadataOptions") or {}).get("HttpPutResponseHopLimit"),
    }
    return {name: value for name, value in found.items() if value}


def instances_in(answers: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the instances in answers of DescribeInstances."""
    for answer in answers:
        for reservation in answer["Reservations"]:
            yield from reservation["Instances"]
