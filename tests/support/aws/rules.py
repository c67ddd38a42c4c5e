# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The table: where moto is kinder than AWS or wrong, and the rule that makes up for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from . import rules_instances as instances
from . import rules_stores as stores
from . import rules_traffic as traffic
from . import rules_volumes as volumes
from .answers import Answer, refusal
from .calls import Call
from .proxy import Layer, Proceed
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
    page: str  # where its documentation says so


RULES = (
    Rule("client tokens", ("ec2:RunInstances", "ec2:CreateVolume", "ec2:CopyImage", "ec2:CreateLaunchTemplateVersion", "ec2:CreateLaunchTemplate"),
         instances.client_tokens, "A token seen before gets the first answer again; with other parameters it is refused. It counts in the zone named.",
         f"{DEV}/ec2-api-idempotency.html"),
    Rule("launching takes time", ("ec2:RunInstances",), instances.launch,
         "A new instance is pending until it runs.", "https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-lifecycle.html"),
    Rule("capacity", ("ec2:RunInstances",), instances.capacity,
         "A zone may have no room for the type asked for; another may.", f"{DEV}/errors-overview.html"),
    Rule("user data size", ("ec2:RunInstances",), instances.user_data,
         "User data is at most 16 KB, before base64.", "https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-add-user-data.html"),
    Rule("unknown instance profiles", ("ec2:RunInstances",), instances.profile,
         "An unknown instance profile is an invalid parameter value.", f"{DEV}/errors-overview.html"),
    Rule("starting", ("ec2:StartInstances",), instances.start,
         "What is stopping cannot be started; what starts is pending first.", f"{DEV}/errors-overview.html"),
    Rule("stopping and terminating take time", ("ec2:StopInstances", "ec2:TerminateInstances"), instances.end,
         "An instance is stopping or shutting-down until it is down, and has its volumes until then.",
         "https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-lifecycle.html"),
    Rule("eventual consistency", ("ec2:DescribeInstances",), instances.states,
         "What was just made may not be seen yet.", f"{DEV}/eventual-consistency.html"),
    Rule("console", ("ec2:GetConsoleOutput",), instances.console,
         "The output is what the instance printed; the newest is to be had of Nitro instances.", f"{EC2}/API_GetConsoleOutput.html"),
    Rule("attaching", ("ec2:AttachVolume",), volumes.attach,
         "One instance at a time, in the same zone, running or stopped, a device of its own.", f"{DEV}/errors-overview.html"),
    Rule("detaching", ("ec2:DetachVolume",), volumes.detach,
         "What is not attached cannot be detached.", f"{DEV}/errors-overview.html"),
    Rule("deleting attached volumes", ("ec2:DeleteVolume",), volumes.delete,
         "An attached volume cannot be deleted.", f"{EC2}/API_DeleteVolume.html"),
    Rule("creating volumes takes time", ("ec2:CreateVolume",), volumes.create,
         "A volume is creating before it is available.", "https://docs.aws.amazon.com/ebs/latest/userguide/ebs-describing-volumes.html"),
    Rule("volumes' states", ("ec2:DescribeVolumes",), volumes.describe,
         "A volume's state and attachments follow its instance's.", "https://docs.aws.amazon.com/ebs/latest/userguide/ebs-describing-volumes.html"),
    Rule("modifying volumes", ("ec2:ModifyVolume",), volumes.modify,
         "Volumes only grow; a modification must be complete before the next, and there are four in 24 hours.", f"{EC2}/API_ModifyVolume.html"),
    Rule("modifications take time", ("ec2:DescribeVolumesModifications",), volumes.modifications,
         "A modification goes through modifying and optimizing.", f"{EC2}/API_DescribeVolumesModifications.html"),
    Rule("snapshots take time", ("ec2:CreateSnapshot",), volumes.snapshot,
         "A snapshot is pending until its blocks are copied.", f"{EC2}/API_CreateSnapshot.html"),
    Rule("snapshots' states", ("ec2:DescribeSnapshots",), volumes.snapshots,
         "A snapshot is pending until its blocks are copied.", f"{EC2}/API_CreateSnapshot.html"),
    Rule("image names and tags", ("ec2:CreateImage", "ec2:CopyImage", "ec2:RegisterImage"), volumes.image,
         "Names are unique in account and region; a copy and its snapshots get the tags asked for.", f"{EC2}/API_CopyImage.html"),
    Rule("images' states", ("ec2:DescribeImages",), volumes.images,
         "An image is pending until its snapshots are complete; its root device is of type ebs; an encrypted copy says so.", f"{EC2}/API_Image.html"),
    Rule("deregistering with snapshots", ("ec2:DeregisterImage",), volumes.deregister,
         "An image takes its snapshots along where asked to, but none that another image has.", f"{EC2}/API_DeregisterImage.html"),
    Rule("template versions inherit", ("ec2:CreateLaunchTemplateVersion",), volumes.template_version,
         "A version takes from its source version what it does not say.", f"{EC2}/API_CreateLaunchTemplateVersion.html"),
    Rule("registering targets", ("elasticloadbalancing:RegisterTargets",), traffic.register,
         "An instance must be running when it is registered.", f"{ELB}/application/target-group-register-targets.html"),
    Rule("draining", ("elasticloadbalancing:DeregisterTargets",), traffic.deregister,
         "A target is draining until the deregistration delay ends, even with nothing in flight.",
         f"{ELB}/application/edit-target-group-attributes.html"),
    Rule("target health", ("elasticloadbalancing:DescribeTargetHealth",), traffic.health,
         "initial until checks pass, unhealthy where they fail, unused where no listener forwards to the group.",
         f"{ELB}/application/check-target-health.html"),
    Rule("parameter size", ("ssm:PutParameter",), stores.parameter_size,
         "A standard parameter holds 4 KB.", "https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html"),
    Rule("buckets are private and encrypted", ("s3:CreateBucket",), stores.private_bucket,
         "New buckets block public access and encrypt by default.", f"{S3}/userguide/default-encryption-faq.html"),
    Rule("reserved tags", ("ec2:CreateTags", "ec2:RunInstances", "ec2:CreateVolume"), stores.reserved_tags,
         "Keys that begin with aws: are AWS's own.", "https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html"),
)  # fmt: skip


def layers(world: World) -> list[Layer]:
    """The rules as the proxy asks them: the first in the table is the outermost."""
    return [*(_layer(world, rule) for rule in RULES), crashed]


def crashed(call: Call, proceed: Proceed) -> Answer:
    """moto itself failed: said at once, as clients would try a 500 again and again."""
    answer = proceed(call)
    if answer.status == 500 and answer.body.startswith(b"<!doctype html>"):
        return refusal(call, 400, "MotoFailed", f"moto failed at {call.service}:{call.action}, or does not have it")
    return answer


def _layer(world: World, rule: Rule) -> Layer:
    def layer(call: Call, proceed: Proceed) -> Answer:
        return rule.apply(world, call, proceed) if f"{call.service}:{call.action}" in rule.actions else proceed(call)

    return layer
