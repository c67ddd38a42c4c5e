# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which machines run from an image. An artifact is ``{"path": ...}``: a disk that machines run from directly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..._core.documents import parse_json
from ..._core.errors import ProviderError


def image_users(machines: Path, artifacts: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """For each artifact a description of the machines, running or not, that boot from its disk.

    Args:
        machines: folder that contains ``<fleet>/<id>/machine.json`` for each machine.

    Raises ProviderError if such a document cannot be read.
    """
    users: dict[str, list[str]] = {}
    for document in sorted(machines.glob("*/*/machine.json")):
        try:
            facts = parse_json(document.read_bytes())
            disk, previous = str(facts["disk"]), str(facts.get("previous", {}).get("disk", ""))
        except FileNotFoundError:
            continue  # it was removed meanwhile
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise ProviderError(
                f"{document} is not the document of a machine, so its image is unknown: {error}"
            ) from error
        machine = f"machine {document.parent.name} of {document.parent.parent.name}"
        users.setdefault(disk, []).append(f"{machine} runs from its disk")
        if previous and previous != disk:
            users.setdefault(previous, []).append(f"{machine} may have to go back to its disk")
    return [users.get(str(artifact.get("path")), []) for artifact in artifacts]
