# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One EC2 Auto Scaling group, its launch template and its instance refreshes."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from ..._aws.clients import LONGEST_CALL, Account, Clients, aws_errors
from ..._aws.instances import instances_in
from ..._core.errors import FleetError, ProviderError
from ..._store.base import Store
from ..._store.keys import store_id
from .. import tags as tag_names
from ..contract import RUNNING, Evidence, LaunchRequest
from ..group import DesiredLaunch, Group, GroupMachine, GroupMember, LaunchTemplate, Refresh
from .consoles import Consoles
from .describe import STATES, evidence_of
from .group_template import content_of, has_foreign_user_data, lacks_document, launches, machine_of, version_data
from .run_instances import Scope
from .secrets import pin_secrets
from .tags import from_aws

NEWEST = 10  # refreshes to read: only the newest can be active
CREATED_BY = "immutable.infra"  # begins the description of a version


class Ec2AutoScalingGroup:
    """See ``group.AutoScalingGroup``."""

    longest_call = LONGEST_CALL

    def __init__(
        self,
        account: Account,
        group: str,
        *,
        store: Store,
        fleet: str,
        address: str = "private",
        tags: Mapping[str, str] | None = None,
        foreign: bool = False,
    ) -> None:
        """
        Args:
            group: its name.
            store: keeps the evidence that was read.
            fleet: name of the fleet that the group is.
            address: ``private`` or ``public``: at which of its addresses an instance is reached.
            tags: the target's own tags, which new versions of the launch template set.
            foreign: whether images are baked in another account.
        """
        self._clients = Clients(account)
        self._name = group
        self._fleet = fleet
        self._store = store
        self._consoles = Consoles(self._clients, store)
        self._own_tags = dict(tags or {})
        self._foreign = foreign
        self._address_key = "PublicIpAddress" if address == "public" else "PrivateIpAddress"
        self._policy: Mapping[str, Any] = {}  # the group's mixed instances policy, as last read
        self._template_ids: dict[str, str] = {}  # by the name of the launch template
        self._versions: dict[str, LaunchTemplate] = {}  # created or found, by their content
        self._data: dict[LaunchTemplate, Mapping[str, Any]] = {}  # a version never changes

    @property
    def region(self) -> str:
        return self._clients.region

    @property
    def account(self) -> str:
        return self._clients.account_id if self._foreign else ""

    @cached_property
    def _scope(self) -> Scope:
        account = self._clients.account
        return Scope(self._clients.region, store_id(self._store), account.endpoint_url, self._own_tags)

    @property
    def _scaling(self) -> Any:
        return self._clients.client("autoscaling")

    def group(self) -> Group:
        with aws_errors(doing=f"group {self._name}"):
            found = self._scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[self._name])["AutoScalingGroups"]
        if not found:
            raise FleetError(
                f"there is no Auto Scaling group {self._name!r} in {self.region} "
                "(fleet.autoscaling.group names one that exists)"
            )
        group = found[0]
        self._policy = group.get("MixedInstancesPolicy") or {}
        specification = self._specification(group)
        self._template_ids = {specification.get("LaunchTemplateName", ""): specification["LaunchTemplateId"]}
        template = self._resolve_version(specification)
        warmup = int(group.get("DefaultInstanceWarmup", -1))
        return Group(
            name=self._name,
            template=template,
            configured_version=str(specification.get("Version") or "$Default"),
            image=str(self._data_of(template).get("ImageId", "")),
            size=int(group["DesiredCapacity"]),
            warmup=warmup if warmup >= 0 else int(group.get("HealthCheckGracePeriod") or 0),
            members=tuple(_member_of(instance) for instance in group.get("Instances", ())),
        )

    def refreshes(self) -> list[Refresh]:
        with aws_errors(doing=f"group {self._name}"):
            answer = self._scaling.describe_instance_refreshes(AutoScalingGroupName=self._name, MaxRecords=NEWEST)
        found = answer["InstanceRefreshes"]
        if not self._template_ids and any(_refresh_specification(one).get("LaunchTemplateName") for one in found):
            self.group()
        return [_refresh_of(one, self._template_ids) for one in found]

    def machines(self) -> list[GroupMachine]:
        filters = [
            {"Name": "tag:aws:autoscaling:groupName", "Values": [self._name]},
            {"Name": "instance-state-name", "Values": list(STATES)},
        ]
        with aws_errors(doing=f"group {self._name}"):
            described = list(
                instances_in(self._clients.ec2.get_paginator("describe_instances").paginate(Filters=filters))
            )
        # Without a launch document an instance prints no evidence.
        sealing = [instance for instance in described if tag_names.NONCE in from_aws(instance.get("Tags", ()))]
        evidence = self._consoles.evidence(self._fleet, sealing)
        return [_machine_of(instance, self._address_key, evidence) for instance in described]

    def desired_launch(self, group: Group, image: str, name: str, request: LaunchRequest) -> DesiredLaunch:
        """A version that already launches as requested is used as it is; else one with this content, if it exists."""
        data = self._data_of(group.template)
        content = content_of(data, image, request, self._scope)
        undocumented = lacks_document(data, image, request)
        template: LaunchTemplate | None = group.template
        if not undocumented and not launches(data, image, request):
            template = self._find_version(group.template.id, content, image, request)
        return DesiredLaunch(
            image=image,
            content=content,
            request=request,
            name=name,
            source=group.template,
            template=template,
            seals=not undocumented,
            drops_user_data=template is None and has_foreign_user_data(data),
        )

    def machine(self, group: Group) -> Mapping[str, Any]:
        return machine_of(self._data_of(group.template), self._policy)

    def prove_again(self) -> None:
        self._consoles.prove_again()

    def pin_secrets(self, parameters: Sequence[str]) -> Mapping[str, str]:
        return pin_secrets(self._clients, parameters)

    def create_version(self, desired: DesiredLaunch) -> LaunchTemplate:
        source = desired.source
        with aws_errors(doing=f"launch template {source.id}"):
            answer = self._clients.ec2.create_launch_template_version(
                LaunchTemplateId=source.id,
                SourceVersion=source.version,
                VersionDescription=f"{CREATED_BY} {desired.name} {desired.content}",
                LaunchTemplateData=version_data(self._data_of(source), desired.image, desired.request, self._scope),
                ClientToken=f"immutable-{desired.content}-{source.version}",
            )
        problems = [problem.get("Message", "") for problem in (answer.get("Warning") or {}).get("Errors", ())]
        if problems:
            raise ProviderError(
                f"launch template {source.id}: AWS warns about the new version: {'; '.join(problems)}",
                code="Warning",
                operation="",
            )
        version = LaunchTemplate(source.id, str(answer["LaunchTemplateVersion"]["VersionNumber"]))
        self._versions[desired.content] = version
        return version

    def pin(self, template: LaunchTemplate) -> None:
        with aws_errors(doing=f"group {self._name}"):
            self._scaling.update_auto_scaling_group(AutoScalingGroupName=self._name, **self._configuration(template))

    def start(self, template: LaunchTemplate, preferences: Mapping[str, Any]) -> str:
        configuration = self._configuration(template)
        with aws_errors(doing=f"group {self._name}"):
            answer = self._scaling.start_instance_refresh(
                AutoScalingGroupName=self._name,
                Strategy="Rolling",
                DesiredConfiguration=configuration,
                Preferences=dict(preferences),
            )
        return str(answer["InstanceRefreshId"])

    def cancel(self) -> None:
        with aws_errors(doing=f"group {self._name}"):
            self._scaling.cancel_instance_refresh(AutoScalingGroupName=self._name)

    def roll_back(self) -> None:
        with aws_errors(doing=f"group {self._name}"):
            self._scaling.rollback_instance_refresh(AutoScalingGroupName=self._name)

    def _specification(self, group: Mapping[str, Any]) -> Mapping[str, Any]:
        """The launch template that the group names, directly or in its policy."""
        if self._policy:
            launch = self._policy["LaunchTemplate"]
            others = [
                override.get("InstanceType", "?")
                for override in launch.get("Overrides", ())
                if override.get("LaunchTemplateSpecification")
            ]
            if others:
                raise FleetError(
                    f"group {self._name}: the override of {', '.join(others)} has a launch template of its own, "
                    "whose image would not change"
                )
            others = [
                override.get("InstanceType", "?") for override in launch.get("Overrides", ()) if override.get("ImageId")
            ]
            if others:
                raise FleetError(
                    f"group {self._name}: the override of {', '.join(others)} names an image of its own, "
                    "which would not change"
                )
            return dict(launch["LaunchTemplateSpecification"])
        if not group.get("LaunchTemplate"):
            raise FleetError(
                f"group {self._name} has no launch template, so it cannot be refreshed to an image "
                "(create one from its launch configuration)"
            )
        return dict(group["LaunchTemplate"])

    def _resolve_version(self, specification: Mapping[str, Any]) -> LaunchTemplate:
        """Replace an alias by the number that it stands for now."""
        template_id, version = specification["LaunchTemplateId"], str(specification.get("Version") or "$Default")
        return LaunchTemplate(template_id, version) if version.isdecimal() else self._read_version(template_id, version)

    def _data_of(self, template: LaunchTemplate) -> Mapping[str, Any]:
        if template not in self._data:
            self._read_version(template.id, template.version)
        return self._data[template]

    def _read_version(self, template_id: str, version: str) -> LaunchTemplate:
        with aws_errors(doing=f"launch template {template_id}"):
            found = self._clients.ec2.describe_launch_template_versions(
                LaunchTemplateId=template_id, Versions=[version]
            )
        return self._remember(found["LaunchTemplateVersions"][0])

    def _remember(self, version: Mapping[str, Any]) -> LaunchTemplate:
        template = LaunchTemplate(version["LaunchTemplateId"], str(version["VersionNumber"]))
        self._data[template] = version["LaunchTemplateData"]
        return template

    def _find_version(
        self, template_id: str, content: str, image: str, request: LaunchRequest
    ) -> LaunchTemplate | None:
        if content in self._versions:
            return self._versions[content]
        with aws_errors(doing=f"launch template {template_id}"):
            pages = self._clients.ec2.get_paginator("describe_launch_template_versions").paginate(
                LaunchTemplateId=template_id
            )
            versions = [version for page in pages for version in page["LaunchTemplateVersions"]]
        matching = [
            version
            for version in versions
            if content in version.get("VersionDescription", "")
            and launches(version["LaunchTemplateData"], image, request)
        ]
        if matching:
            self._versions[content] = self._remember(max(matching, key=lambda version: int(version["VersionNumber"])))
        return self._versions.get(content)

    def _configuration(self, template: LaunchTemplate) -> dict[str, Any]:
        """The group's launch configuration with the template at this version; the rest of its policy stays."""
        if not template.version.isdecimal():
            raise FleetError(f"{template} is not a version that can be rolled back to")  # never an alias
        specification = {"LaunchTemplateId": template.id, "Version": template.version}
        if not self._policy:
            return {"LaunchTemplate": specification}
        policy = copy.deepcopy(dict(self._policy))
        policy["LaunchTemplate"]["LaunchTemplateSpecification"] = specification
        return {"MixedInstancesPolicy": policy}


