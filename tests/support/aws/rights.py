# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The IAM actions that the collection's calls need, and whether the documented policy allows them."""

from __future__ import annotations

import fnmatch
import functools
import json
import os
from collections.abc import Iterable
from pathlib import Path

from ansible_collections.immutable.infra.plugins.plugin_utils._aws.actions import action_of

from .calls import Call

POLICY = Path(__file__).parents[3] / "docs/reference/aws-policy.json"
RECORD = "IMMUTABLE_AWS_CALLS"  # names a file that each test's calls are written to; see tests/tools/aws_policy.py
COLLECTION, PACKER = "immutable.infra", "aws-sdk-go"  # parts of their User-Agent headers
TAGS = "TagSpecification.1.ResourceType"
FREE = ("sts:GetCallerIdentity",)  # allowed without a policy


def actions_of(calls: Iterable[Call]) -> set[str]:
    """Return the IAM actions that the calls need.

    Only the calls of the collection and of Packer count, not those that tests make themselves.
    """
    return {action_of(each.service, each.action) for each in calls if COLLECTION in each.agent or PACKER in each.agent}


@functools.cache
def allowed() -> tuple[str, ...]:
    """The policy's actions. An asterisk matches anything."""
    statements = json.loads(POLICY.read_text(encoding="utf-8"))["Statement"]
    return (*FREE, *(action for each in statements for action in each["Action"]))


@functools.cache
def tagging() -> frozenset[str]:
    """Return the EC2 calls that may set tags on the resources they create, by the policy."""
    conditions = [
        each.get("Condition", {}).get("StringEquals", {})
        for each in json.loads(POLICY.read_text(encoding="utf-8"))["Statement"]
    ]
    return frozenset(action for each in conditions for action in each.get("ec2:CreateAction", ()))


def judge(calls: Iterable[Call]) -> None:
    """Raise AssertionError for an action that the policy does not allow.

    If ``RECORD`` is set, only record the actions.
    """
    calls = list(calls)
    needed = actions_of(calls)
    if path := os.environ.get(RECORD):
        with open(path, "a", encoding="utf-8") as file:
            file.writelines(f"{action}\n" for action in sorted(needed))
        return
    missing = [each for each in sorted(needed) if not any(fnmatch.fnmatchcase(each, one) for one in allowed())]
    assert not missing, (
        f"docs/reference/aws-policy.json does not allow {', '.join(missing)}: tests/tools/aws_policy.py regenerates it"
    )
    tagged = {
        each.action
        for each in calls
        if each.service == "ec2" and (COLLECTION in each.agent or PACKER in each.agent) and TAGS in each.parameters
    }
    assert tagged <= tagging(), (
        f"docs/reference/aws-policy.json lets no tags be set in {', '.join(sorted(tagged - tagging()))}: "
        "see tests/tools/aws_policy.py"
    )
