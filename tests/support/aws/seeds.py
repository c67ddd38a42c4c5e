# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an account has before a test: a network, images, a load balancer, a bucket.

The proxy is not used, so these calls are not logged.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .rules_accounts import DEFAULT_KEY
from .rules_snapshots import BLOCK_SIZE
from .rules_stores import protect_bucket
from .server import REGION, Cloud


@dataclass(frozen=True)
class Network:
    vpc: str
    subnets: tuple[str, ...]
    zones: tuple[str, ...]  # of the subnets, in their order
    group: str  # security group


@dataclass(frozen=True)
class Balancer:
    arn: str
    listener: str  # ARN; it forwards to the first target group
    groups: tuple[str, ...]  # ARNs of target groups
    dns: str


def network(cloud: Cloud, zones: int = 2, region: str = "", client: Any = None) -> Network:
    """A network with room for 4,000 instances in each zone. ``client``: of another account than the tests' own."""
    ec2 = client or cloud.boto("ec2", region or REGION)
    names = [zone["ZoneName"] for zone in ec2.describe_availability_zones()["AvailabilityZones"]][:zones]
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.9.{16 * number}.0/20", AvailabilityZone=zone)["Subnet"]["SubnetId"]
        for number, zone in enumerate(names)
    ]
    group = ec2.create_security_group(GroupName="shop", Description="tests", VpcId=vpc)["GroupId"]
    return Network(vpc, tuple(subnets), tuple(names), group)


def image(cloud: Cloud, name: str, tags: dict[str, str] | None = None, region: str = "") -> str:
    """The id of a new AMI. moto creates its disk and a snapshot for it, which get the tags too."""
    ec2 = cloud.boto("ec2", region or REGION)
    machine = {"Architecture": "x86_64", "VirtualizationType": "hvm", "EnaSupport": True}
    made = ec2.register_image(Name=name, RootDeviceName="/dev/xvda", **machine)["ImageId"]
    if tags:
        disks = ec2.describe_images(ImageIds=[made])["Images"][0]["BlockDeviceMappings"]
        both = [made, *(disk["Ebs"]["SnapshotId"] for disk in disks)]
        ec2.create_tags(Resources=both, Tags=[{"Key": key, "Value": value} for key, value in tags.items()])
    return str(made)


def encrypt(cloud: Cloud, ami: str, key: str = "alias/images", region: str = "") -> str:
    """Let the image's snapshots be encrypted with a key, which is created unless it is the default one. Its ARN."""
    ec2, kms = cloud.boto("ec2", region or REGION), cloud.boto("kms", region or REGION)
    if key != DEFAULT_KEY:
        made = kms.create_key()["KeyMetadata"]["KeyId"]
        kms.create_alias(AliasName=key, TargetKeyId=made)
    found = str(kms.describe_key(KeyId=key)["KeyMetadata"]["Arn"])
    for disk in ec2.describe_images(ImageIds=[ami])["Images"][0]["BlockDeviceMappings"]:
        cloud.world.keys[disk["Ebs"]["SnapshotId"]] = found
    return found


def snapshot(cloud: Cloud, disk: Path, region: str = "") -> str:
    """The id of a new snapshot with the data of a raw disk."""
    ebs = cloud.boto("ebs", region or REGION)
    made = str(ebs.start_snapshot(VolumeSize=-(-disk.stat().st_size // 1024**3))["SnapshotId"])
    with disk.open("rb") as file:
        for index, data in enumerate(iter(lambda: file.read(BLOCK_SIZE), b"")):
            if not data.strip(b"\0"):
                continue
            data = data.ljust(BLOCK_SIZE, b"\0")
            checksum = base64.b64encode(hashlib.sha256(data).digest()).decode("ascii")
            ebs.put_snapshot_block(
                SnapshotId=made,
                BlockIndex=index,
                BlockData=data,
                DataLength=BLOCK_SIZE,
                Checksum=checksum,
                ChecksumAlgorithm="SHA256",
            )
    ebs.complete_snapshot(SnapshotId=made, ChangedBlocksCount=0)
    return made


def balancer(
    cloud: Cloud,
    where: Network,
    groups: int = 1,
    name: str = "shop",
    port: int = 8080,
    kind: str = "application",
    delay: int = 2,
    **checks: object,
) -> Balancer:
    """A load balancer, ``application`` or ``network``. Its target groups have this deregistration delay in seconds."""
    elb, network = cloud.boto("elbv2"), kind == "network"
    protocol = "TCP" if network else "HTTP"
    common = {"Protocol": protocol, "Port": port, "VpcId": where.vpc, "TargetType": "instance"}
    common |= {} if network else {"HealthCheckPath": "/healthz"}
    arns = [
        elb.create_target_group(Name=f"{name}-{number}", **{**common, **checks})["TargetGroups"][0]["TargetGroupArn"]
        for number in range(groups)
    ]
    for arn in arns:
        value = {"Key": "deregistration_delay.timeout_seconds", "Value": str(delay)}
        elb.modify_target_group_attributes(TargetGroupArn=arn, Attributes=[value])
    made = elb.create_load_balancer(Name=name, Subnets=list(where.subnets), Type=kind, Scheme="internal")[
        "LoadBalancers"
    ][0]
    forward = {
        "Type": "forward",
        "ForwardConfig": {
            "TargetGroups": [{"TargetGroupArn": arn, "Weight": 0 if i else 1} for i, arn in enumerate(arns)]
        },
    }
    listener = elb.create_listener(
        LoadBalancerArn=made["LoadBalancerArn"], Protocol=protocol, Port=80, DefaultActions=[forward]
    )
    return Balancer(made["LoadBalancerArn"], listener["Listeners"][0]["ListenerArn"], tuple(arns), made["DNSName"])


def bucket(cloud: Cloud, name: str = "immutable-records") -> str:
    cloud.boto("s3").create_bucket(
        Bucket=name, CreateBucketConfiguration={"LocationConstraint": cloud.boto("s3").meta.region_name}
    )
    protect_bucket(cloud.boto("s3"), name)
    return name


def template(cloud: Cloud, ami: str, where: Network, name: str = "shop") -> str:
    """The id of a launch template with one version."""
    data = {"ImageId": ami, "InstanceType": "t3.micro", "SecurityGroupIds": [where.group]}
    return str(
        cloud.boto("ec2").create_launch_template(LaunchTemplateName=name, LaunchTemplateData=data)["LaunchTemplate"][
            "LaunchTemplateId"
        ]
    )
