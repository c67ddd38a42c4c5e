# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Check that a target's provider supports what the definition requires of it."""

from __future__ import annotations

import ipaddress
import json
import re
from pathlib import Path

from ..._aws.instances import HOP_LIMIT
from ..._core.errors import ImmutableError
from ..._core.units import seconds_of
from ..document import Document, KeyPath, target_names, value_at
from ..ebs_options import refused_options
from ..fleet import AUTOSCALING, merged_fleet
from ..model import RELAYED_PROVIDERS, SECRET_KINDS, BaseKind, ProviderName, SecretKind
from ..ssh_proxy import PLACEHOLDERS, unknown_placeholders
from .certificates import check_certificates
from .openstack import check_group_ids, check_openstack

# By provider, () for any type. The simulated one takes the place of another provider, so it accepts anything.
VOLUME_TYPES: dict[str, tuple[str, ...]] = {
    "qemu": ("qcow2", "raw"),
    "container": ("folder", "image"),
    "aws": ("gp3", "gp2", "io1", "io2", "st1", "sc1", "standard"),
    "openstack": (),  # each cloud has its own
}
PROVIDERS_WITHOUT_ZONES: tuple[ProviderName, ...] = ("qemu", "container")
_LOCAL: tuple[ProviderName, ...] = ("qemu", "container")
_CLOUDS: tuple[ProviderName, ...] = ("aws", "openstack")
# Keys that not every provider uses, with the real ones that do. All providers use the keys that are missing here.
PROVIDERS_OF_KEY: dict[KeyPath, tuple[ProviderName, ...]] = {
    **{
        (key,): ("aws",)
        for key in (
            "region",
            "profile",
            "role",
            "endpoint_url",
            "identity_certificates",
            "probe",
            "external_id",
        )
    },
    **{(key,): _CLOUDS for key in ("network", "evidence", "snapshots", "tags", "image_from")},
    ("cloud",): ("openstack",),
    ("network", "subnets"): ("aws",),
    **{("network", key): ("openstack",) for key in ("networks", "floating_network")},
    **{("machine", key): ("openstack",) for key in ("flavor", "server_group", "config_drive")},
    **{
        ("machine", key): ("aws",)
        for key in ("type", "instance_profile", "launch_template", "root_size", "metadata_hop_limit")
    },
    ("engine",): ("container",),
    ("reach",): _LOCAL,
    **{("machine", key): _LOCAL for key in ("memory", "cpus")},
    **{("build", key): ("aws",) for key in ("region", "type", "subnet", "encrypt", "kms_key", "ssh_cidrs")},
    **{("build", key): _CLOUDS for key in ("ssh_username", "options")},
    **{
        ("build", key): ("openstack",)
        for key in ("flavor", "networks", "security_groups", "floating_network", "zone", "config_drive", "volume")
    },
    **{("build", key): ("qemu",) for key in ("memory", "cpus")},
    **{("traffic", key): ("aws",) for key in ("target_groups", "rule", "deregistration_delay")},
    ("traffic", "pool"): ("openstack",),
    **{("traffic", key): (*_LOCAL, "openstack") for key in ("bind", "port")},
}
_AWS_GROUP = re.compile(r"sg-[0-9a-f]{8,17}")
LARGEST_PORT = 65535
LONGEST_DELAY = 3600  # seconds: of the deregistration of a target, see ModifyTargetGroupAttributes
LOOPBACK_NAMES = ("localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback", "0")
BASES_BY_PROVIDER: dict[str, tuple[BaseKind, ...]] = {
    "aws": ("ami",),
    "openstack": ("glance",),
    "qemu": ("debian", "qcow2", "url"),
    "container": ("debian", "container", "archive"),
}
SECRETS_BY_PROVIDER: dict[str, tuple[SecretKind, ...]] = {
    "aws": ("ssm",),
    "openstack": (),
    "qemu": ("env", "variable"),
    "container": ("env", "variable"),
}


def check_targets(document: Document, folder: Path) -> None:
    """Add a problem for everything in a target that its provider does not support. ``folder``: the definition's."""
    closed = value_at(document.data, ("seal", "shell")) == "off"
    for name in target_names(document.data):
        place = ("targets", name)
        provider = value_at(document.data, (*place, "provider"))
        if closed and value_at(document.data, (*place, "authorized_key")) is not None:
            document.add_problem((*place, "authorized_key"), "nobody can log in if seal.shell is off; remove this key")
        if provider in PROVIDERS_WITHOUT_ZONES and value_at(document.data, (*place, "zones")) is not None:
            document.add_problem((*place, "zones"), f"the provider {provider} has no zones; remove this key")
        if (
            isinstance(provider, str)
            and provider != "simulated"
            and value_at(document.data, (*place, "simulation")) is not None
        ):
            document.add_problem(
                (*place, "simulation"),
                f"the provider {provider} runs real machines; remove this key or set provider: simulated",
            )
        if isinstance(provider, str) and VOLUME_TYPES.get(provider):
            _check_volume_types(document, name, provider)
        if isinstance(provider, str) and provider in BASES_BY_PROVIDER:
            _check_keys(document, place, provider)
            _check_base(document, name, provider)
            _check_secrets(document, place, provider)
        if isinstance(provider, str):
            _check_tcp_probe(document, name, provider)
        if provider == "aws":
            _check_aws(document, name)
            check_certificates(document, (*place, "identity_certificates"), folder)
        if provider == "openstack":
            check_openstack(document, name)
        _check_reach(document, (*place, "reach"))


