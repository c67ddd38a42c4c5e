#!/usr/bin/env python3
"""Write docs/reference/aws-policy*.json from the calls that the tests on AWS make: aws_policy.py [FILE]

FILE holds the actions of an earlier run, one per line. Without it the tests run first.
The policies allow exactly the actions that were seen or are in UNCALLED. The one for bakes is an addition to the
other, because IAM limits the size of each.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2.tags import STORE_KEY

ROOT = Path(__file__).resolve().parents[2]
POLICY, BAKE_POLICY = (ROOT / f"docs/reference/{name}.json" for name in ("aws-policy", "aws-policy-bake"))
TESTS = ["tests/unit"]
FREE = {"sts:GetCallerIdentity"}
UNCALLED = {  # actions that no test can call over HTTP, or that IAM requires for other calls
    # tested with botocore's Stubber
    "autoscaling:CancelInstanceRefresh", "autoscaling:RollbackInstanceRefresh", "autoscaling:UpdateAutoScalingGroup",
    "ec2:DescribeRegions",  # Packer, if no endpoint is given
    "ec2:CreateTags", "iam:PassRole",  # required to create tagged resources, to launch with an instance profile
    "ssm:AddTagsToResource",  # required to create a parameter with tags
}  # fmt: skip


def ec2(*kinds: str, one: str = "*") -> list[str]:
    """Return ARN patterns of these resource types. The ARNs of AMIs and snapshots contain no account."""
    return [f"arn:aws:ec2:*:{'' if kind in ('image', 'snapshot') else 'ACCOUNT'}:{kind}/{one}" for kind in kinds]


def ours(kind: str) -> dict[str, Any]:
    """Only what has the tag of the store: in the request that creates it, or already."""
    return {"StringEquals": {f"aws:{kind}Tag/{STORE_KEY}": "STORE"}}


def untagged(kind: str) -> dict[str, Any]:
    return {"Null": {f"aws:{kind}Tag/{STORE_KEY}": "true"}}


@dataclass(frozen=True)
class Statement:
    sid: str
    service: str
    actions: str  # without the service, separated by spaces
    resources: list[str] = field(default_factory=lambda: ["*"])
    condition: dict[str, Any] = field(default_factory=dict)

    def rendered(self, seen: set[str]) -> dict[str, Any] | None:
        actions = sorted(each for each in self.names if each in seen)
        body: dict[str, Any] = {"Sid": self.sid, "Effect": "Allow", "Action": actions, "Resource": self.resources}
        return {**body, **({"Condition": self.condition} if self.condition else {})} if actions else None

    @property
    def names(self) -> list[str]:
        return [f"{self.service}:{each}" for each in self.actions.split()]


# fmt: off
STATEMENTS = [
    Statement(
        "StoreList", "s3", actions="ListBucket", resources=["arn:aws:s3:::BUCKET"],
        condition={"StringLike": {"s3:prefix": ["PREFIX/*"]}},
    ),
    Statement("StoreLook", "s3", "GetBucketPolicyStatus", ["arn:aws:s3:::BUCKET"]),
    Statement("StoreObjects", "s3", "GetObject PutObject DeleteObject", ["arn:aws:s3:::BUCKET/PREFIX/*"]),
    Statement(
        "LookEc2", "ec2",
        "DescribeImageAttribute DescribeImages DescribeInstances DescribeKeyPairs "
        "DescribeLaunchTemplateVersions DescribeLaunchTemplates DescribeNetworkInterfaces DescribeRegions "
        "DescribeReplaceRootVolumeTasks "
        "DescribeSecurityGroups DescribeSnapshots DescribeSubnets DescribeVolumes "
        "DescribeVolumesModifications DescribeVpcs",
    ),
    Statement(
        "LookBalancer", "elasticloadbalancing",
        "DescribeListeners DescribeLoadBalancers DescribeRules "
        "DescribeTargetGroupAttributes DescribeTargetGroups DescribeTargetHealth",
    ),
    Statement(
        "LookScaling", "autoscaling",
        "DescribeAutoScalingGroups DescribeInstanceRefreshes DescribeLaunchConfigurations",
    ),
    Statement(
        "Create", "ec2",
        actions="CopyImage CreateSnapshot CreateVolume RunInstances",
        resources=ec2("instance", "volume", "snapshot", "image"),
        condition=ours("Request"),
    ),
    Statement(
        "LaunchFrom", "ec2", "RunInstances",
        ec2("image", "snapshot", "subnet", "security-group", "network-interface", "key-pair", "launch-template"),
    ),
    # What a launch template can name in addition, see list_amazonec2.html in the service authorization reference
    Statement(
        "LaunchFromTemplate", "ec2", "RunInstances",
        ec2("placement-group", "capacity-reservation", "dedicated-host", "spot-instances-request"),
    ),
    # Auto Scaling requires permission to launch from a group's template, which may lack the tag of the store
    Statement(
        "ScalingLaunch", "ec2", actions="RunInstances", resources=ec2("instance", "volume"),
        condition={"ArnLike": {"ec2:LaunchTemplate": ec2("launch-template", one="TEMPLATE")[0]}},
    ),
    Statement(
        "LaunchAs", "iam", actions="PassRole", resources=["arn:aws:iam::ACCOUNT:role/INSTANCE_ROLE"],
        condition={"StringEquals": {"iam:PassedToService": ["ec2.amazonaws.com", "ec2.amazonaws.com.cn"]}},
    ),
    Statement(
        "TagWhatIsMade", "ec2", actions="CreateTags", resources=["*"],
        condition={"StringEquals": {"ec2:CreateAction": [
            "RunInstances", "CreateVolume", "CopyImage", "CreateImage", "CreateSecurityGroup", "ImportKeyPair",
            "CreateSnapshot", "CreateReplaceRootVolumeTask",
        ]}},
    ),
    Statement(
        "Ours", "ec2",
        actions="AttachVolume CopyImage CreateReplaceRootVolumeTask CreateSnapshot CreateTags DeleteSnapshot "
        "DeleteTags DeleteVolume DeregisterImage DescribeInstanceAttribute DetachVolume GetConsoleOutput "
        "ModifyImageAttribute ModifyVolume StartInstances StopInstances TerminateInstances",
        resources=ec2("instance", "volume", "snapshot", "image"),
        condition=ours("Resource"),
    ),
    Statement(
        "ReimageTask", "ec2", actions="CreateReplaceRootVolumeTask", resources=ec2("replace-root-volume-task"),
        condition=ours("Request"),
    ),
    Statement(
        "ReimageFrom", "ec2", "CreateReplaceRootVolumeTask", ec2("image", "snapshot", "subnet", "volume"),
    ),
    # Root volumes that a task created have no tags until they are replaced in their turn
    Statement(
        "ReimageTags", "ec2", actions="CreateTags", resources=ec2("volume"),
        condition={**ours("Request"), **untagged("Resource")},
    ),
    Statement(
        "Balancer", "elasticloadbalancing", "DeregisterTargets ModifyTargetGroupAttributes RegisterTargets",
        ["arn:aws:elasticloadbalancing:*:ACCOUNT:targetgroup/TARGET_GROUP/*"],
    ),
    Statement(
        "Listener", "elasticloadbalancing", "ModifyListener ModifyRule",
        [f"arn:aws:elasticloadbalancing:*:ACCOUNT:{kind}/*/BALANCER/*" for kind in ("listener", "listener-rule")],
    ),
    Statement("Secrets", "ssm", "GetParameters", ["arn:aws:ssm:*:ACCOUNT:parameter/SECRETS/*"]),
    Statement(
        "SecretVersions", "secretsmanager", "DescribeSecret", ["arn:aws:secretsmanager:*:ACCOUNT:secret:SECRETS/*"]
    ),
    Statement(
        "Promote", "ssm", "AddTagsToResource GetParameter GetParameters GetParametersByPath PutParameter",
        ["arn:aws:ssm:*:ACCOUNT:parameter/immutable", "arn:aws:ssm:*:ACCOUNT:parameter/immutable/*"],
    ),
    Statement(
        "Scaling", "autoscaling",
        "CancelInstanceRefresh RollbackInstanceRefresh StartInstanceRefresh UpdateAutoScalingGroup",
        ["arn:aws:autoscaling:*:ACCOUNT:autoScalingGroup:*:autoScalingGroupName/GROUP"],
    ),
    Statement("ScalingTemplate", "ec2", "CreateLaunchTemplateVersion", ec2("launch-template", one="TEMPLATE")),
]
BAKE_STATEMENTS = [
    Statement("BaseBySsm", "ssm", "GetParameter", ["arn:aws:ssm:*::parameter/aws/service/*"]),
    Statement(
        "BakeCreate", "ec2", actions="CreateImage CreateSecurityGroup ImportKeyPair",
        resources=ec2("image", "snapshot", "key-pair", "security-group"), condition=ours("Request"),
    ),
    Statement("BakeNetwork", "ec2", "CreateSecurityGroup", ec2("vpc", one="VPC")),
    Statement(
        "Inspect", "ebs", "GetSnapshotBlock ListSnapshotBlocks", resources=ec2("snapshot"), condition=ours("Resource"),
    ),
    Statement(
        "BakeOurs", "ec2", actions="AuthorizeSecurityGroupIngress CreateImage DeleteKeyPair DeleteSecurityGroup",
        resources=ec2("instance", "key-pair", "security-group"), condition=ours("Resource"),
    ),
    # Another account's image shows no tags
    Statement(
        "CopyShared", "ec2", actions="CopyImage", resources=ec2("image", "snapshot"),
        condition={"StringEquals": {"ec2:Owner": "BAKING_ACCOUNT"}},
    ),
    Statement(
        "ShareImages", "ec2", "ModifySnapshotAttribute", resources=ec2("snapshot"), condition=ours("Resource"),
    ),
    Statement(
        "ShareKeys", "kms", "CreateGrant DescribeKey ListGrants RevokeGrant", ["arn:aws:kms:*:ACCOUNT:key/IMAGE_KEY"]
    ),
    # Packer's plugin before 1.0.2, and every plugin where AWS is a partition of its own, tags later or not at all
    Statement(
        "BakeUntagged", "ec2", actions="CreateImage CreateSecurityGroup",
        resources=ec2("image", "snapshot", "security-group"), condition=untagged("Request"),
    ),
    Statement(
        "BakeGroup", "ec2", actions="AuthorizeSecurityGroupIngress DeleteSecurityGroup",
        resources=ec2("security-group"),
        condition={**untagged("Resource"), "ArnEquals": {"ec2:Vpc": ec2("vpc", one="VPC")[0]}},
    ),
    Statement(
        "BakeTags", "ec2", actions="CreateTags", resources=ec2("image", "snapshot"),
        condition={**ours("Request"), **untagged("Resource")},
    ),
]
# fmt: on


def recorded() -> set[str]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "calls"
        environment = {
            **os.environ,
            "IMMUTABLE_AWS_CALLS": str(path),
            "PYTHONPATH": os.environ["ANSIBLE_COLLECTIONS_PATH"],
        }
        subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-m", "not vm", *TESTS], cwd=ROOT, check=True, env=environment
        )
        return set(path.read_text(encoding="utf-8").split())


def main(argv: list[str]) -> int:
    seen = set(Path(argv[0]).read_text(encoding="utf-8").split()) if argv else recorded()
    known = {name for each in [*STATEMENTS, *BAKE_STATEMENTS] for name in each.names}
    if strange := seen - known - FREE:
        print(
            f"no statement contains {', '.join(sorted(strange))}: add to STATEMENTS the resources that they may act on",
            file=sys.stderr,
        )
        return 1
    for path, chosen in ((POLICY, STATEMENTS), (BAKE_POLICY, BAKE_STATEMENTS)):
        bodies = [body for each in chosen if (body := each.rendered(seen | UNCALLED))]
        document = {"Version": "2012-10-17", "Statement": bodies}
        path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    unseen = ", ".join(sorted(known - seen - UNCALLED)) or "none"
    print(f"{POLICY.relative_to(ROOT)}: {len(seen)} actions seen; never seen and therefore omitted: {unseen}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
