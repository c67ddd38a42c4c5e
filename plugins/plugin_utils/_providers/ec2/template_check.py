# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Finds in a launch template what would keep a swap from its work, before the swap begins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..._aws.clients import Clients, aws_errors
from ..._core.errors import ProviderError

ON_DEMAND = "on-demand"


def check_template(clients: Clients, machine: Mapping[str, Any]) -> None:
    """Refuse a launch template whose instances a swap could not stop, start again or remove.

    Raises ProviderError that names all obstacles. Makes one call, and none without a template.
    """
    if not machine.get("launch_template"):
        return
    template, version = machine["launch_template"]
    with aws_errors(doing=f"reading launch template {template}"):
        found = clients.ec2.describe_launch_template_versions(LaunchTemplateId=template, Versions=[str(version)])
    obstacles = template_obstacles(found["LaunchTemplateVersions"][0]["LaunchTemplateData"])
    if obstacles:
        raise ProviderError(
            f"machine.launch_template: version {version} of {template} cannot be used for a fleet: "
            f"{'; '.join(obstacles)}. Nothing was changed. Name a version without that",
            permanent=True,
        )


def template_obstacles(data: Mapping[str, Any]) -> list[str]:
    """What keeps a swap from its work in a template's data, as EC2 describes it. Pure."""
    obstacles = []
    market = data.get("InstanceMarketOptions", {}).get("MarketType", ON_DEMAND)
    if market != ON_DEMAND:
        obstacles.append(
            f"it requests {market} instances (InstanceMarketOptions), which EC2 may end at any time without a fault of "
            "the image, and which a swap cannot always stop and start again"
        )
    if data.get("HibernationOptions", {}).get("Configured"):
        obstacles.append("it allows hibernation (HibernationOptions), which writes secrets in memory to a disk")
    if data.get("DisableApiTermination"):
        obstacles.append("its instances cannot be removed (DisableApiTermination)")
    if data.get("DisableApiStop"):
        obstacles.append("its instances cannot be stopped or removed (DisableApiStop)")
    return obstacles
