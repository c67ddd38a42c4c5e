# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the documented policies allow and what they do not, by their resources and conditions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.immutable.infra.tests.support.aws.calls import Call
from ansible_collections.immutable.infra.tests.support.aws.policies import Request, matches, matching
from ansible_collections.immutable.infra.tests.support.aws.requests import ACCOUNT, arn
from ansible_collections.immutable.infra.tests.support.aws.rights import (
    COLLECTION,
    HOST_POLICY,
    POLICY,
    STORE,
    judge,
    statements,
)
from ansible_collections.immutable.infra.tests.support.aws.server import REGION

BALANCING = f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}"
TEMPLATE, VPC = "lt-0123456789abcdef0", "vpc-0123456789abcdef0"
OUR_VPC, OTHER_VPC = ({"ec2:Vpc": arn("vpc", one, REGION)} for one in (VPC, "vpc-00000000000000001"))
OURS, OTHERS = ({"aws:ResourceTag/immutable:store": one} for one in (STORE, "fedcba9876543210"))
TAGGED, CLAIMED = ({"aws:RequestTag/immutable:store": one} for one in (STORE, "fedcba9876543210"))


def ec2(action: str, kind: str, *keys: dict[str, str], one: str = "*") -> Request:
    context = {name: value for each in keys for name, value in each.items()}
    return Request(f"ec2:{action}", arn(kind, one, REGION), context)


def balancing(action: str, resource: str) -> Request:
    return Request(f"elasticloadbalancing:{action}", f"{BALANCING}:{resource}")


ALLOWED = [
    ec2("RunInstances", "instance", TAGGED),
    ec2("RunInstances", "placement-group"),
    ec2("RunInstances", "spot-instances-request"),
    ec2("RunInstances", "instance", {"ec2:LaunchTemplate": arn("launch-template", TEMPLATE, REGION)}),
    ec2("CreateLaunchTemplateVersion", "launch-template", one=TEMPLATE),
    ec2("CopyImage", "image", TAGGED),
    ec2("CopyImage", "image", OURS),
    ec2("CreateImage", "instance", OURS),
    ec2("DeregisterImage", "image", OURS),
    ec2("DeleteSnapshot", "snapshot", OURS),
    ec2("DeleteKeyPair", "key-pair", OURS),
    ec2("AuthorizeSecurityGroupIngress", "security-group", OURS),
    ec2("CreateTags", "volume", OURS),
    ec2("CreateTags", "instance", {"ec2:CreateAction": "RunInstances"}),
    balancing("RegisterTargets", "targetgroup/shop/0123456789abcdef"),
    balancing("ModifyListener", "listener/app/shop/0123456789abcdef/0123456789abcdef"),
    Request("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/shop-host", {"iam:PassedToService": "ec2.amazonaws.com.cn"}),
]
REFUSED = [
    ec2("RunInstances", "instance"),
    ec2("RunInstances", "instance", CLAIMED),
    ec2("RunInstances", "instance", {"ec2:LaunchTemplate": arn("launch-template", "lt-00000000000000001", REGION)}),
    ec2("CreateLaunchTemplateVersion", "launch-template", one="lt-00000000000000001"),
    ec2("CopyImage", "image"),
    ec2("CreateImage", "instance"),
    ec2("ImportKeyPair", "key-pair"),
    *(ec2("DeregisterImage", "image", *whose) for whose in ([], [OTHERS])),
    *(ec2("DeleteSnapshot", "snapshot", *whose) for whose in ([], [OTHERS])),
    *(ec2("DeleteKeyPair", "key-pair", *whose) for whose in ([], [OTHERS])),
    *(ec2("DeleteSecurityGroup", "security-group", *whose) for whose in ([OTHER_VPC], [OTHERS, OUR_VPC])),
    *(ec2("AuthorizeSecurityGroupIngress", "security-group", *whose) for whose in ([OTHER_VPC], [OTHERS, OUR_VPC])),
    ec2("CreateTags", "image", OTHERS, TAGGED),
    ec2("CreateTags", "snapshot", OTHERS, TAGGED),
    ec2("CreateTags", "instance", TAGGED),
    balancing("RegisterTargets", "targetgroup/other/0123456789abcdef"),
    balancing("ModifyListener", "listener/app/other/0123456789abcdef/0123456789abcdef"),
    Request("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/shop-host", {"iam:PassedToService": "lambda.amazonaws.com"}),
]


