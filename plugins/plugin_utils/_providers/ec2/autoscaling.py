# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One group of EC2 Auto Scaling, its launch template and its instance refreshes, over the API."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..._aws.clients import LONGEST_CALL, Account, Clients, aws_errors
from ..._aws.tags import key_of
from ..._core.errors import FleetError, ProviderError
from ..group import DesiredLaunch, Group, GroupMachine, GroupMember, LaunchTemplate, Refresh
from .describe import STATES

NEWEST = 10  # refreshes that a look asks for: only the newest can be active
MADE_BY = "immutable.infra"


class Ec2AutoScalingGroup:
    """See ``providers.handover.AutoScaling``."""

    longest_call = LONGEST_CALL

    def __init__(self, account: Account, group: str, address: str = "private") -> None:
        """``address``: private or public, by which of its addresses an instance is reached."""
        self._clients = Clients(account)
        self._name = group
        self._address = "PublicIpAddress" if address == "public" else "PrivateIpAddress"
        self._policy: Mapping[str, Any] = {}  # the group's mixed instances policy, as last seen
        self._ids: dict[str, str] = {}  # of launch templates, by name
        self._versions: dict[str, LaunchTemplate] = {}  # made or found, by their content
        self._data: dict[LaunchTemplate, Mapping[str, Any]] = {}  # of launch template versions, which never change

    @property
    def region(self) -> str:
        return self._clients.region

    @property
    def _scaling(self) -> Any:
        return self._clients.client("autoscaling")

    def group(self) -> Group:
        with aws_errors(doing=f"group {self._name}"):
            found = self._scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[self._name])["AutoScalingGroups"]
        if not found:
            raise FleetError(
                f"there is no Auto Scaling group {self._name!r} in {self.region} (fleet.autoscaling.group names one that exists)"
            )
        group = found[0]
        self._policy = group.get("MixedInstancesPolicy") or {}
        named = self._named(group)
        self._ids = {named.get("LaunchTemplateName", ""): named["LaunchTemplateId"]}
        template = self._resolved(named)
        warmup = int(group.get("DefaultInstanceWarmup", -1))
        return Group(
            name=self._name,
            template=template,
            named=str(named.get("Version") or "$Default"),
            image=str(self._data_of(template).get("ImageId", "")),
            size=int(group["DesiredCapacity"]),
            warmup=warmup if warmup >= 0 else int(group.get("HealthCheckGracePeriod") or 0),
            members=tuple(_member(each) for each in group.get("Instances", ())),
        )

    def _named(self, group: Mapping[str, Any]) -> Mapping[str, Any]:
        """The launch template that the group names, plainly or in its policy."""
        if self._policy:
            launch = self._policy["LaunchTemplate"]
            others = [
                each.get("InstanceType", "?")
                for each in launch.get("Overrides", ())
                if each.get("LaunchTemplateSpecification")
            ]
            if others:
                raise FleetError(
                    f"group {self._name}: the override of {', '.join(others)} has a launch template of its own, whose image would stay as it is"
                )
            others = [each.get("InstanceType", "?") for each in launch.get("Overrides", ()) if each.get("ImageId")]
            if others:
                raise FleetError(
                    f"group {self._name}: the override of {', '.join(others)} names an image of its own, which would stay as it is"
                )
            return dict(launch["LaunchTemplateSpecification"])
        if not group.get("LaunchTemplate"):
            raise FleetError(
                f"group {self._name} has no launch template, so it cannot be refreshed to an image (make one of its launch configuration)"
            )
        return dict(group["LaunchTemplate"])

    def _resolved(self, named: Mapping[str, Any]) -> LaunchTemplate:
        """With the number that an alias stands for now."""
        version = str(named.get("Version") or "$Default")
        if version.isdecimal():
            return LaunchTemplate(named["LaunchTemplateId"], version)
        with aws_errors(doing=f"launch template {named['LaunchTemplateId']}"):
            found = self._clients.ec2.describe_launch_template_versions(
                LaunchTemplateId=named["LaunchTemplateId"], Versions=[version]
            )
        return self._learn(found["LaunchTemplateVersions"][0])

    def _learn(self, version: Mapping[str, Any]) -> LaunchTemplate:
        template = LaunchTemplate(version["LaunchTemplateId"], str(version["VersionNumber"]))
        self._data[template] = version["LaunchTemplateData"]
        return template

    def _data_of(self, template: LaunchTemplate) -> Mapping[str, Any]:
        if template not in self._data:
            with aws_errors(doing=f"launch template {template.id}"):
                found = self._clients.ec2.describe_launch_template_versions(
                    LaunchTemplateId=template.id, Versions=[template.version]
                )
            self._learn(found["LaunchTemplateVersions"][0])
        return self._data[template]

    def refreshes(self) -> list[Refresh]:
        with aws_errors(doing=f"group {self._name}"):
            found = self._scaling.describe_instance_refreshes(AutoScalingGroupName=self._name, MaxRecords=NEWEST)
        if not self._ids and any(
            _named_by_refresh(each).get("LaunchTemplateName") for each in found["InstanceRefreshes"]
        ):
            self.group()
        return [_refresh(each, self._ids) for each in found["InstanceRefreshes"]]

    def machines(self) -> list[GroupMachine]:
        filters = [
            {"Name": "tag:aws:autoscaling:groupName", "Values": [self._name]},
            {"Name": "instance-state-name", "Values": list(STATES)},
        ]
        with aws_errors(doing=f"group {self._name}"):
            pages = list(self._clients.ec2.get_paginator("describe_instances").paginate(Filters=filters))
        return [
            _machine(each, self._address)
            for page in pages
            for reservation in page["Reservations"]
            for each in reservation["Instances"]
        ]

    def wanted(self, group: Group, image: str, name: str, tags: Mapping[str, str]) -> DesiredLaunch:
        """A version that launches the image already is wanted as it is; else one that was made of this very content, if there is one."""
        merged = _merged(self._data_of(group.template), image, tags)
        content = hashlib.sha256(json.dumps(merged, sort_keys=True, default=str).encode()).hexdigest()[:32]
        made = group.template if group.image == image else self._made(group.template.id, image, content)
        return DesiredLaunch(image, content, dict(tags), name, group.template, made)

    def _made(self, template_id: str, image: str, content: str) -> LaunchTemplate | None:
        if content in self._versions:
            return self._versions[content]
        with aws_errors(doing=f"launch template {template_id}"):
            pages = self._clients.ec2.get_paginator("describe_launch_template_versions").paginate(
                LaunchTemplateId=template_id
            )
            found = [each for page in pages for each in page["LaunchTemplateVersions"]]
        ours = [
            each
            for each in found
            if content in each.get("VersionDescription", "") and each["LaunchTemplateData"].get("ImageId") == image
        ]
        if ours:
            self._versions[content] = self._learn(max(ours, key=lambda each: int(each["VersionNumber"])))
        return self._versions.get(content)

    def make(self, wanted: DesiredLaunch) -> LaunchTemplate:
        with aws_errors(doing=f"launch template {wanted.source.id}"):
            made = self._clients.ec2.create_launch_template_version(
                LaunchTemplateId=wanted.source.id,
                SourceVersion=wanted.source.version,
                VersionDescription=f"{MADE_BY} {wanted.name} {wanted.content}",
                LaunchTemplateData={
                    "ImageId": wanted.image,
                    "TagSpecifications": _tagged(self._data_of(wanted.source), wanted.tags),
                },
                ClientToken=f"immutable-{wanted.content}-{wanted.source.version}",
            )
        problems = [each.get("Message", "") for each in (made.get("Warning") or {}).get("Errors", ())]
        if problems:
            raise ProviderError(
                f"launch template {wanted.source.id}: AWS doubts the new version: {'; '.join(problems)}",
                code="Warning",
                operation="",
            )
        self._versions[wanted.content] = LaunchTemplate(
            wanted.source.id, str(made["LaunchTemplateVersion"]["VersionNumber"])
        )
        return self._versions[wanted.content]

    def pin(self, template: LaunchTemplate) -> None:
        with aws_errors(doing=f"group {self._name}"):
            self._scaling.update_auto_scaling_group(AutoScalingGroupName=self._name, **self._launching(template))

    def start(self, template: LaunchTemplate, preferences: Mapping[str, Any]) -> str:
        desired = self._launching(template)
        with aws_errors(doing=f"group {self._name}"):
            begun = self._scaling.start_instance_refresh(
                AutoScalingGroupName=self._name,
                Strategy="Rolling",
                DesiredConfiguration=desired,
                Preferences=dict(preferences),
            )
        return str(begun["InstanceRefreshId"])

    def cancel(self) -> None:
        with aws_errors(doing=f"group {self._name}"):
            self._scaling.cancel_instance_refresh(AutoScalingGroupName=self._name)

    def roll_back(self) -> None:
        with aws_errors(doing=f"group {self._name}"):
            self._scaling.rollback_instance_refresh(AutoScalingGroupName=self._name)

    def _launching(self, template: LaunchTemplate) -> dict[str, Any]:
        """A configuration with the template at this very version, whatever else the group's policy says kept."""
        if not template.version.isdecimal():
            raise FleetError(f"{template} is no version that can be gone back to")  # never an alias
        plain = {"LaunchTemplateId": template.id, "Version": template.version}
        if not self._policy:
            return {"LaunchTemplate": plain}
        policy = copy.deepcopy(dict(self._policy))
        policy["LaunchTemplate"]["LaunchTemplateSpecification"] = plain
        return {"MixedInstancesPolicy": policy}


