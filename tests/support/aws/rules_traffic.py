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
REASONS = {
    "initial": ("Elb.RegistrationInProgress", "Target registration is in progress"),
    "unhealthy": ("Target.FailedHealthChecks", "Health checks failed"),
    "draining": ("Target.DeregistrationInProgress", "Target deregistration is in progress"),
    "unused": ("Target.NotInUse", "Target group is not configured to receive traffic from the load balancer"),
}


def _targets(call: Call) -> list[tuple[str, str]]:
    """Id and port ("" if none is given) of each target in the call."""
    parameters = call.parameters
    numbers = [name.split(".")[2] for name in parameters if name.startswith("Targets.member.") and name.endswith(".Id")]
    return [
        (parameters[f"Targets.member.{number}.Id"], parameters.get(f"Targets.member.{number}.Port", ""))
        for number in numbers
    ]


def _group_port(world: World, call: Call) -> str:
    group = call.parameters["TargetGroupArn"]
    return str(
        world.boto("elbv2", call.region).describe_target_groups(TargetGroupArns=[group])["TargetGroups"][0]["Port"]
    )


def register(world: World, call: Call, proceed: Proceed) -> Answer:
    group, targets = call.parameters["TargetGroupArn"], _targets(call)
    known = world.instances(call.region, [one for one, _port in targets])
    for one, _port in targets:
        state = known[one]["State"]["Name"] if one in known else ""
        if one.startswith("i-") and state != "running":
            reason = (
                f"are not in a running state and cannot be registered: '{one}'" if state else f"'{one}' do not exist"
            )
            return refusal(call, 400, "InvalidTarget", f"The following targets {reason}")
    answer = proceed(call)
    if answer.ok:
        default_port = _group_port(world, call)
        for one, port in targets:
            port = port or default_port
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
            registered = [target for target in here if target[0] == one and port in ("", target[1])]
            for _one, at in registered:
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
    members, shown = document.find_all(f"{LIST}/member"), set()
    ids = [document.text("Target/Id", item) for item in members]
    known = (
        world.instances(call.region, ids) if world.settings.dead or world.ending.keys() & set(ids) else {}
    )  # describing instances is slow in moto
    for item in members:
        one, port = document.text("Target/Id", item), document.text("Target/Port", item)
        shown.add((one, port))
        if document.text("TargetHealth/State", item) == "healthy":
            _set_state(document, item, _state(world, known.get(one, {}), group=group, one=one, used=used))
        elif (one, port) in drains:
            _set_state(document, item, "draining")
    if not call.parameters.get("Targets.member.1.Id"):
        for one, port in sorted(drains - shown):
            _add_draining(document, one, port)
    return document.to_answer()


def network_registration(world: World, call: Call, proceed: Proceed) -> Answer:
    """Show targets of a Network Load Balancer as initial until they are registered, before any check."""
    answer, group = proceed(call), call.parameters["TargetGroupArn"]
    if not answer.ok or not world.settings.registration or not _is_network(world, call.region, group):
        return answer
    document = Document(answer)
    for item in document.find_all(f"{LIST}/member"):
        one = document.text("Target/Id", item)
        checked = document.text("TargetHealth/State", item) in ("healthy", "unhealthy")
        if checked and world.within("registered", f"{group} {one}", world.settings.registration):
            _set_state(document, item, "initial")
    return document.to_answer()


def _is_network(world: World, region: str, group: str) -> bool:
    elb = world.boto("elbv2", region)
    balancers = elb.describe_target_groups(TargetGroupArns=[group])["TargetGroups"][0]["LoadBalancerArns"]
    found = elb.describe_load_balancers(LoadBalancerArns=balancers)["LoadBalancers"] if balancers else []
    return any(each["Type"] == "network" for each in found)


def _state(world: World, instance: Mapping[str, Any], group: str, one: str, used: bool) -> str:
    if not used:
        return "unused"
    if world.within("registered", f"{group} {one}", world.settings.health):
        return "initial"
    fails = world.settings.dead & {instance.get("ImageId", ""), "*"} or not world.settings.healthy(one, group)
    down = instance and instance["State"]["Name"] != "running"
    return "unhealthy" if fails or down else "healthy"


def _set_state(document: Document, item: Element, state: str) -> None:
    document.set_text("TargetHealth/State", state, item)
    if state in REASONS:
        for name, value in zip(("Reason", "Description"), REASONS[state], strict=True):
            document.set_text(f"TargetHealth/{name}", value, item)


def _add_draining(document: Document, one: str, port: str) -> None:
    found = document.find_all(LIST)
    if not found:
        return
    document.set_text("added/Target/Id", one, found[0])
    item = document.find_all("added", found[0])[0]
    item.tag = item.tag.replace("added", "member")
    document.set_text("Target/Port", port, item)
    document.set_text("HealthCheckPort", "traffic-port", item)
    _set_state(document, item, "draining")
