# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What refers to images of this machine, and their removal. An artifact is ``{"path": ...}``, a disk that machines run from directly."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..._core.errors import ProviderError


def image_users(machines: Path, artifacts: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """For each artifact the machines that were made from its disk, running or not, in words.

    Args:
        machines: the provider's folder ``machines/<fleet>/<id>/``.
    """
    users: dict[str, list[str]] = {}
    for document in sorted(machines.glob("*/*/machine.json")):
        try:
            disk = json.loads(document.read_bytes())["disk"]
        except FileNotFoundError:
            continue  # it went meanwhile
        except (ValueError, KeyError) as error:
            raise ProviderError(
                f"{document} is not the document of a machine, so it is not known which image it runs: {error}"
            ) from error
        users.setdefault(disk, []).append(
            f"machine {document.parent.name} of {document.parent.parent.name} runs from its disk"
        )
    return [users.get(str(artifact["path"]), []) for artifact in artifacts]
