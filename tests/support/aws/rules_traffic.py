# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Target groups: registration, checks and draining as a load balancer shows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .answers import Answer, refusal
from .calls import Call
from .documents import Document, Element
from .proxy import Proceed
from .world import World

DELAY = "deregistration_delay.timeout_seconds"
LIST = "DescribeTargetHealthResult/TargetHealthDescriptions"
WORDS = {
    "initial": ("Elb.RegistrationInProgress", "Target registration is in progress"),
    "unhealthy": ("Target.FailedHealthChecks", "Health checks failed"),
    "draining": ("Target.DeregistrationInProgress", "Target deregistration is in progress"),
    "unused": ("Target.NotInUse", "Target group is not configured to receive traffic from the load balancer"),
}


def _targets(call: Call) -> list[tuple[str, str]]:
    """Id and port ("" where none is said) of each target named."""
    told = call.parameters
    numbers = [name.split(".")[2] for name in told if name.startswith("Targets.member.") and name.endswith(".Id")]
    return [(told[f"Targets.member.{number}.Id"], told.get(f"Targets.member.{number}.Port", "")) for number in numbers]


def _port(world: World, call: Call) -> str:
    group = call.parameters["TargetGroupArn"]
    return str(
        world.boto("elbv2", call.region).describe_target_groups(TargetGroupArns=[group])["TargetGroups"][0]["Port"]
    )


def register(world: World, call: Call, proceed: Proceed) -> Answer:
    group, targets = call.parameters["TargetGroupArn"], _targets(call)
    known = world.instances(call.region, [one for one, _port_told in targets])
    for one, _port_told in targets:
        state = known[one]["State"]["Name"] if one in known else ""
        if one.startswith("i-") and state != "running":
            why = f"are not in a running state and cannot be registered: '{one}'" if state else f"'{one}' do not exist"
            return refusal(call, 400, "InvalidTarget", f"The following targets {why}")
    answer = proceed(call)
    if answer.ok:
        usual = _port(world, call)
        for one, port in targets:
            port = port or usual
            if world.draining.pop((group, one, port), 0.0) or ("registered", f"{group} {one}") not in world.since:
                world.began("registered", f"{group} {one}")
    return answer


def deregister(world: World, call: Call, proceed: Proceed) -> Answer:
    group = call.parameters["TargetGroupArn"]
    elb = world.boto("elbv2", call.region)
    here = {
        (each["Target"]["Id"], str(each["Target"]["Port"]))
        for each in elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
    }
    attributes = {
        each["Key"]: each["Value"] for each in elb.describe_target_group_attributes(TargetGroupArn=group)["Attributes"]
    }
    answer = proceed(call)
    if answer.ok:
        ends = world.settings.now() + float(attributes.get(DELAY, 300)) * world.settings.drain
        for one, port in _targets(call):
            gone = [target for target in here if target[0] == one and port in ("", target[1])]
            for _one, at in gone:
                world.draining[group, one, at] = ends
                world.since.pop(("registered", f"{group} {one}"), None)
    return answer


def health(world: World, call: Call, proceed: Proceed) -> Answer:
    answer = proceed(call)
    if not answer.ok:
        return answer
    group, document = call.parameters["TargetGroupArn"], Document(answer)
    drains = {
        (one, port)
        for (arn, one, port), ends in list(world.draining.items())
        if arn == group and ends > world.settings.now()
    }
    used = bool(
        world.boto("elbv2", call.region).describe_target_groups(TargetGroupArns=[group])["TargetGroups"][0][
            "LoadBalancerArns"
        ]
    )
    members, shown = document.every(f"{LIST}/member"), set()
    ids = [document.text("Target/Id", item) for item in members]
    known = (
        world.instances(call.region, ids) if world.settings.dead or world.ending.keys() & set(ids) else {}
    )  # moto takes its time over a look
    for item in members:
        one, port = document.text("Target/Id", item), document.text("Target/Port", item)
        shown.add((one, port))
        if document.text("TargetHealth/State", item) == "healthy":
            _say(document, item, _state(world, known.get(one, {}), group, one, used))
        elif (one, port) in drains:
            _say(document, item, "draining")
    if not call.parameters.get("Targets.member.1.Id"):
        for one, port in sorted(drains - shown):
            _drained(document, one, port)
    return document.done()


def _state(world: World, instance: Mapping[str, Any], group: str, one: str, used: bool) -> str:
    if not used:
        return "unused"
    if world.within("registered", f"{group} {one}", world.settings.health):
        return "initial"
    fails = world.settings.dead & {instance.get("ImageId", ""), "*"} or not world.settings.healthy(one, group)
    down = instance and instance["State"]["Name"] != "running"
    return "unhealthy" if fails or down else "healthy"


def _say(document: Document, item: Element, state: str) -> None:
    document.put("TargetHealth/State", state, item)
    if state in WORDS:
        for name, value in zip(("Reason", "Description"), WORDS[state], strict=True):
            document.put(f"TargetHealth/{name}", value, item)


def _drained(document: Document, one: str, port: str) -> None:
    found = document.every(LIST)
    if not found:
        return
    document.put("added/Target/Id", one, found[0])
    item = document.every("added", found[0])[0]
    item.tag = item.tag.replace("added", "member")
    document.put("Target/Port", port, item)
    document.put("HealthCheckPort", "traffic-port", item)
    _say(document, item, "draining")
