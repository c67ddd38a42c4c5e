# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A fleet's load balancer on AWS: one ELBv2 target group of the user, or two between which a rule distributes requests.

With two groups, new members are staged in the group whose weight is 0, and swapping the weights puts them in service.
Groups, rules and load balancers belong to the user: they are never created or deleted, and in one group only the
fleet's own targets are changed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..._aws.batches import batches
from ..._aws.clients import Clients, aws_errors
from ..._core.errors import ProviderError, TrafficError
from ..._definition.model import TrafficSpec
from ..._definition.probes import Health
from ..._providers.contract import DRAIN, Member
from .health_checks import NETWORK_PROTOCOLS, health_check_of, mismatches, require_deadline
from .target_groups import (
    HEALTHY,
    INITIAL,
    Target,
    endpoint,
    targets_of,
    unused_warnings,
    verdicts,
    weights_of,
    with_draining,
    with_weights_swapped,
)

DELAY_ATTRIBUTE = "deregistration_delay.timeout_seconds"
DEFAULT_DELAY = 300  # seconds, AWS's own
FRESH = 2.0  # seconds for which the weights count as just read
MAX_TARGETS = 200  # in one call; AWS documents no limit, and its own Kubernetes controller uses this one
PROTOCOLS = ("HTTP", "HTTPS", *NETWORK_PROTOCOLS)
_RULE = ":listener-rule/"


