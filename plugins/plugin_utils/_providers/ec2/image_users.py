# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What refers to AMIs, and their removal, in all regions of an artifact.

Everything is looked up in bulk, region by region: launch templates with all their versions, launch configurations, the overrides of Auto Scaling
groups, instances in whatever state, parameters that tell a promoted AMI to other tools, and with which accounts an AMI is shared.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ..._aws.amis import snapshots_of
from ..._aws.batches import FILTER, PARAMETERS, batches
from ..._aws.clients import Clients, aws_errors
from ..._core.errors import ProviderError
from ..._image_model import amis_of
from .describe import ALIVE

ALIAS = "resolve:ssm:"
AWS_OWN = re.compile(
    r"(arn:[^/]+:parameter)?/aws/"
)  # names of parameters that only AWS can make, so none holds an image of ours
PUBLISHED = "/immutable/"  # below it are the parameters of promotions

Users = Iterator[tuple[str, str]]  # an AMI, and what refers to it in words


def image_users(clients: Clients, artifacts: Sequence[Mapping[str, Any]], shared: bool = True) -> list[list[str]]:
    """For each artifact all that refers to an AMI of it, in words. ``shared``: other accounts that may launch it count too."""
    wanted: dict[str, dict[str, int]] = defaultdict(dict)
    for number, artifact in enumerate(artifacts):
        for region, ami in amis_of(artifact).items():
            wanted[region][ami] = number
    found: list[list[str]] = [[] for _artifact in artifacts]
    for region, numbers in wanted.items():
        for ami, words in _users(clients.in_region(region), list(numbers), shared):
            if ami in numbers:
                found[numbers[ami]].append(f"{words} ({ami} in {region})")
    return found


def remove_image(clients: Clients, artifact: Mapping[str, Any]) -> None:
    """Deregister its AMIs, then delete their snapshots. The artifact names those, so a run that follows a killed one finds them too."""
    for region, ami in amis_of(artifact).items():
        ec2 = clients.in_region(region).ec2
        told_of = artifact if region == artifact["region"] else artifact["copies"][region]
        with aws_errors(doing=f"looking at {ami} in {region}"):
            snapshots = dict.fromkeys(
                [
                    *told_of.get("snapshots", ()),
                    *(disk for image in described(ec2, [ami]) for disk in snapshots_of(image)),
                ]
            )
        went(ec2.deregister_image, ("InvalidAMIID.NotFound", "InvalidAMIID.Unavailable"), ImageId=ami)
        for snapshot in snapshots:
            delete_snapshot(ec2, snapshot)


def delete_snapshot(ec2: Any, snapshot: str) -> bool:
    """Whether it went. One that another AMI uses stays."""
    return went(ec2.delete_snapshot, ("InvalidSnapshot.NotFound", "InvalidSnapshot.InUse"), SnapshotId=snapshot)


def described(ec2: Any, ids: Sequence[str]) -> list[Mapping[str, Any]]:
    """Those of our own AMIs that are there, with the disabled ones."""
    found = []
    for part in batches(ids, FILTER):
        chosen = [{"Name": "image-id", "Values": part}]
        for page in ec2.get_paginator("describe_images").paginate(
            Owners=["self"], Filters=chosen, IncludeDeprecated=True, IncludeDisabled=True
        ):
            found += page["Images"]
    return found


def went(remove: Callable[..., Any], ignored: Sequence[str], **which: Any) -> bool:
    """Whether ``remove`` did it. AWS's error codes ``ignored`` say that there is nothing to remove, or nothing that may go."""
    try:
        with aws_errors():
            remove(**which)
    except ProviderError as error:
        if error.code in ignored:
            return False
        raise
    return True


def _users(clients: Clients, ids: Sequence[str], shared: bool) -> Users:
    with aws_errors(doing=f"looking who uses images in {clients.region}"):
        yield from _instances(clients.ec2, ids)
        yield from _templates(clients, ids)
        yield from _auto_scaling(clients)
        yield from _published(clients)
        if shared:
            yield from _accounts(clients.ec2, ids)


