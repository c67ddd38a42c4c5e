# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Inspects an image that a cloud keeps: by its bytes if the cloud gives them, else by what its build machine sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .._core.errors import BakeError, ProviderError
from .._core.progress import Report
from .._image_model import SBOM_FILE
from .._inspection.collected import CollectedFiles
from .._inspection.disk import NoFileSystemError
from .._inspection.image import Inspection, inspect_listing
from .._inspection.listed import NoListingError
from .._inspection.sbom import make_sbom
from .builder import BakeJob, BakeWorkspace
from .residue import inspected_files, residue_needles


@dataclass(frozen=True)
class RemoteImage:
    """An image that a cloud keeps.

    Attributes:
        name: its ID, for messages.
        inspected: what its bytes are read from, for the provenance.
        inspect: reads and inspects the bytes. Gets the needles, see ``residue_needles``.
        is_unreadable: whether an error of the cloud means that this identity or network may not read the bytes.
        remove: removes the image, because it must not be used.
    """

    name: str
    inspected: str
    inspect: Callable[[Mapping[str, bytes]], Inspection]
    is_unreadable: Callable[[ProviderError], bool]
    remove: Callable[[], None]


def inspect_remote_image(
    image: RemoteImage, job: BakeJob, workspace: BakeWorkspace, report: Report
) -> tuple[Mapping[str, bytes], Mapping[str, str]]:
    """Return the files to store with the image's record, and how it was inspected, for its provenance.

    The files are the manifest and the SBOM, or only the SBOM if neither the bytes nor a list of files can be read.
    Raises BakeError for an image with residue, after removing it, and what else ``inspect`` raises.
    """
    inspection: Inspection | bytes
    where: Mapping[str, str]
    try:
        inspection, where = image.inspect(residue_needles(job, workspace)), {"inspected": image.inspected}
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
