# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Instance refreshes, which moto lacks, as a layer of the proxy. A script gives the status for each observation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .answers import REQUEST_ID, Answer, refusal
from .calls import Call
from .proxy import Proceed

ENDED = ("Successful", "Failed", "Cancelled", "RollbackFailed", "RollbackSuccessful")
DESIRED = "DesiredConfiguration.LaunchTemplate."


@dataclass
class Refresh:
    id: str
    template: str
    version: str
    version_before: str  # of the group
    parameters: dict[str, str]  # of the call
    script: list[str]
    status: str = "Pending"


class Refreshes:
    """The refreshes of one group. Use: ``cloud.proxy.layers.insert(0, Refreshes(cloud, "shop"))``."""

    def __init__(
        self, cloud: Any, group: str, script: tuple[str, ...] = ("InProgress", "Baking", "Successful")
    ) -> None:
        self.script = script
        self.found: list[Refresh] = []
        self._group = group
        self._cloud = cloud

    def __call__(self, call: Call, proceed: Proceed) -> Answer:
        answers = {
            "StartInstanceRefresh": self._start,
            "DescribeInstanceRefreshes": self._describe,
            "CancelInstanceRefresh": self._cancel,
            "RollbackInstanceRefresh": self._roll_back,
        }
        return answers[call.action](call) if call.service == "autoscaling" and call.action in answers else proceed(call)

    @property
    def _active(self) -> Refresh | None:
        return next((each for each in self.found if each.status not in ENDED), None)

    def _start(self, call: Call) -> Answer:
        if self._active:
            return refusal(call, 400, "InstanceRefreshInProgress", "An Instance Refresh is already in progress")
        parameters = dict(call.parameters)
        refresh = Refresh(
            id=f"r-{len(self.found)}",
            template=parameters[f"{DESIRED}LaunchTemplateId"],
            version=parameters[f"{DESIRED}Version"],
            version_before=self._described_group()["LaunchTemplate"]["Version"],
            parameters=parameters,
            script=list(self.script),
        )
        self.found.insert(0, refresh)
        return _answer(call, f"<InstanceRefreshId>{refresh.id}</InstanceRefreshId>")

    def _describe(self, call: Call) -> Answer:
        active = self._active
        if active and active.script:
            active.status = active.script.pop(0)
            if active.status == "Successful":
                self._replace(active)
        return _answer(call, f"<InstanceRefreshes>{''.join(map(self._as_xml, self.found))}</InstanceRefreshes>")

    def _as_xml(self, each: Refresh) -> str:
        template = f"<LaunchTemplateId>{each.template}</LaunchTemplateId><Version>{each.version}</Version>"
        ended = "<EndTime>2000-01-02T03:04:05Z</EndTime>" if each.status in ENDED else ""
        return (
            f"<member><InstanceRefreshId>{each.id}</InstanceRefreshId><AutoScalingGroupName>{self._group}</AutoScalingGroupName>"
            f"<Status>{each.status}</Status><StartTime>2100-01-02T03:04:05Z</StartTime><PercentageComplete>50</PercentageComplete>"
            f"{ended}<InstancesToUpdate>1</InstancesToUpdate>"
            f"<DesiredConfiguration><LaunchTemplate>{template}</LaunchTemplate></DesiredConfiguration></member>"
        )

    def _cancel(self, call: Call) -> Answer:
        return self._end(call, ["Cancelling", "Cancelled"])

    def _roll_back(self, call: Call) -> Answer:
        return self._end(call, ["RollbackInProgress", "RollbackSuccessful"])

    def _end(self, call: Call, script: list[str]) -> Answer:
        active = self._active
        if not active:
            return refusal(
                call, 400, "ActiveInstanceRefreshNotFound", "No in progress or pending Instance Refresh found"
            )
        active.script = script
        return _answer(call, f"<InstanceRefreshId>{active.id}</InstanceRefreshId>")

    def _described_group(self) -> dict[str, Any]:
        groups: Any = self._cloud.boto("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[self._group])
        return dict(groups["AutoScalingGroups"][0])

    def _replace(self, refresh: Refresh) -> None:
        scaling = self._cloud.boto("autoscaling")
        launch = {"LaunchTemplateId": refresh.template, "Version": refresh.version}
        scaling.update_auto_scaling_group(AutoScalingGroupName=self._group, LaunchTemplate=launch)
        # moto describes each instance with the template's default version, whatever it was launched from.
        self._cloud.boto("ec2").modify_launch_template(
            LaunchTemplateId=refresh.template, DefaultVersion=refresh.version
        )
        for each in self._described_group()["Instances"]:
            scaling.terminate_instance_in_auto_scaling_group(
                InstanceId=each["InstanceId"], ShouldDecrementDesiredCapacity=False
            )


def _answer(call: Call, result: str) -> Answer:
    name = call.action
    body = f"<{name}Response><{name}Result>{result}</{name}Result><RequestId>{REQUEST_ID}</RequestId></{name}Response>"
    return Answer(200, body.encode(), {"Content-Type": "text/xml", "x-amzn-RequestId": REQUEST_ID})
