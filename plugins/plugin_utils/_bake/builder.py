# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What one bake needs to know, and the interface of the builders that Packer bakes images with."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from ...module_utils._packer.result import BuildResult
from .._definition.model import Definition, Target
from .._image_model import digest_hex
from .variables import BakeVariables


@dataclass(frozen=True)
class BakeJob:
    """The image to bake.

    Attributes:
        digest: the image's, ``sha256:<hex>``.
        build: the provider and architecture, such as ``qemu-x86_64``.
        inputs: every input of the digest, as ``bake_inputs`` returns them.
        base: the resolved base, as ``resolve_base`` returns it.
    """

    definition: Definition
    target: Target
    digest: str
    build: str
    inputs: Mapping[str, Any]
    base: Mapping[str, Any]
    variables: BakeVariables = field(repr=False)

    @property
    def hex(self) -> str:
        """The digest without its algorithm."""
        return digest_hex(self.digest)

    @property
    def label(self) -> str:
        """The service and its version, for messages."""
        return f"{self.definition.service} {self.definition.version}"


@dataclass(frozen=True)
class BakeWorkspace:
    """The files of one bake on the controller. All of them except the log are removed when the bake ends.

    Attributes:
        folder: on disk.
        memory: a folder for what must not reach a disk.
        log: Packer's log.
        marker: unique text that is part of everything sent into the guest.
    """

    folder: Path
    memory: Path
    log: Path
    marker: str

    @property
    def private_key(self) -> Path:
        """The SSH key of this bake. Its public key is beside it, with the suffix ``.pub``."""
        return self.memory / "key"

    @property
    def sbom_sources(self) -> Path:
        """A tarball of the guest's files that the SBOM is made from, if the builder collects them."""
        return self.folder / "sbom-sources.tar.gz"

    @property
    def console(self) -> Path:
        """The console of the build machine, if the builder can read it."""
        return self.folder / "console.log"


class PackerBuilder(NamedTuple):
    """One builder of a Packer template.

    Attributes:
        settings: the builder as plain data.
        cleanup: lines of shell that run as root at the end of the provisioning.
        environment: what Packer's environment has in addition.
        container: whether the build machine is a container.
        secrets: texts that must not be in the log, beside the bake's variables.
    """

    settings: Mapping[str, Any]
    cleanup: tuple[str, ...] = ()
    environment: Mapping[str, str] = {}  # never changed
    container: bool = False
    secrets: tuple[str, ...] = ()


class Builder(Protocol):
    """Bakes the image of one job.

    Attributes:
        plugin: the name of the Packer plugin that contains the builder.
        user: the user who logs in to the build machine.
        collects_sbom_sources: whether the guest sends the files that the SBOM is made from, because its disk cannot be
            read.
        provenance: facts for the image's provenance.
    """

    plugin: str
    user: str
    collects_sbom_sources: bool
    provenance: Mapping[str, Any]

    def prepared(self, workspace: BakeWorkspace) -> AbstractContextManager[PackerBuilder]:
        """Return a context with Packer's builder. What it creates for the bake is removed at the end.

        Raises BakeError.
        """

    def inspect(self, workspace: BakeWorkspace, result: BuildResult, /) -> Mapping[str, bytes]:
        """Check the image and return the files to store with its record, by name.

        Raises BakeError for an image that must not be used, ImageError for one that cannot be read.
        """

    def save(self, workspace: BakeWorkspace, result: BuildResult, /) -> Mapping[str, Any]:
        """Move the image to its final place and return its artifact (plain data). Raises BakeError."""