class TargetGroups:
    """See ``contract.Traffic``.

    ELB removes a deregistered target after the deregistration delay of its group, and shows it as draining until then,
    busy or not. It reports neither what is in flight nor since when a target is in its state. This object remembers
    the latter as long as the process lives.

    Args:
        decides: whether the checks of the groups alone decide about an instance's health.
        now: the time, in seconds since the epoch.
    """

    kind = "elbv2"
    shared = True

    def __init__(
        self,
        clients: Clients,
        fleet: str,
        spec: TrafficSpec,
        health: Health,
        *,
        decides: bool = False,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._clients = clients
        self._fleet = fleet
        self._groups = spec.target_groups
        self._rule = spec.rule
        self._delay = spec.deregistration_delay  # None: the groups keep their own
        self._health = health
        self._decides = decides
        self._now = now
        self._described: list[dict[str, Any]] = []  # the groups, as read once
        self._checked = False  # whether the groups were found fit
        # As last read, with the changes made since; None if that is unknown.
        self._targets: tuple[Target, ...] | None = None
        self._actions: list[dict[str, Any]] = []  # of the rule
        self._weights: dict[str, int] = {}  # by group, in the rule
        self._read_at = 0.0  # when the weights were read
        self._switched_to = ""  # the group to which this object switched the requests
        self._switch_seen = False  # whether the weights were read as this object set them
        self._since: dict[str, tuple[str, float]] = {}  # by instance id: its state, and when it was first observed
        self._delays: dict[str, int] = {}  # by group, in seconds
        self._description: dict[str, Any] | None = None
        self._warnings: list[str] = []  # about the groups' checks, once a swap begins
        self._short_delay: list[str] = []  # a warning, once something drains

    def ensure(self) -> bool:
        """Check once in a process that the groups exist and accept instances. There is nothing to start."""
        if not self._checked:
            self._check_groups(self._describe_groups())
            self._checked = True
        return False

    def check_deadline(self, deadline: float) -> None:
        checks = [health_check_of(group) for group in self._describe_groups()]
        for check in checks:
            require_deadline(check, deadline)
        if self._decides:
            self._warnings = [line for check in checks for line in mismatches(check, self._health)]

    def members(self) -> list[Member]:
        targets = self._read()
        found, now = verdicts(targets, self._active_groups()), self._now()
        self._since = {key: self._since_of(key, verdict.state, now) for key, verdict in found.items()}
        return [
            Member(
                id=key,
                state=verdict.state,
                in_flight=None,
                since=self._since[key][1],
                passing=verdict.passing,
                leaving=verdict.leaving,
            )
            for key, verdict in found.items()
        ]

    def register(self, endpoints: Mapping[str, tuple[str, int]], staged: bool = False) -> None:
        active, idle = self._active_and_idle()
        if staged and not idle:
            raise TrafficError(
                f"{self._fleet}: one target group cannot hold members that get no requests yet "
                "(needed: two target_groups and a rule)"
            )
        group = idle if staged else active
        present = {(target.group, target.id, target.port) for target in self._known() if target.registered}
        missing = [(key, port) for key, (_address, port) in endpoints.items() if (group, key, port) not in present]
        if staged:  # a member in service stays in service
            missing = [(key, port) for key, port in missing if (active, key, port) not in present]
        self._register(group, missing)

    def switch(self, on: Sequence[str], off: Sequence[str]) -> None:
        """With two groups, if all of ``on`` are staged, one call does it at once.

        Otherwise ``on`` is registered in addition to ``off``, which is deregistered once ``on`` is in service.
        """
        targets = [target for target in self._read() if target.registered]
        active, idle = self._active_and_idle()
        serving = [target for target in targets if target.group == active]
        staged = [target for target in targets if target.group == idle]
        all_staged = {target.id for target in staged} >= set(on)
        if idle and on and all_staged and {target.id for target in serving} <= set(off):
            self._deregister(
                target for target in staged if target.id not in on
            )  # or the swap would put them in service
            self._swap_weights()
            return
        ports = {target.id: target.port for target in self._known()}
        unknown = [key for key in on if key not in ports]
        if unknown:
            raise TrafficError(
                f"{', '.join(unknown)} cannot be put in service: no target group of {self._fleet} knows it "
                "(register it first)"
            )
        present = {target.id for target in serving}
        self._register(active, [(key, ports[key]) for key in on if key not in present])
        # If a run ends before this call, the next switch makes it.
        self._deregister(target for target in staged if target.id in on)
        if {target.id for target in serving if target.state == HEALTHY} >= set(on):
            self._deregister(target for target in serving if target.id in off)

    def drain(self, ids: Sequence[str], timeout: float) -> None:
        active, _idle = self._active_and_idle()
        leaving = [
            target for target in self._known() if target.id in ids and target.registered and target.group == active
        ]
        if not leaving:
            return
        self._prepare_delay(active, timeout)
        self._deregister(leaving)
        now = self._now()
        self._since.update({target.id: (DRAIN, now) for target in leaving})

    def drain_time(self) -> float | None:
        return self._delay if self._delay is not None else float(max(map(self._group_delay, self._groups)))

    def deregister(self, ids: Sequence[str]) -> None:
        self._require_same_weights()
        self._deregister(target for target in self._known() if target.id in ids and target.registered)

    def remove(self) -> None:
        """Has no effect: the groups belong to the user, and the fleet's members are deregistered one by one."""

    def describe(self) -> dict[str, Any]:
        if self._description is None:
            try:
                self._description = {"endpoint": self._endpoint(), "warnings": []}
            except ProviderError as error:  # the endpoint is for people, and nothing depends on it
                self._description = {
                    "endpoint": None,
                    "warnings": [f"the load balancer's address is unknown: {error.message}"],
                }
        warnings = [
            *self._description["warnings"],
            *self._warnings,
            *self._short_delay,
            *unused_warnings(self._targets or ()),
        ]
        return {
            "kind": self.kind,
            "endpoint": self._description["endpoint"],
            "target_groups": list(self._groups),
            "warnings": warnings,
        }

    # Reads.

    def _read(self) -> tuple[Target, ...]:
        """Read targets and weights: one call for each group, and one for the rule if there are two groups."""
        self._targets = None
        if len(self._groups) > 1:
            self._read_rule()
        found: list[Target] = []
        for group in self._groups:
            with aws_errors(TrafficError):
                answer = self._elb.describe_target_health(TargetGroupArn=group)
            found += targets_of(group, answer["TargetHealthDescriptions"])
        self._targets = tuple(found)
        return self._targets

    def _known(self) -> tuple[Target, ...]:
        return self._read() if self._targets is None else self._targets

    def _active_groups(self) -> list[str]:
        """ARNs of the groups that get requests."""
        return [group for group in self._groups if len(self._groups) == 1 or self._weights.get(group)]

    def _active_and_idle(self) -> tuple[str, str]:
        """The ARN of the group that gets requests, and of the other one ("" if there is only one)."""
        self._known()
        active = self._active_groups()
        if len(active) != 1:
            weights = " and ".join(f"{self._weights.get(group, 0)} to {_name_of(group)}" for group in self._groups)
            raise TrafficError(f"{self._rule} forwards with the weights {weights} (allowed: 0 for exactly one of them)")
        return active[0], next((group for group in self._groups if group != active[0]), "")

    def _since_of(self, key: str, state: str, now: float) -> tuple[str, float]:
        before = self._since.get(key)
        return before if before and before[0] == state else (state, now)

    def _describe_groups(self) -> list[dict[str, Any]]:
        if not self._described:
            with aws_errors(TrafficError, f"target groups of {self._fleet}"):
                answer = self._elb.describe_target_groups(TargetGroupArns=list(self._groups))
            self._described = list(answer["TargetGroups"])
        return self._described

    def _check_groups(self, groups: list[dict[str, Any]]) -> None:
        """Raises TrafficError if a group cannot have instances as targets."""
        for group in groups:
            name, kind, protocol = group["TargetGroupName"], group.get("TargetType"), group.get("Protocol")
            if kind != "instance":
                raise TrafficError(f"target group {name} has targets of the type {kind} (allowed: instance)")
            if protocol not in PROTOCOLS:
                raise TrafficError(f"target group {name} has protocol {protocol} (allowed: {', '.join(PROTOCOLS)})")
            if not group.get("LoadBalancerArns"):
                raise TrafficError(
                    f"target group {name} is used by no load balancer, so it is never checked "
                    "(needed: a listener that forwards to it)"
                )

    def _read_rule(self) -> None:
        with aws_errors(TrafficError):
            if _RULE in self._rule:
                actions = self._elb.describe_rules(RuleArns=[self._rule])["Rules"][0]["Actions"]
            else:
                actions = self._elb.describe_listeners(ListenerArns=[self._rule])["Listeners"][0]["DefaultActions"]
        weights = weights_of(actions, self._groups)
        if weights is None:
            raise TrafficError(
                f"{self._rule} does not forward to both {' and '.join(map(_name_of, self._groups))} "
                "(needed: one forward action that names both)"
            )
        self._actions, self._weights, self._read_at = list(actions), weights, self._now()
        serves = bool(weights.get(self._switched_to))
        if self._switch_seen and not serves:
            active = " and ".join(map(_name_of, self._active_groups())) or "neither group"
            raise TrafficError(
                f"{self._rule} forwards to {active} again: "
                f"something else, such as terraform apply, undid this swap's switch to {_name_of(self._switched_to)}, "
                "so nothing more was changed (see how-to/aws; run again to switch once more)",
                permanent=True,
            )
        self._switch_seen = self._switch_seen or serves

    def _require_same_weights(self) -> None:
        """Raises TrafficError if the weights changed since the plan was made: a group with requests is not emptied."""
        if len(self._groups) < 2 or self._now() - self._read_at <= FRESH:
            return
        before = self._active_groups()
        self._read_rule()
        if self._active_groups() != before:
            self._targets = None
            raise TrafficError(f"{self._rule} forwards to another target group than a moment ago; reading it again")

    def _endpoint(self) -> str | None:
        groups = self._describe_groups()
        balancers = [arn for group in groups for arn in group.get("LoadBalancerArns", ())]
        if not balancers:
            return None
        by = {"ListenerArns": [_listener_of(self._rule)]} if self._rule else {"LoadBalancerArn": balancers[0]}
        with aws_errors(TrafficError):
            dns = self._elb.describe_load_balancers(LoadBalancerArns=balancers[:1])["LoadBalancers"][0]["DNSName"]
            listeners = self._elb.describe_listeners(**by)["Listeners"]
        forwarding = [listener for listener in listeners if self._groups[0] in str(listener.get("DefaultActions"))]
        return endpoint(dns, [*forwarding, *listeners][0]) if listeners else None

    # Changes.

    def _register(self, group: str, targets: Sequence[tuple[str, int]]) -> None:
        for part in batches(targets, MAX_TARGETS):
            self._change("register_targets", group, part)
        new = {(group, key, port): Target(group, key, port, INITIAL) for key, port in targets}
        others = [target for target in self._known() if (target.group, target.id, target.port) not in new]
        self._targets = (*others, *new.values())

    def _deregister(self, targets: Iterable[Target]) -> None:
        leaving = list(targets)
        for group in dict.fromkeys(target.group for target in leaving):
            for part in batches([(target.id, target.port) for target in leaving if target.group == group], MAX_TARGETS):
                self._change("deregister_targets", group, part)
        self._targets = with_draining(self._known(), leaving)

    def _change(self, call: str, group: str, targets: Sequence[tuple[str, int]]) -> None:
        before, self._targets = self._targets, None  # a failed call may have taken effect
        with aws_errors(TrafficError, f"target group {_name_of(group)}"):
            getattr(self._elb, call)(TargetGroupArn=group, Targets=[{"Id": key, "Port": port} for key, port in targets])
        self._targets = before

    def _swap_weights(self) -> None:
        actions = with_weights_swapped(self._actions, (self._groups[0], self._groups[1]))
        idle = next(group for group in self._groups if not self._weights.get(group))
        self._targets, self._switched_to, self._switch_seen = None, "", False
        with aws_errors(TrafficError):
            if _RULE in self._rule:
                self._elb.modify_rule(RuleArn=self._rule, Actions=actions)
            else:
                self._elb.modify_listener(ListenerArn=self._rule, DefaultActions=actions)
        self._switched_to = idle

    def _prepare_delay(self, group: str, timeout: float) -> None:
        """Set the group's delay if the definition asks for it, else compare it with the fleet's drain timeout."""
        delay = self._group_delay(group)
        if self._delay is not None and delay != self._delay:
            value = {"Key": DELAY_ATTRIBUTE, "Value": f"{self._delay:.0f}"}
            with aws_errors(TrafficError, f"target group {_name_of(group)}"):
                self._elb.modify_target_group_attributes(TargetGroupArn=group, Attributes=[value])
            self._delays[group] = int(self._delay)
        elif delay < timeout and not self._short_delay:
            self._short_delay = [
                f"target group {_name_of(group)} ends the connections of a drained instance after {delay} s, before "
                f"fleet.drain.timeout of {timeout:g} s (needed: a longer delay of the group)"
            ]

    def _group_delay(self, group: str) -> int:
        """The deregistration delay of a group in seconds, read once."""
        if group not in self._delays:
            with aws_errors(TrafficError, f"target group {_name_of(group)}"):
                attributes = self._elb.describe_target_group_attributes(TargetGroupArn=group)["Attributes"]
            values = [int(attribute["Value"]) for attribute in attributes if attribute["Key"] == DELAY_ATTRIBUTE]
            self._delays[group] = next(iter(values), DEFAULT_DELAY)
        return self._delays[group]

    @property
    def _elb(self) -> Any:
        return self._clients.client("elbv2")


def _name_of(arn: str) -> str:
    """``shop`` of ``...:targetgroup/shop/0123456789abcdef``."""
    return arn.split("/")[1] if arn.count("/") > 1 else arn


def _listener_of(rule: str) -> str:
    """The ARN of a rule's listener; a listener's ARN is returned as it is."""
    return rule.replace(_RULE, ":listener/").rpartition("/")[0] if _RULE in rule else rule
