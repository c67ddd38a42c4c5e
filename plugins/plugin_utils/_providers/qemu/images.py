# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Images of virtual machines on this machine: a disk each, in the store's folder."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..._core.errors import ProviderError
from .image_users import image_users, remove_image


class QemuImages:
    """See ``providers.base.Images``. ``machines``: the folder of those that may run from them."""

    def __init__(self, machines: Path | None = None) -> None:
        self._machines = machines

    def build(self, architecture: str) -> str:
        return f"qemu-{architecture}"

    def present(self, artifact: Mapping[str, Any]) -> bool:
        return "path" in artifact and Path(artifact["path"]).exists()

    def copy(self, artifact: Mapping[str, Any], places: Mapping[str, str], tags: Mapping[str, str]) -> Mapping[str, Any]:  # noqa: ARG002  a file has none
        if places:
            raise ProviderError(f"a disk of this machine cannot be copied to {', '.join(places)}")
        return artifact

    def users(self, artifacts: Sequence[Mapping[str, Any]], shared: bool = True) -> Sequence[Sequence[str]]:  # noqa: ARG002  there are no accounts here
        if self._machines is None:
            raise ProviderError("which machines run an image is known to its provider alone")
        return image_users(self._machines, artifacts)

    def remove(self, artifact: Mapping[str, Any]) -> None:
        remove_image(artifact)

    def publish(self, name: str, artifact: Mapping[str, Any], *, check: bool = False) -> Mapping[str, str]:  # noqa: ARG002  nobody else reads our disks
        return {}
