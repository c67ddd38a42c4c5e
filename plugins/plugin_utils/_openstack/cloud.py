# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which OpenStack cloud calls go to. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cloud:
    """A cloud as the configuration of OpenStack's clients describes it."""

    name: str = ""  # in clouds.yaml; "" for what the environment says (OS_CLOUD, or OS_AUTH_URL and its like)