def _member(data: Mapping[str, Any]) -> GroupMember:
    named = data.get("LaunchTemplate")
    return GroupMember(
        id=data["InstanceId"],
        state=data["LifecycleState"],
        healthy=str(data["HealthStatus"]).lower() == "healthy",
        template=LaunchTemplate(named["LaunchTemplateId"], str(named["Version"])) if named else None,
        zone=data.get("AvailabilityZone", ""),
        protected=bool(data.get("ProtectedFromScaleIn")),
    )


def _refresh(data: Mapping[str, Any], ids: Mapping[Any, str]) -> Refresh:
    """``ids``: of launch templates that a refresh may name by their names."""
    named = _named_by_refresh(data)
    begun, ended = data.get("StartTime"), data.get("EndTime")
    return Refresh(
        id=data["InstanceRefreshId"],
        status=data["Status"],
        reason=data.get("StatusReason", "") or (data.get("RollbackDetails") or {}).get("RollbackReason", ""),
        percent=int(data.get("PercentageComplete") or 0),
        left=int(data.get("InstancesToUpdate") or 0),
        template=LaunchTemplate(
            named.get("LaunchTemplateId") or ids.get(named.get("LaunchTemplateName"), ""),
            named.get("Version", "$Default"),
        )
        if named
        else None,
        started=begun.timestamp() if begun else 0.0,
        ended=ended.timestamp() if ended else 0.0,
    )


