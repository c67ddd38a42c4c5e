# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Targets of ELBv2 target groups as AWS describes them, and their states as members of a load balancer. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..._providers.contract import DOWN, DRAIN, UP, MemberState

# States and reasons of a target, see
# https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetHealth.html
HEALTHY, DRAINING, INITIAL = "healthy", "draining", "initial"
_NOT_IN_USE = "Target.NotInUse"
_NOT_REGISTERED = "Target.NotRegistered"


@dataclass(frozen=True)
class Target:
    """One registration. An instance may have several: in two groups, or with two ports."""

    group: str  # ARN
    id: str  # instance id
    port: int
    state: str
    reason: str = ""

    @property
    def registered(self) -> bool:
        return self.state != DRAINING


@dataclass(frozen=True)
class Verdict:
    """The state of an instance as a member, from all its registrations."""

    state: MemberState
    passing: bool
    leaving: bool


def targets_of(group: str, descriptions: Iterable[Mapping[str, Any]]) -> list[Target]:
    """Targets from an answer of DescribeTargetHealth."""
    targets = []
    for description in descriptions:
        target, health = description["Target"], description.get("TargetHealth", {})
        if health.get("Reason") != _NOT_REGISTERED:
            targets.append(
                Target(
                    group=group,
                    id=target["Id"],
                    port=int(target.get("Port", 0)),
                    state=health.get("State", ""),
                    reason=health.get("Reason", ""),
                )
            )
    return targets


def verdicts(targets: Iterable[Target], active: Sequence[str]) -> dict[str, Verdict]:
    """By instance id. A registration in service counts more than others of the same instance.

    Args:
        active: ARNs of the groups that get requests.
    """
    best: dict[str, Verdict] = {}
    ranked = sorted((*_ranked_verdict(target, target.group in active), target.id) for target in targets)
    for _rank, state, passing, leaving, instance_id in ranked:
        best.setdefault(instance_id, Verdict(state, passing, leaving))
    return best


def _ranked_verdict(target: Target, gets_requests: bool) -> tuple[int, MemberState, bool, bool]:
    """Rank, state, passing and leaving. The lowest rank counts."""
    if target.state == DRAINING:
        return 3, DRAIN, False, True
    passing = target.state == HEALTHY
    if not gets_requests:
        return 2, DRAIN, passing, False
    return (0, UP, True, False) if passing else (1, DOWN, False, False)


def unused_warnings(targets: Iterable[Target]) -> list[str]:
    """Warnings about targets that can never pass a check."""
    ids = sorted({target.id for target in targets if target.reason == _NOT_IN_USE})
    if not ids:
        return []
    why = "no listener forwards to its target group, or its availability zone is not enabled for the load balancer"
    return [f"{', '.join(ids)} gets neither checks nor requests: {why}"]


def weights_of(actions: Iterable[Mapping[str, Any]], groups: Sequence[str]) -> dict[str, int] | None:
    """By ARN, the weights in the action that forwards to all of ``groups``; None if no action does."""
    for action in actions:
        weights = {
            group["TargetGroupArn"]: int(group.get("Weight", 1))
            for group in action.get("ForwardConfig", {}).get("TargetGroups", ())
        }
        if action.get("Type") == "forward" and set(groups) <= set(weights):
            return {group: weights[group] for group in groups}
    return None


def with_weights_swapped(actions: Iterable[Mapping[str, Any]], groups: tuple[str, str]) -> list[dict[str, Any]]:
    """The same actions with the weights of both groups swapped, and the rest unchanged (stickiness, authentication)."""
    partner = dict(zip(groups, reversed(groups), strict=True))
    changed = []
    for action in actions:
        config = action.get("ForwardConfig", {})
        weights = {group["TargetGroupArn"]: group.get("Weight", 1) for group in config.get("TargetGroups", ())}
        if action.get("Type") == "forward" and set(groups) <= set(weights):
            swapped = [{"TargetGroupArn": arn, "Weight": weights[partner.get(arn, arn)]} for arn in weights]
            # AWS accepts the key TargetGroupArn for a single group only.
            action = {
                **{name: value for name, value in action.items() if name != "TargetGroupArn"},
                "ForwardConfig": {**config, "TargetGroups": swapped},
            }
        changed.append(_keep_client_secret(action))
    return changed


def _keep_client_secret(action: Mapping[str, Any]) -> dict[str, Any]:
    """AWS never returns the client secret of an OIDC action, so tell it to keep the present one."""
    config = action.get("AuthenticateOidcConfig")
    return {**action, "AuthenticateOidcConfig": {**config, "UseExistingClientSecret": True}} if config else dict(action)


def with_draining(targets: Iterable[Target], leaving: Iterable[Target]) -> tuple[Target, ...]:
    """The same targets after those ``leaving`` are deregistered."""
    keys = {(target.group, target.id, target.port) for target in leaving}
    return tuple(
        replace(target, state=DRAINING, reason="") if (target.group, target.id, target.port) in keys else target
        for target in targets
    )


def endpoint(dns: str, listener: Mapping[str, Any]) -> str:
    """URL of a load balancer at one of its listeners."""
    protocol, port = str(listener["Protocol"]).lower(), int(listener["Port"])
    default = {"http": 80, "https": 443}.get(protocol) == port
    return f"{protocol}://{dns}" + ("" if default else f":{port}")
