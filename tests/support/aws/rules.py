# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The table of rules: each corrects a point in which moto differs from AWS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from . import rules_accounts as accounts
from . import rules_instances as instances
from . import rules_snapshots as data
from . import rules_stores as stores
from . import rules_traffic as traffic
from . import rules_volumes as volumes
from .answers import Answer, refusal
from .calls import Call
from .proxy import Layer, Proceed
from .requests import CREATED
from .world import World

EC2 = "https://docs.aws.amazon.com/AWSEC2/latest/APIReference"
DEV = "https://docs.aws.amazon.com/ec2/latest/devguide"
ELB = "https://docs.aws.amazon.com/elasticloadbalancing/latest"
S3 = "https://docs.aws.amazon.com/AmazonS3/latest"


@dataclass(frozen=True)
class Rule:
    name: str
    actions: tuple[str, ...]  # "service:Action"
    apply: Callable[[World, Call, Proceed], Answer]
    fact: str  # what AWS does
    page: str  # of its documentation


RULES = (
    Rule(
        "images of other accounts",
        actions=("ec2:DescribeImages",),
        apply=accounts.shared_images,
        fact="An account sees the images that others share with it, without their tags.",
        page="https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/sharingamis-explicit.html",
    ),
    Rule(
        "copying images of other accounts",
        actions=("ec2:CopyImage",),
        apply=accounts.copy_shared,
        fact="The owner must share the image and its snapshots, and grant the use of their key.",
        page="https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/CopyingAMIs.html",
    ),
    Rule(
        "sharing what the default key encrypts",
        actions=("ec2:ModifyImageAttribute", "ec2:ModifySnapshotAttribute"),
        apply=accounts.share,
        fact="Snapshots that are encrypted with the account's default key cannot be shared.",
        page="https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/sharingamis-explicit.html",
    ),
    Rule(
        "keys of an image's snapshots",
        actions=("ec2:DescribeSnapshots",),
        apply=accounts.snapshot_keys,
        fact="A snapshot of an encrypted image names its key.",
        page=f"{EC2}/API_Snapshot.html",
    ),
    Rule(
        "repeated grants",
        actions=("kms:CreateGrant",),
        apply=accounts.create_grant,
        fact="A grant with the name and the parameters of an existing one is that one.",
        page="https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateGrant.html",
    ),
    Rule(
        "keys of other accounts",
        actions=("kms:DescribeKey",),
        apply=accounts.describe_key,
        fact="A role may use a key of another account if it was granted.",
        page="https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-modifying-external-accounts.html",
    ),
    Rule(
        "denying policies",
        actions=("s3:PutObject", "s3:CreateMultipartUpload", *(f"ec2:{action}" for action in CREATED)),
        apply=stores.denied,
        fact="A policy of the organization or of a bucket may deny to create what lacks a tag, or another encryption.",
        page="https://docs.aws.amazon.com/organizations/latest/userguide/orgs_manage_policies_scps_examples_tagging.html",
    ),
    Rule(
        "client tokens",
        actions=(
            "ec2:RunInstances",
            "ec2:CreateVolume",
            "ec2:CopyImage",
            "ec2:CreateLaunchTemplateVersion",
            "ec2:CreateLaunchTemplate",
        ),
        apply=instances.client_tokens,
        fact="A repeated token gets the first answer again. With other parameters it fails. It counts in one zone.",
        page=f"{DEV}/ec2-api-idempotency.html",
    ),
    Rule(
        "launching takes time",
        actions=("ec2:RunInstances",),
        apply=instances.launch,
        fact="A new instance is pending until it runs.",
        page="https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-lifecycle.html",
    ),
    Rule(
        "launches that fail later",
        actions=("ec2:RunInstances",),
        apply=instances.death,
        fact="EC2 may accept a launch whose instances then terminate, with a reason: a denied KMS key, for example.",
        page=f"{EC2}/API_StateReason.html",
    ),
    Rule(
        "protection by a template",
        actions=("ec2:RunInstances",),
        apply=instances.protection,
        fact="A launch template may protect its instances against being terminated, and against being stopped.",
        page=f"{EC2}/API_RequestLaunchTemplateData.html",
    ),
    Rule(
        "protected instances",
        actions=("ec2:StopInstances", "ec2:TerminateInstances"),
        apply=instances.protected,
        fact="A protected instance cannot be terminated, and with protection against stops neither stopped.",
        page="https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-stop-protection.html",
    ),
    Rule(
        "disks of an AMI",
        actions=("ec2:RunInstances",),
        apply=instances.disks,
        fact="A block device mapping that names a device of the AMI overrides only what it sets, such as encryption.",
        page="https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/block-device-mapping-concepts.html",
    ),
    Rule(
        "capacity",
        actions=("ec2:RunInstances",),
        apply=instances.capacity,
        fact="A zone may have no capacity for an instance type while another zone has.",
        page=f"{DEV}/errors-overview.html",
    ),
    Rule(
        "user data size",
        actions=("ec2:RunInstances",),
        apply=instances.user_data,
        fact="User data is at most 16 KB, before base64.",
        page="https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-add-user-data.html",
    ),
    Rule(
        "user data of launch templates",
        actions=("ec2:CreateLaunchTemplate", "ec2:CreateLaunchTemplateVersion"),
        apply=instances.template_user_data,
        fact="User data of a version is at most 16 KB, before base64.",
        page="https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RequestLaunchTemplateData.html",
    ),
    Rule(
        "unknown instance profiles",
        actions=("ec2:RunInstances",),
        apply=instances.profile,
        fact="An unknown instance profile is an invalid parameter value.",
        page=f"{DEV}/errors-overview.html",
    ),
    Rule(
        "starting",
        actions=("ec2:StartInstances",),
        apply=instances.start,
        fact="A stopping instance cannot be started. A starting instance is pending first.",
        page=f"{DEV}/errors-overview.html",
    ),
    Rule(
        "stopping and terminating take time",
        actions=("ec2:StopInstances", "ec2:TerminateInstances"),
        apply=instances.end,
        fact="An instance is stopping or shutting-down until it is down, and keeps its volumes until then.",
        page="https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-lifecycle.html",
    ),
    Rule(
        "eventual consistency",
        actions=("ec2:DescribeInstances",),
        apply=instances.states,
        fact="A new resource may not be visible yet. A terminated one remains visible, its tags perhaps not as long.",
        page=f"{DEV}/eventual-consistency.html",
    ),
    Rule(
        "console",
        actions=("ec2:GetConsoleOutput",),
        apply=instances.console,
        fact="The output is what the instance printed, and it knows its user data. Only Nitro gives the latest output.",
        page=f"{EC2}/API_GetConsoleOutput.html",
    ),
    Rule(
        "attaching",
        actions=("ec2:AttachVolume",),
        apply=volumes.attach,
        fact="To one instance at a time, in the same zone, running or stopped, under a free device name.",
        page=f"{DEV}/errors-overview.html",
    ),
    Rule(
        "detaching",
        actions=("ec2:DetachVolume",),
        apply=volumes.detach,
        fact="A volume that is not attached cannot be detached.",
        page=f"{DEV}/errors-overview.html",
    ),
    Rule(
        "deleting attached volumes",
        actions=("ec2:DeleteVolume",),
        apply=volumes.delete,
        fact="An attached volume cannot be deleted.",
        page=f"{EC2}/API_DeleteVolume.html",
    ),
    Rule(
        "limits of volume types",
        actions=("ec2:CreateVolume", "ec2:ModifyVolume"),
        apply=volumes.limits,
        fact="Each type has its sizes, operations per second and throughput.",
        page="https://docs.aws.amazon.com/ebs/latest/userguide/ebs-volume-types.html",
    ),
    Rule(
        "creating volumes takes time",
        actions=("ec2:CreateVolume",),
        apply=volumes.create,
        fact="A volume is creating before it is available.",
        page="https://docs.aws.amazon.com/ebs/latest/userguide/ebs-describing-volumes.html",
    ),
    Rule(
        "volumes' states",
        actions=("ec2:DescribeVolumes",),
        apply=volumes.describe,
        fact="A volume's state and attachments follow its instance's.",
        page="https://docs.aws.amazon.com/ebs/latest/userguide/ebs-describing-volumes.html",
    ),
    Rule(
        "modifying volumes",
        actions=("ec2:ModifyVolume",),
        apply=volumes.modify,
        fact="A volume can only grow. A modification must be complete before the next, and there are four in 24 hours.",
        page=f"{EC2}/API_ModifyVolume.html",
    ),
    Rule(
        "modifications take time",
        actions=("ec2:DescribeVolumesModifications",),
        apply=volumes.modifications,
        fact="A modification goes through modifying and optimizing.",
        page=f"{EC2}/API_DescribeVolumesModifications.html",
    ),
    Rule(
        "snapshots take time",
        actions=("ec2:CreateSnapshot",),
        apply=volumes.snapshot,
        fact="A snapshot is pending until its blocks are copied.",
        page=f"{EC2}/API_CreateSnapshot.html",
    ),
    Rule(
        "snapshots' states",
        actions=("ec2:DescribeSnapshots",),
        apply=volumes.snapshots,
        fact="A snapshot is pending until its blocks are copied.",
        page=f"{EC2}/API_CreateSnapshot.html",
    ),
    Rule(
        "snapshots have data",
        actions=("ebs:ListSnapshotBlocks",),
        apply=data.list_blocks,
        fact="The snapshot of an image has the data of the instance's volume. Blocks of 512 KiB are listed in pages.",
        page="https://docs.aws.amazon.com/ebs/latest/APIReference/API_ListSnapshotBlocks.html",
    ),
    Rule(
        "blocks have checksums",
        actions=("ebs:GetSnapshotBlock",),
        apply=data.get_block,
        fact="A block is read with its token. The answer has the checksum of its data.",
        page="https://docs.aws.amazon.com/ebs/latest/APIReference/API_GetSnapshotBlock.html",
    ),
    Rule(
        "image names and tags",
        actions=("ec2:CreateImage", "ec2:CopyImage", "ec2:RegisterImage"),
        apply=volumes.image,
        fact="A name is unique in account and region. A copy and its snapshots get the requested tags.",
        page=f"{EC2}/API_CopyImage.html",
    ),
    Rule(
        "images' states",
        actions=("ec2:DescribeImages",),
        apply=volumes.images,
        fact="An image is pending until its snapshots are complete. Its root device has the type ebs.",
        page=f"{EC2}/API_Image.html",
    ),
    Rule(
        "deregistering with snapshots",
        actions=("ec2:DeregisterImage",),
        apply=volumes.deregister,
        fact="DeleteAssociatedSnapshots also deletes the snapshots, except those that another image uses.",
        page=f"{EC2}/API_DeregisterImage.html",
    ),
    Rule(
        "template versions inherit",
        actions=("ec2:CreateLaunchTemplateVersion",),
        apply=volumes.template_version,
        fact="A version inherits from its source version what it does not set.",
        page=f"{EC2}/API_CreateLaunchTemplateVersion.html",
    ),
    Rule(
        "registering targets",
        actions=("elasticloadbalancing:RegisterTargets",),
        apply=traffic.register,
        fact="An instance must be running when it is registered.",
        page=f"{ELB}/application/target-group-register-targets.html",
    ),
    Rule(
        "draining",
        actions=("elasticloadbalancing:DeregisterTargets",),
        apply=traffic.deregister,
        fact="A target is draining until the deregistration delay ends, even with nothing in flight.",
        page=f"{ELB}/application/edit-target-group-attributes.html",
    ),
    Rule(
        "target health",
        actions=("elasticloadbalancing:DescribeTargetHealth",),
        apply=traffic.health,
        fact="initial until checks pass, unhealthy if they fail, unused if no listener forwards to the group.",
        page=f"{ELB}/application/check-target-health.html",
    ),
    Rule(
        "registering with a Network Load Balancer",
        actions=("elasticloadbalancing:DescribeTargetHealth",),
        apply=traffic.network_registration,
        # AWS's maintainer of the controller for Kubernetes gives 90 to 180 seconds:
        # https://github.com/kubernetes-sigs/aws-load-balancer-controller/issues/1834
        fact="A target stays initial for minutes before a Network Load Balancer begins to check it.",
        page=f"{ELB}/network/target-group-health-checks.html",
    ),
    Rule(
        "parameter size",
        actions=("ssm:PutParameter",),
        apply=stores.parameter_size,
        fact="A standard parameter holds 4 KB.",
        page="https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html",
    ),
    Rule(
        "secrets behind parameters",
        actions=("ssm:GetParameters",),
        apply=stores.secret_references,
        fact="A reference to a secret of Secrets Manager is an invalid parameter in a call that does not decrypt.",
        page="https://docs.aws.amazon.com/systems-manager/latest/userguide/integration-ps-secretsmanager.html",
    ),
    Rule(
        "buckets are private and encrypted",
        actions=("s3:CreateBucket",),
        apply=stores.private_bucket,
        fact="New buckets block public access and encrypt by default.",
        page=f"{S3}/userguide/default-encryption-faq.html",
    ),
    Rule(
        "conditional writes are atomic",
        actions=("s3:PutObject", "s3:CopyObject", "s3:DeleteObject", "s3:CompleteMultipartUpload"),
        apply=stores.atomic_writes,
        fact="Of several writers with one condition, one succeeds. The others get 412, or 409 while it is in progress.",
        page=f"{S3}/userguide/conditional-writes.html",
    ),
    Rule(
        "reserved tags",
        actions=("ec2:CreateTags", "ec2:RunInstances", "ec2:CreateVolume"),
        apply=stores.reserved_tags,
        fact="Keys that begin with aws: are reserved.",
        page="https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html",
    ),
)


def layers(world: World) -> list[Layer]:
    """The rules as layers of the proxy. The first in the table is the outermost."""
    return [*(_layer(world, rule) for rule in RULES), moto_failure]


def moto_failure(call: Call, proceed: Proceed) -> Answer:
    """Turn a failure of moto itself into an error that clients do not retry, as they retry a 500."""
    answer = proceed(call)
    if answer.status == 500 and answer.body.startswith(b"<!doctype html>"):
        return refusal(call, 400, "MotoFailed", f"moto failed at {call.service}:{call.action}, or does not have it")
    return answer


def _layer(world: World, rule: Rule) -> Layer:
    def layer(call: Call, proceed: Proceed) -> Answer:
        return rule.apply(world, call, proceed) if f"{call.service}:{call.action}" in rule.actions else proceed(call)

    return layer
