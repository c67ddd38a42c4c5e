# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A fleet's load balancer on AWS: one ELBv2 target group that the user made, or two that a rule forwards to by weights.

With two groups the one of weight 0 is where a new fleet is staged, and changing the weights' places is the flip.
Groups, rules and load balancers are the user's: they are never created nor deleted, and of one group's targets only the fleet's own are touched.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..._aws.batches import batches
from ..._aws.clients import Clients, aws_errors
from ..._core.errors import ProviderError, TrafficError
from ..._definition.model import Health, TrafficSpec
from ..._providers.contract import DRAIN, Member
from .target_groups import HEALTHY, INITIAL, Target, endpoint, flipped, judged, parsed, told_to_leave, unused, weights

DELAY = "deregistration_delay.timeout_seconds"
LONGEST = 3600  # seconds that ELB lets a target drain at most
BULK = 200  # targets in one call; AWS documents no bound, and its own Kubernetes controller stays within this one
PROTOCOLS = ("HTTP", "HTTPS", "TCP", "TLS")
_RULE = ":listener-rule/"


class TargetGroups:
    """See ``providers.base.Traffic``.

    ELB forgets a drained member after its group's deregistration delay, and shows it as draining until then, busy or not.
    It tells neither what is in flight nor since when a target is in its state: that is remembered here, for as long as this process lives.
    """

    kind = "elbv2"
    shared = True

    def __init__(
        self, clients: Clients, fleet: str, spec: TrafficSpec, health: Health, now: Callable[[], float] = time.time
    ) -> None:
        self._clients = clients
        self._fleet = fleet
        self._groups = spec.target_groups
        self._rule = spec.rule
        self._health = health
        self._now = now
        self._described: list[dict[str, Any]] = []  # the groups, once they were found fit
        self._seen: tuple[Target, ...] | None = (
            None  # as AWS said last, with what was told it since; None where that is not known
        )
        self._forward: list[dict[str, Any]] = []  # what the rule does
        self._weights: dict[str, int] = {}  # by group, as it says
        self._since: dict[str, tuple[str, float]] = {}  # by instance id: its state, and when it was first seen in it
        self._delays: dict[str, int] = {}  # by group: seconds
        self._told: dict[str, Any] | None = None

    def ensure(self) -> bool:
        """Looks once in a process whether the groups are there and fit for instances. There is nothing to start."""
        if not self._described:
            self._described = self._fit(self._describe_groups())
        return False

    def members(self) -> list[Member]:
        targets = self._read()
        found, now = judged(targets, self._active()), self._now()
        self._since = {each: self._since_of(each, found[each].state, now) for each in found}
        return [
            Member(each, said.state, None, self._since[each][1], said.passing, said.leaving)
            for each, said in found.items()
        ]

    def register(self, endpoints: Mapping[str, tuple[str, int]], staged: bool = False) -> None:
        active, idle = self._places()
        if staged and not idle:
            raise TrafficError(
                f"{self._fleet}: one target group cannot hold members that get no requests yet (needed: two target_groups and a rule)"
            )
        group = idle if staged else active
        there = {(each.group, each.id, each.port) for each in self._known() if each.registered}
        missing = [(name, port) for name, (_address, port) in endpoints.items() if (group, name, port) not in there]
        if staged:  # what serves already goes on serving
            missing = [(name, port) for name, port in missing if (active, name, port) not in there]
        self._register(group, missing)

    def switch(self, on: Sequence[str], off: Sequence[str]) -> None:
        """With two groups and all of ``on`` staged: one call, at once. Else ``on`` is registered beside ``off``, which leaves once ``on`` serves."""
        targets = [each for each in self._read() if each.registered]
        active, idle = self._places()
        serving, staged = (
            [each for each in targets if each.group == active],
            [each for each in targets if each.group == idle],
        )
        if idle and on and {each.id for each in staged} >= set(on) and {each.id for each in serving} <= set(off):
            self._deregister(each for each in staged if each.id not in on)  # they would serve from now on
            self._flip()
            return
        ports = {each.id: each.port for each in self._known()}
        unknown = [name for name in on if name not in ports]
        if unknown:
            raise TrafficError(
                f"{', '.join(unknown)} cannot be put in service: no target group of {self._fleet} knows it (register it first)"
            )
        there = {each.id for each in serving}
        self._register(active, [(name, ports[name]) for name in on if name not in there])
        self._deregister(
            each for each in staged if each.id in on
        )  # should a run end just before, the next flip does it
        if {each.id for each in serving if each.state == HEALTHY} >= set(on):
            self._deregister(each for each in serving if each.id in off)

    def drain(self, ids: Sequence[str], timeout: float) -> None:
        active, _idle = self._places()
        leaving = [each for each in self._known() if each.id in ids and each.registered and each.group == active]
        if not leaving:
            return
        self._set_delay(active, timeout)
        self._deregister(leaving)
        now = self._now()
        self._since.update({each.id: (DRAIN, now) for each in leaving})

    def deregister(self, ids: Sequence[str]) -> None:
        self._deregister(each for each in self._known() if each.id in ids and each.registered)

    def remove(self) -> None:
        """Nothing: the groups are the user's, and the fleet's members were deregistered one by one."""

    def describe(self) -> dict[str, Any]:
        if self._told is None:
            try:
                self._told = {"endpoint": self._endpoint(), "warnings": []}
            except ProviderError as error:  # it is for people and decides nothing
                self._told = {
                    "endpoint": None,
                    "warnings": [f"the load balancer's address is not known: {error.message}"],
                }
        warnings = [*self._told["warnings"], *unused(self._seen or ())]
        return {
            "kind": self.kind,
            "endpoint": self._told["endpoint"],
            "target_groups": list(self._groups),
            "warnings": warnings,
        }

    # What is there.

    def _read(self) -> tuple[Target, ...]:
        """Who is registered and who gets requests: one call for each group, and one for the rule where there are two."""
        self._seen = None
        if len(self._groups) > 1:
            self._read_rule()
        found: list[Target] = []
        for group in self._groups:
            with aws_errors(TrafficError):
                found += parsed(
                    group, self._elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
                )
        self._seen = tuple(found)
        return self._seen

    def _known(self) -> tuple[Target, ...]:
        return self._read() if self._seen is None else self._seen

    def _active(self) -> list[str]:
        """ARNs of the groups that get requests."""
        return [group for group in self._groups if len(self._groups) == 1 or self._weights.get(group)]

    def _places(self) -> tuple[str, str]:
        """The ARN of the group that serves, and of the one that does not ("" where there is only one)."""
        self._known()
        active = self._active()
        if len(active) != 1:
            said = " and ".join(f"{self._weights.get(group, 0)} to {_name(group)}" for group in self._groups)
            raise TrafficError(f"{self._rule} forwards with the weights {said} (allowed: 0 for exactly one of them)")
        return active[0], next((group for group in self._groups if group != active[0]), "")

    def _since_of(self, name: str, state: str, now: float) -> tuple[str, float]:
        before = self._since.get(name)
        return before if before and before[0] == state else (state, now)

    def _describe_groups(self) -> list[dict[str, Any]]:
        with aws_errors(TrafficError, f"target groups of {self._fleet}"):
            found: list[dict[str, Any]] = self._elb.describe_target_groups(TargetGroupArns=list(self._groups))[
                "TargetGroups"
            ]
        return found

    def _fit(self, groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for each in groups:
            name, kind, protocol = each["TargetGroupName"], each.get("TargetType"), each.get("Protocol")
            if kind != "instance":
                raise TrafficError(f"target group {name} has targets of the type {kind} (allowed: instance)")
            if protocol not in PROTOCOLS:
                raise TrafficError(f"target group {name} speaks {protocol} (allowed: {', '.join(PROTOCOLS)})")
            if not each.get("LoadBalancerArns"):
                raise TrafficError(
                    f"target group {name} is used by no load balancer, so it is never checked (needed: a listener that forwards to it)"
                )
        return groups

    def _read_rule(self) -> None:
        with aws_errors(TrafficError):
            if _RULE in self._rule:
                actions = self._elb.describe_rules(RuleArns=[self._rule])["Rules"][0]["Actions"]
            else:
                actions = self._elb.describe_listeners(ListenerArns=[self._rule])["Listeners"][0]["DefaultActions"]
        found = weights(actions, self._groups)
        if found is None:
            raise TrafficError(
                f"{self._rule} does not forward to both {' and '.join(map(_name, self._groups))} (needed: one forward action that names both)"
            )
        self._forward, self._weights = list(actions), found

    def _endpoint(self) -> str | None:
        groups = self._described or self._describe_groups()
        balancers = [arn for each in groups for arn in each.get("LoadBalancerArns", ())]
        if not balancers:
            return None
        with aws_errors(TrafficError):
            dns = self._elb.describe_load_balancers(LoadBalancerArns=balancers[:1])["LoadBalancers"][0]["DNSName"]
            if self._rule:
                asked: dict[str, Any] = {"ListenerArns": [_listener(self._rule)]}
            else:
                asked = {"LoadBalancerArn": balancers[0]}
            listeners = self._elb.describe_listeners(**asked)["Listeners"]
        mine = [each for each in listeners if self._groups[0] in str(each.get("DefaultActions"))]
        return endpoint(dns, [*mine, *listeners][0]) if listeners else None

    # What is changed.

    def _register(self, group: str, targets: Sequence[tuple[str, int]]) -> None:
        for part in batches(targets, BULK):
            self._change("register_targets", group, part)
        new = {(group, name, port): Target(group, name, port, INITIAL) for name, port in targets}
        self._seen = (*(each for each in self._known() if (each.group, each.id, each.port) not in new), *new.values())

    def _deregister(self, targets: Iterable[Target]) -> None:
        leaving = list(targets)
        for group in dict.fromkeys(each.group for each in leaving):
            for part in batches([(each.id, each.port) for each in leaving if each.group == group], BULK):
                self._change("deregister_targets", group, part)
        self._seen = told_to_leave(self._known(), leaving)

    def _change(self, call: str, group: str, targets: Sequence[tuple[str, int]]) -> None:
        before, self._seen = self._seen, None  # after a failure nobody knows
        with aws_errors(TrafficError, f"target group {_name(group)}"):
            getattr(self._elb, call)(
                TargetGroupArn=group, Targets=[{"Id": name, "Port": port} for name, port in targets]
            )
        self._seen = before

    def _flip(self) -> None:
        actions = flipped(self._forward, (self._groups[0], self._groups[1]))
        self._seen = None
        with aws_errors(TrafficError):
            if _RULE in self._rule:
                self._elb.modify_rule(RuleArn=self._rule, Actions=actions)
            else:
                self._elb.modify_listener(ListenerArn=self._rule, DefaultActions=actions)

    def _set_delay(self, group: str, timeout: float) -> None:
        """ELB is to forget a drained member as soon as nobody waits for it any more, and not before."""
        seconds = math.ceil(timeout)
        if not 0 <= seconds <= LONGEST:
            raise TrafficError(
                f"{self._fleet}: ELB lets no target drain for {timeout:g} s (allowed: a drain timeout from 0 to {LONGEST} s)"
            )
        with aws_errors(TrafficError, f"target group {_name(group)}"):
            if group not in self._delays:
                attributes = self._elb.describe_target_group_attributes(TargetGroupArn=group)["Attributes"]
                self._delays[group] = next((int(each["Value"]) for each in attributes if each["Key"] == DELAY), -1)
            if self._delays[group] != seconds:
                self._elb.modify_target_group_attributes(
                    TargetGroupArn=group, Attributes=[{"Key": DELAY, "Value": str(seconds)}]
                )
                self._delays[group] = seconds

    @property
    def _elb(self) -> Any:
        return self._clients.client("elbv2")


def _name(arn: str) -> str:
    """``shop`` of ``...:targetgroup/shop/0123456789abcdef``."""
    return arn.split("/")[1] if arn.count("/") > 1 else arn


def _listener(rule: str) -> str:
    """The ARN of the listener that a rule belongs to, or of the listener itself."""
    return rule.replace(_RULE, ":listener/").rpartition("/")[0] if _RULE in rule else rule
