# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Take over what an Auto Scaling group or a target group runs. Pure, apart from the checks of the definition."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._aws.clients import Account
from .._aws.tags import PREFIX
from .._core.errors import ImmutableError
from .draft import Draft
from .running_group import RunningGroup
from .yaml_text import has_template, outside

TARGET = "prod"
_AWS_TAGS = "aws:"
_MOST_TAGS = 20  # so that those of this collection fit beside them, see checks/aws_tags
_DEFAULT_USER, _DEFAULT_PYTHON = "admin", "3.11"
# By a part of the name of an AMI: the user that its cloud-init creates, and its Python. See
# https://wiki.debian.org/Cloud/AmazonEC2Image, https://documentation.ubuntu.com/aws/aws-how-to/instances/find-ubuntu-images/
# and https://docs.aws.amazon.com/linux/al2023/ug/python.html
_KNOWN = {
    "debian-11-": ("admin", "3.9"),
    "debian-12-": ("admin", "3.11"),
    "debian-13-": ("admin", "3.13"),
    "ubuntu-focal-": ("ubuntu", "3.8"),
    "ubuntu-jammy-": ("ubuntu", "3.10"),
    "ubuntu-noble-": ("ubuntu", "3.12"),
    "al2023-ami-": ("ec2-user", "3.9"),
}
_CHECK = "the AMI's name does not say which Python it has; check it (python3 --version)"
_CHECK_USER = "the AMI's name does not say which user it has; check targets.prod.build.ssh_username as well"


def take_group(draft: Draft, group: RunningGroup, account: Account) -> None:
    """Take over a group as the target ``prod``. Raises ImmutableError if that is impossible."""
    option = "auto_scaling_group" if group.scaling else "target_group"
    if str(group.image.get("Platform", "")).lower() == "windows":
        raise ImmutableError(f"{option}: {outside(group.name)} runs Windows (allowed: Linux)")
    user, python, known = _system_of(str(group.image.get("Name", "")))
    note = "" if known else f"{_CHECK}. {_CHECK_USER}"
    base = {"ami": group.image.get("ImageId"), "python": python}
    if not draft.take(("image", "base"), base, f"AMI {group.image.get('ImageId')}", note):
        raise ImmutableError(f"{option}: the AMI of {outside(group.name)} cannot be a base: {draft.findings[-1].note}")
    target: dict[str, Any] = {"provider": "aws", "region": group.region}
    given = {"profile": account.profile, "role": account.role, "endpoint_url": account.endpoint_url}
    target |= {key: value for key, value in given.items() if value}
    target["network"] = {"subnets": group.subnets}
    if group.scaling:
        target["fleet"] = {"engine": "autoscaling", "autoscaling": {"group": group.scaling}}
    else:
        target["traffic"] = {"target_groups": [group.target_group["TargetGroupArn"]]}
    draft.require(("targets",), {TARGET: target}, option)
    draft.moved(f"subnets in {', '.join(group.subnets)}", f"targets.{TARGET}.network.subnets")
    draft.moved(f"{'group' if group.scaling else 'target group'} {group.name}", f"targets.{TARGET}")
    _take_machine(draft, group, user)
    _take_tags(draft, group.tags)
    if group.target_group:
        _take_health(draft, group.target_group)
    for what, text in group.left:
        draft.leave(what, text)


def _system_of(name: str) -> tuple[str, str, bool]:
    """The user and the Python of an AMI, and whether its name says so."""
    for part, (user, python) in _KNOWN.items():
        if part in name:
            return user, python, True
    return _DEFAULT_USER, _DEFAULT_PYTHON, False


def _take_machine(draft: Draft, group: RunningGroup, user: str) -> None:
    place = ("targets", TARGET)
    if user != _DEFAULT_USER:
        draft.take((*place, "build", "ssh_username"), user, "the user of the AMI")
    if group.image.get("Architecture") == "arm64":
        draft.take((*place, "build", "type"), "t4g.small", "the architecture arm64")
    if group.scaling:  # its launch template has all of this
        return
    if group.size != 1:
        draft.take(("fleet",), {"size": group.size}, f"{group.size} instances")
    if "security_groups" in group.machine:
        groups = group.machine["security_groups"]
        draft.take((*place, "network", "security_groups"), groups, f"security groups {', '.join(groups)}")
    for key, what in (("type", "instance type"), ("instance_profile", "instance profile")):
        if key in group.machine:
            draft.take((*place, "machine", key), group.machine[key], f"{what} {group.machine[key]}")
    if group.machine.get("metadata_hop_limit", 1) != 1:
        hops = group.machine["metadata_hop_limit"]
        draft.take((*place, "machine", "metadata_hop_limit"), hops, "the hop limit of the metadata service")


def _take_tags(draft: Draft, tags: Mapping[str, str]) -> None:
    """Own tags. Those of AWS and of this collection are set by themselves."""
    own = {key: value for key, value in tags.items() if not key.startswith((_AWS_TAGS, PREFIX))}
    for number, (key, value) in enumerate(sorted(own.items())):
        if number >= _MOST_TAGS:
            draft.leave(f"tag {key}", f"{_MOST_TAGS} others were taken over; add it if there is room")
        else:
            draft.take(("targets", TARGET, "tags", key), value, f"tag {key}")


def _take_health(draft: Draft, described: Mapping[str, Any]) -> None:
    """The checks of a target group, as a probe."""
    port: Any = described.get("HealthCheckPort") or "traffic-port"
    port = described.get("Port") if port == "traffic-port" else port
    port = int(port) if str(port).isdecimal() and len(str(port)) < 6 else port
    protocol = described.get("HealthCheckProtocol")
    what = f"the health check of target group {described.get('TargetGroupName')}"
    if protocol not in ("HTTP", "HTTPS"):
        draft.take(("health",), {"tcp": {"port": port}}, what)
        return
    probe: dict[str, Any] = {"port": port, "path": described.get("HealthCheckPath") or "/"}
    codes = str((described.get("Matcher") or {}).get("HttpCode") or "200").split(",")
    status = [int(code) if code.isdecimal() else code for code in codes]
    if status != [200]:
        probe["status"] = status if len(status) > 1 else status[0]
    if protocol == "HTTPS":
        probe["https"] = {"verify": False}
    if has_template(probe):
        draft.leave(f"{what}, its path", "Ansible would evaluate it as a template in verify.yml; the path is /")
        probe["path"] = "/"
    draft.take(("health",), {"http": probe}, what)
