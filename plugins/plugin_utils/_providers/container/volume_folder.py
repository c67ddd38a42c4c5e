# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The folder of one data volume and its document, ``volume.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypedDict

from ..._core.documents import mismatch, parse_json
from ..._core.errors import ProviderError, StoreError
from ..._core.files import write_atomically

DOCUMENT = "volume.json"
Kind = Literal["folder", "image"]
FOLDER: Final = "folder"
IMAGE: Final = "image"
KINDS: tuple[Kind, ...] = (FOLDER, IMAGE)  # the first is the default
CREATING = "creating"  # an empty file: the volume is being created, and nothing was ever written to it


class _Required(TypedDict):
    slot: int
    name: str
    size: int
    kind: Kind
    attached_to: str | None
    attached_at: float


class VolumeFacts(_Required, total=False):
    """What is in ``volume.json``.

    The owners are ``uid:gid`` in the engine's user namespace: whose data it is, whose it was before a change, and
    both, separated by a space, while files are changed.
    """

    owner: str
    previous: str
    change: str


class VolumeFolder:
    """One volume's folder, ``volumes/<fleet>/<slot>-<name>``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def id(self) -> str:
        return f"{self.fleet}/{self.path.name}"

    @property
    def fleet(self) -> str:
        return self.path.parent.name

    @property
    def folder(self) -> Path:
        """The data of a volume of the kind ``folder``."""
        return self.path / "data"

    @property
    def image(self) -> Path:
        """The file system of a volume of the kind ``image``."""
        return self.path / "disk.img"

    @property
    def mounted(self) -> Path:
        """Where the file system of an image is mounted."""
        return self.path / "mounted"

    @property
    def restricted(self) -> Path:
        """Where the data is mounted again, with options, for an engine that has none for folders."""
        return self.path / "restricted"

    @property
    def in_image(self) -> Path:
        """The data in the mounted file system. Beside it is what a file system keeps for itself."""
        return self.mounted / "data"

    def data(self, kind: Kind) -> Path:
        """The folder that a container mounts."""
        return self.folder if kind == FOLDER else self.in_image

    @property
    def exists(self) -> bool:
        return (self.path / DOCUMENT).exists()

    def facts(self) -> VolumeFacts:
        """Read the document.

        Raises ProviderError if there is no volume, StoreError if the document is damaged.
        """
        path = self.path / DOCUMENT
        try:
            facts = parse_json(path.read_bytes())
            problem = mismatch(facts, VolumeFacts)
        except (FileNotFoundError, NotADirectoryError):
            raise ProviderError(f"there is no volume {self.id}") from None
        except ValueError as error:
            problem = str(error)
        if problem:  # not a ProviderError, which means that the volume is gone
            raise StoreError(f"{path} is not the document of a volume ({problem}); restore it, the data is untouched")
        known: VolumeFacts = facts
        return known

    def save(self, facts: Mapping[str, Any]) -> None:
        write_atomically(self.path / DOCUMENT, json.dumps(facts, indent=1).encode())

    def update(self, **changes: Any) -> None:
        """Change some facts; None removes an owner."""
        facts = {**self.facts(), **changes}
        gone = [name for name in ("owner", "previous", "change") if name in facts and facts[name] is None]
        self.save({name: value for name, value in facts.items() if name not in gone})
