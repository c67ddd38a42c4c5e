# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Targets of ELBv2 target groups as AWS describes them, and what they are as members of a fleet's balancer. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..._providers.contract import DOWN, DRAIN, UP, MemberState

HEALTHY, DRAINING, INITIAL = "healthy", "draining", "initial"  # as AWS says them
_NOT_IN_USE = "Target.NotInUse"
_NOT_REGISTERED = "Target.NotRegistered"


@dataclass(frozen=True)
class Target:
    """One registration. An instance may have several: in two groups, or at two ports."""

    group: str  # ARN
    id: str  # instance id
    port: int
    state: str
    reason: str = ""

    @property
    def registered(self) -> bool:
        return self.state != DRAINING


@dataclass(frozen=True)
class Judged:
    """What all registrations of an instance make it together."""

    state: MemberState
    passing: bool
    leaving: bool


def parsed(group: str, descriptions: Iterable[Mapping[str, Any]]) -> list[Target]:
    """From an answer of DescribeTargetHealth."""
    found = []
    for each in descriptions:
        target, health = each["Target"], each.get("TargetHealth", {})
        if health.get("Reason") != _NOT_REGISTERED:
            found.append(
                Target(
                    group, target["Id"], int(target.get("Port", 0)), health.get("State", ""), health.get("Reason", "")
                )
            )
    return found


def judged(targets: Iterable[Target], active: Sequence[str]) -> dict[str, Judged]:
    """By instance id. ``active``: ARNs of the groups that get requests. What serves counts, whatever else it is registered for."""
    best: dict[str, Judged] = {}
    for each in sorted((_judge(target, target.group in active), target.id) for target in targets):
        best.setdefault(each[1], Judged(each[0][1], each[0][2], each[0][3]))
    return best


def _judge(target: Target, served: bool) -> tuple[int, MemberState, bool, bool]:
    """With its rank before it; the lowest counts."""
    if target.state == DRAINING:
        return 3, DRAIN, False, True
    passing = target.state == HEALTHY
    if not served:
        return 2, DRAIN, passing, False
    return (0, UP, True, False) if passing else (1, DOWN, False, False)


def unused(targets: Iterable[Target]) -> list[str]:
    """Lines for people: what will never pass a check as things stand."""
    ids = sorted({target.id for target in targets if target.reason == _NOT_IN_USE})
    if not ids:
        return []
    why = "no listener forwards to its target group, or its availability zone is not enabled for the load balancer"
    return [f"{', '.join(ids)} gets neither checks nor requests: {why}"]


def weights(actions: Iterable[Mapping[str, Any]], groups: Sequence[str]) -> dict[str, int] | None:
    """By ARN, as the action says that forwards to all of ``groups``; None where none does."""
    for action in actions:
        found = {
            each["TargetGroupArn"]: int(each.get("Weight", 1))
            for each in action.get("ForwardConfig", {}).get("TargetGroups", ())
        }
        if action.get("Type") == "forward" and set(groups) <= set(found):
            return {group: found[group] for group in groups}
    return None


def flipped(actions: Iterable[Mapping[str, Any]], groups: tuple[str, str]) -> list[dict[str, Any]]:
    """The same actions with the weights of both groups changed places, and all else as it was (stickiness, authentication)."""
    partner = dict(zip(groups, reversed(groups), strict=True))
    changed = []
    for action in actions:
        config = action.get("ForwardConfig", {})
        known = {each["TargetGroupArn"]: each.get("Weight", 1) for each in config.get("TargetGroups", ())}
        if action.get("Type") == "forward" and set(groups) <= set(known):
            places = [{"TargetGroupArn": arn, "Weight": known[partner.get(arn, arn)]} for arn in known]
            # AWS takes the short form for one group only.
            action = {
                **{name: value for name, value in action.items() if name != "TargetGroupArn"},
                "ForwardConfig": {**config, "TargetGroups": places},
            }
        changed.append(_secretive(action))
    return changed


def _secretive(action: Mapping[str, Any]) -> dict[str, Any]:
    """AWS never shows the client's secret of an action that authenticates by OIDC, and takes the action without it only where told to keep it."""
    config = action.get("AuthenticateOidcConfig")
    return {**action, "AuthenticateOidcConfig": {**config, "UseExistingClientSecret": True}} if config else dict(action)


def told_to_leave(targets: Iterable[Target], leaving: Iterable[Target]) -> tuple[Target, ...]:
    gone = {(each.group, each.id, each.port) for each in leaving}
    return tuple(
        replace(each, state=DRAINING, reason="") if (each.group, each.id, each.port) in gone else each
        for each in targets
    )


def endpoint(dns: str, listener: Mapping[str, Any]) -> str:
    """URL of a load balancer as one of its listeners says it."""
    protocol, port = str(listener["Protocol"]).lower(), int(listener["Port"])
    usual = {"http": 80, "https": 443}.get(protocol) == port
    return f"{protocol}://{dns}" + ("" if usual else f":{port}")
