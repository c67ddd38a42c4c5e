# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The IAM actions that the collection's calls need, and whether the documented policies allow them.

For calls that create something, conditions on the tags of the request are evaluated. Conditions on the tags of existing
resources are not: a call does not say which tags they have.
"""

from __future__ import annotations

import fnmatch
import functools
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible_collections.immutable.infra.plugins.plugin_utils._aws.actions import action_of

from .calls import Call
from .policies import Request, matching
from .requests import ACCOUNT, created

REFERENCE = Path(__file__).parents[3] / "docs/reference"
POLICY, BAKE_POLICY = REFERENCE / "aws-policy.json", REFERENCE / "aws-policy-bake.json"
RECORD = "IMMUTABLE_AWS_CALLS"  # names a file that each test's calls are written to; see tests/tools/aws_policy.py
COLLECTION, PACKER = "immutable.infra", "aws-sdk-go"  # parts of their User-Agent headers
TAGS = "TagSpecification.1.ResourceType"
FREE = ("sts:GetCallerIdentity",)  # allowed without a policy
STORE_TAG, STORE = "immutable:store", "0123456789abcdef"
FILLED_IN = {  # the words that a user replaces; a longer word comes before one that it contains
    "TARGET_GROUP": "shop",
    "INSTANCE_ROLE": "shop-host",
    "TEMPLATE": "lt-0123456789abcdef0",
    "VPC": "vpc-0123456789abcdef0",
    "BALANCER": "shop",
    "SECRETS": "shop",
    "BUCKET": "shop",
    "PREFIX": "infra",
    "BAKING_ACCOUNT": ACCOUNT,
    "ACCOUNT": ACCOUNT,
    "IMAGE_KEY": "*",
    "STORE": STORE,
    "GROUP": "shop",
}


def actions_of(calls: Iterable[Call]) -> set[str]:
    """Return the IAM actions that the calls need.

    Only the calls of the collection and of Packer count, not those that tests make themselves.
    """
    return {action_of(each.service, each.action) for each in calls if counts(each)}


def counts(call: Call) -> bool:
    return COLLECTION in call.agent or PACKER in call.agent


@functools.cache
def statements(*policies: Path) -> tuple[Mapping[str, Any], ...]:
    """The statements of both policies, or of these, with the words filled in."""
    texts = [path.read_text(encoding="utf-8") for path in policies or (POLICY, BAKE_POLICY)]
    for word, value in FILLED_IN.items():
        texts = [text.replace(word, value) for text in texts]
    return tuple(statement for text in texts for statement in json.loads(text)["Statement"])


@functools.cache
def allowed() -> tuple[str, ...]:
    """The policies' actions. An asterisk matches anything."""
    return (*FREE, *(action for each in statements() for action in each["Action"]))


@functools.cache
def tagging() -> frozenset[str]:
    """Return the EC2 calls that may set tags on the resources they create, by the policies."""
    conditions = [each.get("Condition", {}).get("StringEquals", {}) for each in statements()]
    return frozenset(action for each in conditions for action in each.get("ec2:CreateAction", ()))


def refused(call: Call) -> list[Request]:
    """What the policies do not allow of all that a call creates."""
    of_any_store = [_of_store(each) for each in created(call)] if call.service == "ec2" else []
    return [each for each in of_any_store if not matching(statements(), each)]


def _of_store(request: Request) -> Request:
    """The request with the identity of the store that is filled in. Each test has a store of its own."""
    key = f"aws:RequestTag/{STORE_TAG}"
    given = request.context.get(key)
    return replace(request, context={**request.context, key: STORE}) if given else request


def judge(calls: Iterable[Call]) -> None:
    """Raise AssertionError for what the policies do not allow.

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
    tagged = {each.action for each in calls if each.service == "ec2" and counts(each) and TAGS in each.parameters}
    assert tagged <= tagging(), (
        f"docs/reference/aws-policy.json lets no tags be set in {', '.join(sorted(tagged - tagging()))}: "
        "see tests/tools/aws_policy.py"
    )
    too_much = {f"{one.action} on {one.resource}" for each in calls if counts(each) for one in refused(each)}
    assert not too_much, (
        f"no statement of the policies allows {', '.join(sorted(too_much))} with these tags: a call that creates "
        "something sets the tag of the store"
    )
