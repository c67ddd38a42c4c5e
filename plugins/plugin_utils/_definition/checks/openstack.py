# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Check what a target on OpenStack needs, and that it names nothing that only other clouds have."""

from __future__ import annotations

import re
from pathlib import Path

from ..._core.errors import ImmutableError
from ..._core.gibibytes import GIB
from ..._core.units import bytes_of
from ..._openstack.metadata import MAX_VALUE
from ..document import Document, KeyPath, value_at
from ..fleet import AUTOSCALING, merged_fleet
from ..openstack_options import refused_options
from .security_groups import check_group_ids

_KEY = re.compile(r"[a-zA-Z0-9_:. -]{1,255}")  # of Nova's metadata
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def check_openstack(document: Document, target: str, _folder: Path) -> None:
    """Add a problem for each mistake in a target on OpenStack that the schema cannot tell."""
    place: KeyPath = ("targets", target)
    if value_at(document.data, (*place, "network", "networks")) is None:
        document.add_problem(
            place, "the provider openstack requires the networks of the instances (allowed: network with networks)"
        )
    if value_at(document.data, (*place, "machine", "flavor")) is None:
        document.add_problem(
            place, "the provider openstack requires the flavor of the instances (allowed: machine with flavor)"
        )
    public = value_at(document.data, (*place, "network", "address")) == "public"
    if public and value_at(document.data, (*place, "network", "floating_network")) is None:
        document.add_problem(
            (*place, "network", "address"),
            "an instance has no public address without a floating one (allowed: private, or floating_network as well)",
        )
    if value_at(document.data, (*place, "evidence")) == "bucket":
        document.add_problem(
            (*place, "evidence"), "instances on openstack cannot write to a store in S3 (allowed: console, none)"
        )
    _check_build(document, (*place, "build"))
    _check_tags(document, (*place, "tags"))
    check_group_ids(document, (*place, "network"), _UUID, "a UUID")
    for key in ("bind", "port"):
        if None not in (value_at(document.data, (*place, "traffic", each)) for each in (key, "pool")):
            document.add_problem(
                (*place, "traffic", key), "the load balancer of the pool has its own; remove this key or pool"
            )
    if merged_fleet(document.data, target).get("engine") == AUTOSCALING:
        document.add_problem(place, "engine: autoscaling is for groups on aws (allowed: engine: swap)")


def _check_tags(document: Document, place: KeyPath) -> None:
    tags = value_at(document.data, place)
    for key, value in tags.items() if isinstance(tags, dict) else ():
        if isinstance(key, str) and not _KEY.fullmatch(key):
            document.add_problem(
                (*place, key), "is no key of Nova's metadata (allowed: letters, digits, spaces and - _ : .)"
            )
        if isinstance(value, str) and len(value) > MAX_VALUE:
            document.add_problem((*place, key), f"is too long for Nova (allowed: {MAX_VALUE} characters)")


def _check_build(document: Document, place: KeyPath) -> None:
    check_group_ids(document, place, _UUID, "a UUID")
    options = value_at(document.data, (*place, "options"))
    for name, reason in refused_options(options) if isinstance(options, dict) else ():
        document.add_problem((*place, "options", name), f"cannot be passed to Packer: {reason}; remove this option")
    size = value_at(document.data, (*place, "volume", "size"))
    try:
        wrong = size is not None and bytes_of(size) % GIB != 0
    except ImmutableError:  # the schema says so
        return
    if wrong:
        document.add_problem(
            (*place, "volume", "size"), f"a volume has whole gigabytes; got {size} (allowed: a size such as 10G)"
        )
