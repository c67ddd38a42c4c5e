# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Images of virtual machines on this machine: one disk each, in the store's folder.

The simulated provider uses them, too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from .._core.errors import ProviderError

# For each artifact a description of everything that uses it.
FindUsers = Callable[[Sequence[Mapping[str, Any]]], Sequence[Sequence[str]]]


class DiskImages:
    """See ``contract.Images``.

    Args:
        find_users: finds the machines that run from a disk. None for images that are opened without their provider.
        folder: the store's folder of images. A disk outside it is never removed, whatever its record says.
    """

    def __init__(self, find_users: FindUsers | None = None, folder: Path | None = None) -> None:
        self._find_users = find_users
        self._folder = folder

    def build(self, architecture: str) -> str:
        return f"qemu-{architecture}"

    def present(self, artifact: Mapping[str, Any]) -> bool:
        return "path" in artifact and Path(artifact["path"]).exists()

    def copy(
        self,
        artifact: Mapping[str, Any],
        places: Mapping[str, str],
        tags: Mapping[str, str],  # noqa: ARG002  a file has no tags
    ) -> Mapping[str, Any]:
        if places:
            raise ProviderError(f"a disk of this machine cannot be copied to {', '.join(places)}")
        return artifact

    def users(
        self,
        artifacts: Sequence[Mapping[str, Any]],
        shared: bool = True,  # noqa: ARG002  there are no accounts on this machine
    ) -> Sequence[Sequence[str]]:
        if self._find_users is None:
            raise ProviderError("only the provider itself knows which machines run an image")
        return [
            [*users, *([] if self._owns(artifact) else [f"its disk {artifact.get('path')} is not in this store"])]
            for artifact, users in zip(artifacts, self._find_users(artifacts), strict=True)
        ]

    def _owns(self, artifact: Mapping[str, Any]) -> bool:
        """Whether the disk is in the folder of images, and not by a symbolic link."""
        path = artifact.get("path")
        if self._folder is None or not isinstance(path, str):
            return False
        return Path(path).resolve().is_relative_to(self._folder.resolve())

    def remove(self, artifact: Mapping[str, Any]) -> None:
        if not self._owns(artifact):
            raise ProviderError(f"the image's disk {artifact.get('path')} is not in this store, so it is not removed")
        try:
            Path(artifact["path"]).unlink(missing_ok=True)
        except OSError as error:
            raise ProviderError(f"the image's disk cannot be removed: {artifact['path']}: {error.strerror}") from error

    def remove_copies(
        self,
        needed: Collection[str],  # noqa: ARG002  a machine runs from the disk itself
        *,
        check: bool = False,  # noqa: ARG002
    ) -> Sequence[str]:
        return ()

    def publish(
        self,
        name: str,  # noqa: ARG002  no other tool reads these disks by name
        artifact: Mapping[str, Any],  # noqa: ARG002
        *,
        check: bool = False,  # noqa: ARG002
    ) -> Mapping[str, str]:
        return {}
