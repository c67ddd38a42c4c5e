# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a bake is told, and what differs between what images are baked by: on this machine by QEMU, on AWS by EC2."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ...module_utils._packer.result import BuildResult
from .._definition.model import Definition, Target
from .variables import BakeVariables


@dataclass(frozen=True)
class BakeJob:
    """What is to be baked."""

    definition: Definition
    target: Target
    digest: str
    build: str
    inputs: Mapping[str, Any]
    base: Mapping[str, Any]
    variables: BakeVariables = field(repr=False)

    @property
    def hex(self) -> str:
        return self.digest.removeprefix("sha256:")

    @property
    def label(self) -> str:
        return f"{self.definition.service} {self.definition.version}"


@dataclass(frozen=True)
class BakeWorkspace:
    """Where one bake works on this machine. All of it but the log goes when it ends."""

    work: Path
    memory: Path  # for what must not reach a disk
    log: Path
    marker: str  # stands in all that is sent into the guest

    @property
    def private_key(self) -> Path:
        """Of a pair for this bake alone."""
        return self.memory / "key"

    @property
    def gathered(self) -> Path:
        """What was brought from the guest for an SBOM."""
        return self.work / "gathered.tar.gz"

    @property
    def console(self) -> Path:
        return self.work / "console.log"


class Builder(Protocol):
    """Of one order."""

    plugin: str  # of Packer
    user: str  # who logs in to the build machine
    gathers: bool  # whether the guest is asked for what an SBOM is made of, since its disk cannot be read from here
    facts: Mapping[str, Any]  # for the image's provenance

    def building(self, place: BakeWorkspace) -> AbstractContextManager[tuple[Mapping[str, Any], tuple[str, ...]]]:
        """Packer's builder, and the last lines of shell for the guest. What was made for it goes at the end."""

    def inspect(self, place: BakeWorkspace, result: BuildResult, /) -> Mapping[str, bytes]:
        """Files to keep beside the record, by name. Raises BakeError for an image that must not be kept."""

    def keep(self, place: BakeWorkspace, result: BuildResult, /) -> Mapping[str, Any]:
        """Move the image to where it stays. Returns the artifact."""
