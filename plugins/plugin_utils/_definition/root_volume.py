# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A volume as the root disk of a build machine. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RootVolume:
    """A volume that a build machine on OpenStack boots from."""

    size: int  # bytes
    type: str = ""  # "" for the cloud's default
    zone: str = ""  # "" for that of the build machine
