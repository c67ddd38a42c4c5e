# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an image must not contain after its bake, and what is kept of one that does not."""

from __future__ import annotations

from collections.abc import Mapping

from .._core.errors import BakeError
from .._core.progress import Report
from .._image_model import MANIFEST_FILE, SBOM_FILE
from .._inspection.image import Inspection
from .builder import BakeJob, BakeWorkspace


def residue_needles(job: BakeJob, workspace: BakeWorkspace) -> dict[str, bytes]:
    """Return what must not be anywhere in the image, by the name to report: secrets and the marker of the payload."""
    return {
        "the payload's marker": workspace.marker.encode(),
        **{name: text.encode() for name, text in job.variables.values.items()},
    }


def inspected_files(
    inspection: Inspection, job: BakeJob, workspace: BakeWorkspace, report: Report
) -> Mapping[str, bytes]:
    """Return the manifest and the SBOM, by their names in the store. Raises BakeError if the image contains residue."""
    for name in inspection.not_searched:
        report(f"{job.label}: {name} is too short to search the image for")
    if inspection.findings:
        found = "; ".join(inspection.findings[:10])
        raise BakeError(
            f"{job.label}: the image contains residue of the bake: {found} (complete log: {workspace.log})",
            residue=list(inspection.findings),
            log=str(workspace.log),
        )
    return {MANIFEST_FILE: inspection.manifest.to_gzip(), SBOM_FILE: inspection.sbom}
