# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""By what an instance that is a container is found, through the engine that runs it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ContainerAddress:
    """A container of this machine."""

    engine: str  # "podman" or "docker"
    folder: str  # where the store keeps what the engine runs from
    name: str  # of the container
    # A folder in memory for Ansible's files. Others than root cannot replace files in it.
    remote_tmp: str = "/run/ansible"
