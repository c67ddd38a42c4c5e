# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Images of containers on this machine: one archive each, in the store's folder. An engine loads it once."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from .._core.errors import ProviderError
from .._core.locked import FILE, Locked
from .container_engine import PODMAN, ContainerEngine
from .disk_images import DiskImages, FindUsers

ARCHIVE = "image.tar"
LOAD_TIMEOUT = 900.0  # seconds; a gigabyte takes less than a minute on an idle machine
_ID = re.compile(r"sha256:[0-9a-f]{64}")


class ContainerImages(DiskImages):
    """See ``contract.Images``. The artifact is the archive, and what the engine loaded from it is only a copy.

    Args:
        find_users: see ``DiskImages``.
        folder: see ``DiskImages``.
        engine: what may have loaded images. None for images that are opened without their provider.
    """

    def __init__(
        self, find_users: FindUsers | None = None, folder: Path | None = None, engine: ContainerEngine | None = None
    ) -> None:
        super().__init__(find_users, folder)
        self._engine = engine

    def build(self, architecture: str) -> str:
        return f"container-{architecture}"

    def remove(self, artifact: Mapping[str, Any]) -> None:
        super().remove(artifact)
        if self._engine and has_image(self._engine, image_id(artifact)):
            self._engine.run("image", "rm", image_id(artifact))

    def remove_copies(self, needed: Collection[str], *, check: bool = False) -> Sequence[str]:
        """See ``contract.Images``. The images of docker are those of the whole machine, so all of them stay."""
        engine = self._engine
        if engine is None or engine.name != PODMAN:
            return ()
        removed = []
        for image, names in _listed(engine):
            if image in needed or engine.run("ps", "--all", "--quiet", f"--filter=ancestor={image}").strip():
                continue
            if not check:
                # Podman refuses to remove an image that a container has come to use meanwhile.
                engine.run("image", "rm", *(names or [image]), check=False)
            if check or not has_image(engine, f"sha256:{image}"):
                removed.append(f"{names[0] if names else 'of an image'} ({image[:12]})")
        return removed


def _listed(engine: ContainerEngine) -> list[tuple[str, list[str]]]:
    """The id and the names of each image of the engine."""
    found = engine.json("images", "--all", "--format", "json")
    images = []
    for row in found if isinstance(found, list) else []:
        image, names = (row.get("Id"), row.get("Names")) if isinstance(row, dict) else (None, None)
        if isinstance(image, str) and _ID.fullmatch(f"sha256:{image}"):
            images.append((image, [str(name) for name in names] if isinstance(names, list) else []))
    return images


def image_id(artifact: Mapping[str, Any]) -> str:
    """Return the id that the engine gives the image of an artifact. Raises ProviderError if there is none."""
    found = artifact.get("image")
    if not isinstance(found, str) or not _ID.fullmatch(found):
        raise ProviderError("the image's record names no container image (bake it again)", permanent=True)
    return found


def load_image(engine: ContainerEngine, artifact: Mapping[str, Any]) -> None:
    """Load an image into the engine, unless it has it.

    The engine computes the id from what it loaded, so an archive with other contents than the record's is refused.
    Raises ProviderError.
    """
    wanted = image_id(artifact)
    if has_image(engine, wanted):
        return
    archive = Path(str(artifact.get("path")))
    try:
        lock = Locked(archive, FILE)
    except FileNotFoundError:
        raise ProviderError(f"the image's archive is missing: {archive} (bake it again)") from None
    except OSError as error:
        raise ProviderError(f"the image's archive cannot be read: {archive}: {error.strerror}") from error
    with lock:  # another run may load it
        if not has_image(engine, wanted):
            engine.run("load", "--quiet", "--input", str(archive), timeout=LOAD_TIMEOUT)
    if not has_image(engine, wanted):
        raise ProviderError(f"the archive {archive} does not contain the image {wanted} of its record (bake it again)")


def has_image(engine: ContainerEngine, wanted: str) -> bool:
    """Whether the engine has an image of this id."""
    return engine.run("image", "inspect", "--format", "{{.Id}}", wanted, check=False).strip() in (
        wanted,
        wanted.removeprefix("sha256:"),
    )