def _named_by_refresh(data: Mapping[str, Any]) -> Mapping[str, Any]:
    desired = data.get("DesiredConfiguration") or {}
    mixed = (desired.get("MixedInstancesPolicy") or {}).get("LaunchTemplate") or {}
    return desired.get("LaunchTemplate") or mixed.get("LaunchTemplateSpecification") or {}


def _machine(data: Mapping[str, Any], address: str) -> GroupMachine:
    return GroupMachine(
        id=data["InstanceId"],
        image=data.get("ImageId", ""),
        state=STATES[data["State"]["Name"]],
        address=data.get(address) or "",
        launched=data["LaunchTime"].timestamp(),
        zone=data.get("Placement", {}).get("AvailabilityZone", ""),
        tags={each["Key"]: each["Value"] for each in data.get("Tags", ())},
    )


def _merged(data: Mapping[str, Any], image: str, tags: Mapping[str, str]) -> dict[str, Any]:
    return {**data, "ImageId": image, "TagSpecifications": _tagged(data, tags)}


def _tagged(data: Mapping[str, Any], tags: Mapping[str, str]) -> list[dict[str, Any]]:
    """The tags of a version, given as a whole: its own remain, and instances and volumes get ``tags`` in addition."""
    specifications: dict[str, dict[str, str]] = {"instance": {}, "volume": {}}
    for kind, key, value in _tags_of(data.get("TagSpecifications", ())):
        specifications.setdefault(kind, {})[key] = value
    for kind in ("instance", "volume"):
        specifications[kind].update({key_of(name): text for name, text in tags.items()})
    return [
        {"ResourceType": kind, "Tags": [{"Key": key, "Value": given[key]} for key in sorted(given)]}
        for kind, given in sorted(specifications.items())
    ]


def _tags_of(specifications: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, str]]:
    for each in specifications:
        for tag in each.get("Tags", ()):
            yield each["ResourceType"], tag["Key"], tag["Value"]