def _check_tcp_probe(document: Document, target: str, provider: str) -> None:
    healths: tuple[KeyPath, ...] = (("targets", target, "health"), ("health",))
    place = next(((*keys, "tcp") for keys in healths if value_at(document.data, (*keys, "tcp")) is not None), ())
    probe = value_at(document.data, place) if place else None
    if not isinstance(probe, dict):
        return
    expects = probe.get("expect") is not None
    requests = any(value_at(document.data, (*keys, "http")) is not None for keys in healths)
    if provider in RELAYED_PROVIDERS and not expects and not requests:
        document.add_problem(
            place,
            f"a connection proves nothing on target {target}: the network of {provider} accepts it before the guest "
            "does, so a service that is down would pass; add expect with bytes that the service answers, and send with "
            'bytes that it needs first (for SSH, expect: "SSH-2.0"; for other services see how-to/tcp-probes)',
        )
    if expects and value_at(document.data, ("targets", target, "probe")) == "balancer":
        document.add_problem(
            (*place, "expect"),
            f"probe: balancer lets the target group of target {target} decide, which cannot send or expect bytes; "
            "remove send and expect, or set probe: direct",
        )


def _check_keys(document: Document, place: KeyPath, provider: str) -> None:
    for keys, users in PROVIDERS_OF_KEY.items():
        if provider not in users and value_at(document.data, (*place, *keys)) is not None:
            document.add_problem(
                (*place, *keys),
                f"the provider {provider} ignores this key, which is for {' and '.join(users)}; remove it",
            )


def _check_reach(document: Document, place: KeyPath) -> None:
    """What is the controller's loopback by its spelling alone. Names are resolved when a guest is started."""
    reach = value_at(document.data, place)
    for seen, meant in reach.items() if isinstance(reach, dict) else ():
        for text in (seen, meant) if isinstance(seen, str) and isinstance(meant, str) else ():
            host, _colon, port = text.rpartition(":")
            if port.isdecimal() and int(port) > LARGEST_PORT:
                document.add_problem((*place, seen), f"{port} is not a port (allowed: 1 to {LARGEST_PORT})")
            if host.lower().rstrip(".") in LOOPBACK_NAMES or host.startswith(("127.", "0.")):
                document.add_problem(
                    (*place, seen),
                    f"{host} is the controller's loopback, which no guest may reach (allowed: another host)",
                )


def _check_base(document: Document, target: str, provider: str) -> None:
    if value_at(document.data, ("targets", target, "image_from")) is not None:
        return  # it bakes nothing
    own: KeyPath = ("targets", target, "base")
    base = value_at(document.data, own)
    place = ("image", "base") if base is None else own
    base = value_at(document.data, place)
    kinds = {kind for allowed in BASES_BY_PROVIDER.values() for kind in allowed}
    for kind in sorted(kinds & set(base)) if isinstance(base, dict) else []:
        if kind not in BASES_BY_PROVIDER[provider]:
            what = f"the provider {provider} of target {target} cannot bake from {kind}"
            document.add_problem(
                (*place, kind),
                f"{what} (allowed: {', '.join(BASES_BY_PROVIDER[provider])}; a target may set its own base)",
            )


def _check_secrets(document: Document, place: KeyPath, provider: str) -> None:
    secrets = value_at(document.data, (*place, "secrets"))
    for name, source in secrets.items() if isinstance(secrets, dict) else []:
        kind = next(iter(source), None) if isinstance(source, dict) else None
        if isinstance(kind, str) and kind in SECRET_KINDS and kind not in SECRETS_BY_PROVIDER[provider]:
            allowed = f"allowed: {' or '.join(SECRETS_BY_PROVIDER[provider])}"
            if not SECRETS_BY_PROVIDER[provider]:
                allowed = "it hands over none; let the service fetch them"
            document.add_problem(
                (*place, "secrets", name, kind),
                f"the provider {provider} does not support secrets from {kind} ({allowed})",
            )


def _check_aws(document: Document, target: str) -> None:
    place: KeyPath = ("targets", target)
    if value_at(document.data, (*place, "network", "subnets")) is None:
        document.add_problem(
            place, "the provider aws requires the subnets of the instances (allowed: network with subnets)"
        )
    _check_private_network(document, place)
    check_group_ids(document, (*place, "network"), _AWS_GROUP, "an ID such as sg-0123456789abcdef0")
    _check_bucket_evidence(document, target)
    options = value_at(document.data, (*place, "build", "options"))
    for name, reason in refused_options(options) if isinstance(options, dict) else ():
        document.add_problem(
            (*place, "build", "options", name), f"cannot be passed to Packer: {reason}; remove this option"
        )
    subnets, zones = value_at(document.data, (*place, "network", "subnets")), value_at(document.data, (*place, "zones"))
    for number, zone in enumerate(zones if isinstance(zones, list) else []):
        if isinstance(subnets, dict) and zone not in subnets:
            document.add_problem(
                (*place, "zones", number), f"{json.dumps(zone)} has no subnet (allowed: {', '.join(map(str, subnets))})"
            )
    if merged_fleet(document.data, target).get("engine") == AUTOSCALING:  # the group defines its target groups
        return
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
    if merged_fleet(document.data, target).get("strategy") == "blue_green" and count == 1:
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


def _check_volume_types(document: Document, target: str, provider: str) -> None:
    volumes = value_at(document.data, ("data",))
    for number in range(len(volumes) if isinstance(volumes, list) else 0):
        place = ("data", number, "type")
        kind = value_at(document.data, place)
        if isinstance(kind, str) and kind not in VOLUME_TYPES[provider]:
            problem = f"{json.dumps(kind)} is not a volume type on target {target}, whose provider is {provider}"
            document.add_problem(place, f"{problem} (allowed: {', '.join(VOLUME_TYPES[provider])})")