def _member_of(instance: Mapping[str, Any]) -> GroupMember:
    specification = instance.get("LaunchTemplate")
    return GroupMember(
        id=instance["InstanceId"],
        state=instance["LifecycleState"],
        healthy=str(instance["HealthStatus"]).lower() == "healthy",
        template=LaunchTemplate(specification["LaunchTemplateId"], str(specification["Version"]))
        if specification
        else None,
        zone=instance.get("AvailabilityZone", ""),
        protected=bool(instance.get("ProtectedFromScaleIn")),
    )


def _refresh_of(data: Mapping[str, Any], template_ids: Mapping[Any, str]) -> Refresh:
    """``template_ids``: by name, since a refresh may name a launch template by its name."""
    specification = _refresh_specification(data)
    template = LaunchTemplate(
        specification.get("LaunchTemplateId") or template_ids.get(specification.get("LaunchTemplateName"), ""),
        specification.get("Version", "$Default"),
    )
    started, ended = data.get("StartTime"), data.get("EndTime")
    return Refresh(
        id=data["InstanceRefreshId"],
        status=data["Status"],
        reason=data.get("StatusReason", "") or (data.get("RollbackDetails") or {}).get("RollbackReason", ""),
        percent=int(data.get("PercentageComplete") or 0),
        remaining=int(data.get("InstancesToUpdate") or 0),
        template=template if specification else None,
        started=started.timestamp() if started else 0.0,
        ended=ended.timestamp() if ended else 0.0,
    )


def _refresh_specification(data: Mapping[str, Any]) -> Mapping[str, Any]:
    desired = data.get("DesiredConfiguration") or {}
    mixed = (desired.get("MixedInstancesPolicy") or {}).get("LaunchTemplate") or {}
    return desired.get("LaunchTemplate") or mixed.get("LaunchTemplateSpecification") or {}


def _machine_of(instance: Mapping[str, Any], address_key: str, evidence: Mapping[str, Evidence]) -> GroupMachine:
    tags, state = from_aws(instance.get("Tags", ())), STATES[instance["State"]["Name"]]
    return GroupMachine(
        id=instance["InstanceId"],
        image=instance.get("ImageId", ""),
        state=state,
        address=instance.get(address_key) or "",
        launched=instance["LaunchTime"].timestamp(),
        zone=instance.get("Placement", {}).get("AvailabilityZone", ""),
        tags=tags,
        evidence=evidence_of(instance, tags, evidence) if state == RUNNING and tag_names.NONCE in tags else None,
    )
