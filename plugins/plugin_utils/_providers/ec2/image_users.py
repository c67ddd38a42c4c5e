# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What refers to AMIs, and their removal, in all regions of an artifact.

Everything is read in bulk, region by region: launch templates with all their versions, launch configurations, overrides
of Auto Scaling groups, instances in any state, the parameters of promoted AMIs, and the accounts that an AMI is shared
with.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from ..._aws.amis import snapshots_of
from ..._aws.batches import MAX_FILTER_VALUES, MAX_PARAMETERS, batches
from ..._aws.clients import Clients, aws_errors
from ..._aws.instances import instances_in
from ..._core.errors import ProviderError
from ..._image_model import amis_of
from .describe import ALIVE
from .tags import STORE_KEY

ALIAS = "resolve:ssm:"
# Names of parameters that only AWS can create, so none of them contains an image of this project.
AWS_OWN = re.compile(r"(arn:[^/]+:parameter)?/aws/")
PUBLISHED = "/immutable/"  # prefix of the parameters of promoted images

Users = Iterator[tuple[str, str]]  # AMIs, each with a description of what refers to it


def image_users(
    clients: Clients,
    artifacts: Sequence[Mapping[str, Any]],
    shared: bool = True,
    *,
    looked_into: Mapping[str, Collection[str]] | None = None,
) -> list[list[str]]:
    """For each artifact descriptions of everything that refers to one of its AMIs. Raises ProviderError.

    Args:
        shared: other accounts that may launch it count, too.
        looked_into: other accounts whose own users of the AMIs are known, so they do not count: regions by ID.
    """
    by_region: dict[str, dict[str, int]] = defaultdict(dict)
    for number, artifact in enumerate(artifacts):
        for region, ami in amis_of(artifact).items():
            by_region[region][ami] = number
    found: list[list[str]] = [[] for _artifact in artifacts]
    for region, numbers in by_region.items():
        known = [account for account, regions in (looked_into or {}).items() if region in regions]
        for ami, description in _users(clients.in_region(region), list(numbers), shared, known):
            if ami in numbers:
                found[numbers[ami]].append(f"{description} ({ami} in {region})")
    return found


def foreign_amis(clients: Clients, artifacts: Sequence[Mapping[str, Any]], store: str) -> list[list[str]]:
    """For each artifact a description of each of its AMIs that exists without the store's tag. Raises ProviderError."""
    by_region: dict[str, dict[str, None]] = defaultdict(dict)
    for artifact in artifacts:
        for region, ami in amis_of(artifact).items():
            by_region[region][ami] = None
    foreign: set[tuple[str, str]] = set()
    for region, amis in by_region.items():
        with aws_errors(doing=f"reading AMIs in {region}"):
            images = own_images(clients.in_region(region).ec2, list(amis))
        foreign |= {(region, image["ImageId"]) for image in images if not _carries(image, store)}
    return [
        [
            f"{ami} in {region} does not carry the tag {STORE_KEY} of this store"
            for region, ami in amis_of(artifact).items()
            if (region, ami) in foreign
        ]
        for artifact in artifacts
    ]


def remove_image(clients: Clients, artifact: Mapping[str, Any], store: str) -> None:
    """Deregister its AMIs, then delete their snapshots. Raises ProviderError.

    The artifact names the snapshots, so the next run also finds those that a killed run left. A record may name
    anything: an AMI without the store's tag stays with its snapshots, and so does a snapshot without that tag.
    """
    for region, ami in amis_of(artifact).items():
        ec2 = clients.in_region(region).ec2
        recorded = (artifact if region == artifact["region"] else artifact["copies"][region]).get("snapshots", ())
        with aws_errors(doing=f"reading {ami} in {region}"):
            images = own_images(ec2, [ami])
            if not all(_carries(image, store) for image in images):
                raise ProviderError(
                    f"{ami} in {region} does not carry the tag {STORE_KEY} of this store, so it is not removed"
                )
            present = [snapshot for image in images for snapshot in snapshots_of(image)]
            own = _tagged_snapshots(ec2, [str(snapshot) for snapshot in dict.fromkeys([*recorded, *present])], store)
        if images:
            removed(ec2.deregister_image, ("InvalidAMIID.NotFound", "InvalidAMIID.Unavailable"), ImageId=ami)
        for snapshot in own:
            delete_snapshot(ec2, snapshot)


def _carries(described: Mapping[str, Any], store: str) -> bool:
    return bool(store) and {"Key": STORE_KEY, "Value": store} in described.get("Tags", ())


def _tagged_snapshots(ec2: Any, ids: Sequence[str], store: str) -> list[str]:
    """The existing ones of these snapshots that carry the store's tag."""
    found = []
    for part in batches(ids, MAX_FILTER_VALUES):
        filters = [{"Name": "snapshot-id", "Values": part}, {"Name": f"tag:{STORE_KEY}", "Values": [store]}]
        for page in ec2.get_paginator("describe_snapshots").paginate(OwnerIds=["self"], Filters=filters):
            found += [str(snapshot["SnapshotId"]) for snapshot in page["Snapshots"]]
    return found


def delete_snapshot(ec2: Any, snapshot: str) -> bool:
    """Whether it is removed now. A snapshot that another AMI uses stays."""
    return removed(ec2.delete_snapshot, ("InvalidSnapshot.NotFound", "InvalidSnapshot.InUse"), SnapshotId=snapshot)