@pytest.mark.parametrize("request_", ALLOWED, ids=str)
def test_what_a_run_needs_is_allowed(request_: Request) -> None:
    assert matching(statements(), request_)


@pytest.mark.parametrize("request_", REFUSED, ids=str)
def test_what_belongs_to_others_is_refused(request_: Request) -> None:
    assert not [each["Sid"] for each in matching(statements(), request_)]


def test_only_the_policy_of_bakes_touches_what_has_no_tag() -> None:
    """Where Packer sets tags in the call that creates something, its statements can be left out."""
    group = ec2("DeleteSecurityGroup", "security-group", OUR_VPC)
    found = [each["Sid"] for each in matching(statements(), group)]
    assert found == ["BakeGroup"] and not matching(statements(POLICY), group)


def test_a_call_that_lacks_a_tag_of_the_policy_is_detected() -> None:
    tags = {"TagSpecification.1.ResourceType": "volume", "TagSpecification.1.Tag.1.Key": "immutable:fleet"}
    with pytest.raises(AssertionError, match=r"allows ec2:CreateVolume on arn:aws:ec2:[a-z0-9-]*:\d+:volume/"):
        judge([Call("ec2", "CreateVolume", tags, agent=COLLECTION)])


@pytest.mark.parametrize(
    ("operator", "wanted", "present", "missing"),
    [
        ("StringEquals", "a", True, False),
        ("StringNotEquals", "a", False, True),
        ("StringNotEquals", ["b", "c"], True, True),
        ("StringLike", "?*", True, False),
        ("StringEqualsIfExists", "a", True, True),
        ("StringNotEqualsIfExists", "a", False, True),
        ("Null", "true", False, True),
        ("Null", False, True, False),
        ("Bool", "false", False, False),
    ],
)
def test_conditions_are_evaluated_as_iam_does(operator: str, wanted: Any, present: bool, missing: bool) -> None:
    """Also for keys that a request does not have."""
    statement = {"Action": "ec2:*", "Resource": "*", "Condition": {operator: {"aws:RequestTag/Project": wanted}}}
    given = Request("ec2:RunInstances", "x", {"aws:requesttag/project": "a"})
    assert (matches(statement, given), matches(statement, Request("ec2:RunInstances", "x"))) == (present, missing)
    assert not matches(statement, Request("s3:PutObject", "x", given.context))


OBJECTS, ONE, TWO = "arn:aws:s3:::shop/infra", arn("instance", "i-1", REGION), arn("instance", "i-2", REGION)


@pytest.mark.parametrize(
    ("action", "resource", "source", "allowed"),
    [
        ("s3:PutObject", f"{OBJECTS}/hosts/{ONE}", ONE, True),
        ("s3:PutObject", f"{OBJECTS}/hosts/{TWO}", ONE, False),
        ("s3:PutObject", f"{OBJECTS}/hosts/{ONE}/more", ONE, False),
        ("s3:PutObject", f"{OBJECTS}/keys/secret.json", ONE, False),
        ("s3:PutObject", f"{OBJECTS}/hosts/{ONE}", None, False),
        ("s3:GetObject", f"{OBJECTS}/hosts/{ONE}", ONE, False),
        ("s3:DeleteObject", f"{OBJECTS}/hosts/{ONE}", ONE, False),
        ("s3:ListBucket", "arn:aws:s3:::shop", ONE, False),
    ],
)
def test_a_host_may_write_its_own_name_and_nothing_else(
    action: str, resource: str, source: str | None, allowed: bool
) -> None:
    context = {} if source is None else {"ec2:SourceInstanceARN": source}
    assert bool(matching(statements(HOST_POLICY), Request(action, resource, context))) == allowed


def test_the_page_shows_the_policy_of_hosts() -> None:
    page = (HOST_POLICY.parents[1] / "how-to/aws-evidence.md").read_text(encoding="utf-8")
    [statement] = json.loads(HOST_POLICY.read_text(encoding="utf-8"))["Statement"]
    assert statement == json.loads(page.split("```json\n")[1].split("```")[0])