def _instances(ec2: Any, ids: Sequence[str]) -> Users:
    for part in batches(ids, FILTER):
        chosen = [{"Name": "image-id", "Values": part}, {"Name": "instance-state-name", "Values": list(ALIVE)}]
        for page in ec2.get_paginator("describe_instances").paginate(Filters=chosen):
            for instance in (each for reservation in page["Reservations"] for each in reservation["Instances"]):
                yield instance["ImageId"], f"instance {instance['InstanceId']} runs it"


def _templates(clients: Clients, ids: Sequence[str]) -> Users:
    """All versions are read, since AWS's filter by AMI passes over versions that name it by a parameter of SSM."""
    ec2, aliased = clients.ec2, defaultdict(list)
    for page in ec2.get_paginator("describe_launch_templates").paginate():
        for template in page["LaunchTemplates"]:
            versions = ec2.get_paginator("describe_launch_template_versions").paginate(
                LaunchTemplateId=template["LaunchTemplateId"]
            )
            for version in (each for part in versions for each in part["LaunchTemplateVersions"]):
                named = version["LaunchTemplateData"].get("ImageId", "")
                words = f"version {version['VersionNumber']} of the launch template {template['LaunchTemplateName']} launches it"
                if named.startswith(ALIAS):
                    if AWS_OWN.match(named.removeprefix(ALIAS)):
                        continue
                    aliased[named.removeprefix(ALIAS)].append(words)
                elif named in ids:
                    yield named, words
    yield from _aliased(clients, aliased)


def _aliased(clients: Clients, words: Mapping[str, Sequence[str]]) -> Users:
    for names in batches(sorted(words), PARAMETERS):
        for found in clients.client("ssm").get_parameters(Names=names)["Parameters"]:
            for each in (word for name in _spellings(found) for word in words.get(name, ())):
                yield found["Value"], f"{each} by the parameter {found['Name']}"


def _spellings(parameter: Mapping[str, Any]) -> list[str]:
    """By which a template may name it: its name, or its ARN where another account shares it."""
    names = dict.fromkeys(parameter[key] for key in ("Name", "ARN") if parameter.get(key))
    return [name + parameter.get("Selector", "") for name in names]


def _auto_scaling(clients: Clients) -> Users:
    """Launch configurations, and AMIs that a group names beside its launch template. The templates themselves are looked at as such."""
    scaling = clients.client("autoscaling")
    for page in scaling.get_paginator("describe_launch_configurations").paginate():
        for each in page["LaunchConfigurations"]:
            yield each["ImageId"], f"the launch configuration {each['LaunchConfigurationName']} launches it"
    for page in scaling.get_paginator("describe_auto_scaling_groups").paginate():
        for group in page["AutoScalingGroups"]:
            template = group.get("MixedInstancesPolicy", {}).get("LaunchTemplate", {})
            for override in (each for each in template.get("Overrides", ()) if each.get("ImageId")):
                yield override["ImageId"], f"the Auto Scaling group {group['AutoScalingGroupName']} launches it"


def _published(clients: Clients) -> Users:
    """By a promotion: an image that was baked anew has another AMI on record until it is promoted again."""
    for page in clients.client("ssm").get_paginator("get_parameters_by_path").paginate(Path=PUBLISHED, Recursive=True):
        for parameter in page["Parameters"]:
            yield parameter["Value"], f"the parameter {parameter['Name']} names it"


def _accounts(ec2: Any, ids: Sequence[str]) -> Users:
    """The one question that AWS answers for one AMI at a time."""
    for image in described(ec2, ids):
        said = ec2.describe_image_attribute(ImageId=image["ImageId"], Attribute="launchPermission").get(
            "LaunchPermissions", ()
        )
        others = [str(value) for permission in said for value in permission.values()]
        if others:
            yield image["ImageId"], f"it is shared with {', '.join(sorted(others))}"