def own_images(ec2: Any, ids: Sequence[str]) -> list[Mapping[str, Any]]:
    """The existing ones of these AMIs that the account owns, including disabled ones."""
    found = []
    for part in batches(ids, MAX_FILTER_VALUES):
        chosen = [{"Name": "image-id", "Values": part}]
        for page in ec2.get_paginator("describe_images").paginate(
            Owners=["self"], Filters=chosen, IncludeDeprecated=True, IncludeDisabled=True
        ):
            found += page["Images"]
    return found


def removed(remove: Callable[..., Any], ignored: Sequence[str], **parameters: Any) -> bool:
    """Call ``remove`` and return whether it removed something.

    Args:
        ignored: AWS's error codes that say that there is nothing to remove, or that it is in use.
    """
    try:
        with aws_errors():
            remove(**parameters)
    except ProviderError as error:
        if error.code in ignored:
            return False
        raise
    return True


def _users(clients: Clients, ids: Sequence[str], shared: bool, looked_into: Collection[str]) -> Users:
    with aws_errors(doing=f"searching {clients.region} for users of images"):
        yield from _instances(clients.ec2, ids)
        yield from _templates(clients, ids)
        yield from _auto_scaling(clients)
        yield from _published(clients)
        if shared:
            yield from _accounts(clients.ec2, ids, looked_into)


def _instances(ec2: Any, ids: Sequence[str]) -> Users:
    for part in batches(ids, MAX_FILTER_VALUES):
        chosen = [{"Name": "image-id", "Values": part}, {"Name": "instance-state-name", "Values": list(ALIVE)}]
        for instance in instances_in(ec2.get_paginator("describe_instances").paginate(Filters=chosen)):
            yield instance["ImageId"], f"instance {instance['InstanceId']} runs it"


def _templates(clients: Clients, ids: Sequence[str]) -> Users:
    """Launch templates, directly or by an SSM parameter."""
    by_parameter: dict[str, list[str]] = defaultdict(list)
    for template_name, version in _template_versions(clients.ec2):
        image = version["LaunchTemplateData"].get("ImageId", "")
        description = f"version {version['VersionNumber']} of the launch template {template_name} launches it"
        if image.startswith(ALIAS):
            parameter = image.removeprefix(ALIAS)
            if not AWS_OWN.match(parameter):
                by_parameter[parameter].append(description)
        elif image in ids:
            yield image, description
    yield from _by_parameter(clients, by_parameter)


def _template_versions(ec2: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """All versions of all launch templates: AWS's filter by AMI misses versions that name it by an SSM parameter."""
    for page in ec2.get_paginator("describe_launch_templates").paginate():
        for template in page["LaunchTemplates"]:
            for part in ec2.get_paginator("describe_launch_template_versions").paginate(
                LaunchTemplateId=template["LaunchTemplateId"]
            ):
                for version in part["LaunchTemplateVersions"]:
                    yield template["LaunchTemplateName"], version


def _by_parameter(clients: Clients, descriptions: Mapping[str, Sequence[str]]) -> Users:
    """``descriptions``: by the parameter as a template names it."""
    for names in batches(sorted(descriptions), MAX_PARAMETERS):
        for parameter in clients.client("ssm").get_parameters(Names=names)["Parameters"]:
            for name in _references(parameter):
                for description in descriptions.get(name, ()):
                    yield parameter["Value"], f"{description} by the parameter {parameter['Name']}"


def _references(parameter: Mapping[str, Any]) -> list[str]:
    """How a template may name a parameter: by its name, or by its ARN if another account shares it."""
    names = dict.fromkeys(parameter[key] for key in ("Name", "ARN") if parameter.get(key))
    return [name + parameter.get("Selector", "") for name in names]


def _auto_scaling(clients: Clients) -> Users:
    """Launch configurations, and AMIs in the overrides of groups. Launch templates are found by ``_templates``."""
    scaling = clients.client("autoscaling")
    for page in scaling.get_paginator("describe_launch_configurations").paginate():
        for configuration in page["LaunchConfigurations"]:
            name = configuration["LaunchConfigurationName"]
            yield configuration["ImageId"], f"the launch configuration {name} launches it"
    for page in scaling.get_paginator("describe_auto_scaling_groups").paginate():
        for group in page["AutoScalingGroups"]:
            template = group.get("MixedInstancesPolicy", {}).get("LaunchTemplate", {})
            for override in template.get("Overrides", ()):
                if override.get("ImageId"):
                    yield override["ImageId"], f"the Auto Scaling group {group['AutoScalingGroupName']} launches it"


def _published(clients: Clients) -> Users:
    """Parameters of promoted images. If an image was baked again, its parameter may still name the former AMI."""
    for page in clients.client("ssm").get_paginator("get_parameters_by_path").paginate(Path=PUBLISHED, Recursive=True):
        for parameter in page["Parameters"]:
            yield parameter["Value"], f"the parameter {parameter['Name']} names it"


def _accounts(ec2: Any, ids: Sequence[str], looked_into: Collection[str]) -> Users:
    """Accounts that an AMI is shared with. AWS answers this only for one AMI at a time."""
    for image in own_images(ec2, ids):
        answer = ec2.describe_image_attribute(ImageId=image["ImageId"], Attribute="launchPermission")
        others = [str(value) for permission in answer.get("LaunchPermissions", ()) for value in permission.values()]
        others = [other for other in others if other not in looked_into]
        if others:
            yield image["ImageId"], f"it is shared with {', '.join(sorted(others))}"
