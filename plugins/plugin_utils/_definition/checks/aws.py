# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Check what a target on AWS needs, and that its parts fit together."""

from __future__ import annotations

import ipaddress
import json
import re
from pathlib import Path

from ..._aws.instances import HOP_LIMIT
from ..._core.errors import ImmutableError
from ..._core.units import seconds_of
from ..document import Document, KeyPath, value_at
from ..ebs_options import refused_options
from ..fleet import AUTOSCALING, merged_fleet
from ..ssh_proxy import PLACEHOLDERS, unknown_placeholders
from .certificates import check_certificates
from .security_groups import check_group_ids

_GROUP = re.compile(r"sg-[0-9a-f]{8,17}")
LONGEST_DELAY = 3600  # seconds: of the deregistration of a target, see ModifyTargetGroupAttributes


def check_aws(document: Document, target: str, folder: Path) -> None:
    """Add a problem for each mistake in a target on AWS that the schema cannot tell. ``folder``: the definition's."""
    place: KeyPath = ("targets", target)
    _check_network(document, place)
    _check_bucket_evidence(document, target)
    options = value_at(document.data, (*place, "build", "options"))
    for name, reason in refused_options(options) if isinstance(options, dict) else ():
        document.add_problem(
            (*place, "build", "options", name), f"cannot be passed to Packer: {reason}; remove this option"
        )
    fleet = merged_fleet(document.data, target)
    if fleet.get("engine") != AUTOSCALING:  # a group defines its target groups
        _check_traffic(document, place, blue_green=fleet.get("strategy") == "blue_green")
    check_certificates(document, (*place, "identity_certificates"), folder)


def _check_network(document: Document, place: KeyPath) -> None:
    if value_at(document.data, (*place, "network", "subnets")) is None:
        document.add_problem(
            place, "the provider aws requires the subnets of the instances (allowed: network with subnets)"
        )
    _check_private_network(document, place)
    check_group_ids(document, (*place, "network"), _GROUP, "an ID such as sg-0123456789abcdef0")
    subnets, zones = value_at(document.data, (*place, "network", "subnets")), value_at(document.data, (*place, "zones"))
    for number, zone in enumerate(zones if isinstance(zones, list) else []):
        if isinstance(subnets, dict) and zone not in subnets:
            document.add_problem(
                (*place, "zones", number), f"{json.dumps(zone)} has no subnet (allowed: {', '.join(map(str, subnets))})"
            )


def _check_traffic(document: Document, place: KeyPath, *, blue_green: bool) -> None:
    groups, rule = (
        value_at(document.data, (*place, "traffic", "target_groups")),
        value_at(document.data, (*place, "traffic", "rule")),
    )
    _check_deregistration_delay(document, (*place, "traffic", "deregistration_delay"))
    count = len(groups) if isinstance(groups, list) else 0
    if not count:
        document.add_problem(
            place,
            "the provider aws requires a target group to register instances in (allowed: traffic with target_groups)",
        )
    if (count == 2) is not (rule is not None):
        document.add_problem(
            (*place, "traffic"),
            "two target groups require a rule that forwards to both, and a rule requires two target groups "
            "(allowed: both, or one target group without a rule)",
        )
    if blue_green and count == 1:
        document.add_problem(
            place,
            "blue_green on aws switches a rule from one target group to another "
            "(allowed: traffic with two target_groups and a rule)",
        )


def _check_bucket_evidence(document: Document, target: str) -> None:
    place: KeyPath = ("targets", target)
    if value_at(document.data, (*place, "evidence")) != "bucket":
        if value_at(document.data, (*place, "identity_certificates")) is not None:
            document.add_problem(
                (*place, "identity_certificates"),
                "no identity document is verified with this evidence; remove this key or set evidence: bucket",
            )
        return
    machine = value_at(document.data, (*place, "machine"))
    machine = machine if isinstance(machine, dict) else {}
    # The launch template of a group, or of the target, may name one.
    group = merged_fleet(document.data, target).get("engine") == AUTOSCALING
    if not group and not machine.get("instance_profile") and not machine.get("launch_template"):
        document.add_problem(
            (*place, "evidence"),
            "instances need an instance profile that may write their evidence (allowed: machine with "
            "instance_profile, or evidence: console)",
        )
    if machine.get("metadata_hop_limit", HOP_LIMIT) != HOP_LIMIT:
        document.add_problem(
            (*place, "machine", "metadata_hop_limit"),
            "containers could take the credentials that write evidence, which are root's alone "
            "(allowed: evidence: console, or without this key)",
        )


def _check_private_network(document: Document, place: KeyPath) -> None:
    if value_at(document.data, (*place, "external_id")) is not None and not value_at(document.data, (*place, "role")):
        document.add_problem((*place, "external_id"), "no role is assumed that could ask for it; add role or remove it")
    proxy = value_at(document.data, (*place, "network", "ssh_proxy"))
    for number, argument in enumerate(proxy if isinstance(proxy, list) else []):
        for name in unknown_placeholders(argument) if isinstance(argument, str) else ():
            document.add_problem(
                (*place, "network", "ssh_proxy", number),
                f"{json.dumps(name)} is not a placeholder (allowed: {', '.join(PLACEHOLDERS)})",
            )
    cidrs = value_at(document.data, (*place, "build", "ssh_cidrs"))
    for number, cidr in enumerate(cidrs if isinstance(cidrs, list) else []):
        try:
            network = ipaddress.ip_network(cidr) if isinstance(cidr, str) else None
        except ValueError:
            network = None
        if network is None or network.version != 4:
            document.add_problem(
                (*place, "build", "ssh_cidrs", number),
                f"{json.dumps(cidr)} is not an IPv4 network (allowed: a CIDR such as 10.0.0.0/16)",
            )


def _check_deregistration_delay(document: Document, place: KeyPath) -> None:
    delay = value_at(document.data, place)
    try:
        seconds = 0.0 if delay is None else seconds_of(delay)
    except ImmutableError:  # the schema says so
        return
    if seconds > LONGEST_DELAY or seconds % 1:
        document.add_problem(
            place, f"a target group has no such delay (allowed: whole seconds from 0 to {LONGEST_DELAY})"
        )
