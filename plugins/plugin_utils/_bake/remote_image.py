# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Inspects an image that a cloud keeps: by its bytes if the cloud gives them, else by what its build machine sent."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from .._core.errors import BakeError, ProviderError
from .._core.progress import Report
from .._image_model import SBOM_FILE
from .._inspection.collected import CollectedFiles
from .._inspection.disk import NoFileSystemError
from .._inspection.image import Inspection, inspect_disk, inspect_image, inspect_listing
from .._inspection.listed import NoListingError
from .._inspection.sbom import make_sbom
from .builder import BakeJob, BakeWorkspace
from .residue import inspected_files, residue_needles
from .template import SSH_TIMEOUT


@dataclass(frozen=True)
class RemoteImage:
    """An image that a cloud keeps.

    Attributes:
        name: its ID, for messages.
        inspected: what its bytes are read from, for the provenance.
        read: writes its bytes to a new file.
        disk_format: of these bytes.
        is_unreadable: whether an error of the cloud means that this identity or network may not read the bytes.
        remove: removes the image, because it must not be used.
    """

    name: str
    inspected: str
    read: Callable[[Path], object]
    disk_format: Literal["raw", "qcow2"]
    is_unreadable: Callable[[ProviderError], bool]
    remove: Callable[[], None]


def inspect_remote_image(
    image: RemoteImage, job: BakeJob, workspace: BakeWorkspace, report: Report
) -> tuple[Mapping[str, bytes], Mapping[str, str]]:
    """Return the files to store with the image's record, and how it was inspected, for its provenance.

    The files are the manifest and the SBOM, or only the SBOM if neither the bytes nor a list of files can be read.
    Raises BakeError for an image with residue, after removing it, and what else ``read`` raises.
    """
    inspection: Inspection | bytes
    where: Mapping[str, str]
    try:
        inspection, where = _inspect(image, job, workspace), {"inspected": image.inspected}
    except (ProviderError, NoFileSystemError) as error:
        if isinstance(error, ProviderError) and not image.is_unreadable(error):
            raise
        inspection, where = _listed(job, workspace, image.name, why=error, report=report)
    if isinstance(inspection, bytes):
        return {SBOM_FILE: inspection}, where
    try:
        return inspected_files(inspection, job, workspace, report), where
    except BakeError:
        image.remove()
        raise


def image_name(job: BakeJob, longest: int, refused: re.Pattern[str]) -> str:
    """Return the name that people see. It is unique, because a bake that is forced makes the same image again.

    Args:
        longest: characters of a name.
        refused: characters that the cloud refuses in names.
    """
    suffix = f"-{job.hex[:12]}-{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}"
    prefix = refused.sub("-", f"{job.definition.service}-{job.definition.version}")
    return prefix[: longest - len(suffix)] + suffix


def marks_of(tags: Mapping[str, str], prefix: str) -> dict[str, str]:
    """Return the tags with this prefix, which are this project's marks, and which nothing may replace."""
    return {key: value for key, value in tags.items() if key.startswith(prefix)}


def ssh_settings(job: BakeJob) -> dict[str, Any]:
    """Return how Packer reaches a build machine in a cloud."""
    build = job.target.build
    return {
        "ssh_username": build.ssh_username,
        "ssh_timeout": build.options.get("ssh_timeout", SSH_TIMEOUT),
        # By default, Packer gives the build machine the SSH agent of the operator.
        "ssh_disable_agent_forwarding": build.options.get("ssh_disable_agent_forwarding", True),
    }


def _inspect(image: RemoteImage, job: BakeJob, workspace: BakeWorkspace) -> Inspection:
    needles, disk = residue_needles(job, workspace), workspace.folder / f"image.{image.disk_format}"
    try:
        image.read(disk)
        if image.disk_format == "raw":
            return inspect_disk(disk, job.digest, needles)
        return inspect_image(disk, workspace.folder, job.digest, needles)
    finally:
        disk.unlink(missing_ok=True)


def _listed(
    job: BakeJob, workspace: BakeWorkspace, name: str, *, why: Exception, report: Report
) -> tuple[Inspection | bytes, Mapping[str, str]]:
    """What the build machine sent of an image whose disk cannot be read: its inspection, or only the SBOM."""
    collected = CollectedFiles(workspace.sbom_sources)
    try:
        inspection = inspect_listing(collected, job.digest)
    except NoListingError as error:
        report(f"{job.label}: {name} has no manifest and was not searched for residue: {why}; {error}")
        sbom = make_sbom(collected, job.digest, job.definition.service, job.definition.version)
        return sbom, {"inspected": "build machine"}
    report(
        f"{job.label}: the manifest of {name} is what the build machine listed, and the disk was not searched for "
        f"secrets: {why}"
    )
    return inspection, {"inspected": "build machine", "manifest_from": "build_machine"}
