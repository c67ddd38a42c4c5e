# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which containers run from an image. An artifact is ``{"path": ..., "image": ...}``: an archive and its image's id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..._core.errors import ProviderError
from ..machine_document import DOCUMENT
from .machine import MachineFolder


def image_users(machines: Path, artifacts: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """For each artifact a description of the containers, running or not, of its image.

    Args:
        machines: folder that contains ``<fleet>/<id>/machine.json`` for each container.

    Raises ProviderError if such a document cannot be read.
    """
    users: dict[str, list[str]] = {}
    for document in sorted(machines.glob(f"*/*/{DOCUMENT}")):
        machine = MachineFolder(document.parent)
        facts = machine.facts()
        if facts is None:
            continue  # it was removed meanwhile
        if "artifact" not in facts:
            raise ProviderError(f"{document} is not the document of a machine, so its image is unknown")
        words = f"container {machine.id} of {machine.fleet} runs from its image"
        for key in {str(facts["artifact"].get(name)) for name in ("path", "image")}:
            users.setdefault(key, []).append(words)
    return [_of(users, artifact) for artifact in artifacts]


def _of(users: Mapping[str, list[str]], artifact: Mapping[str, Any]) -> list[str]:
    found = [words for name in ("path", "image") for words in users.get(str(artifact.get(name)), [])]
    return list(dict.fromkeys(found))
