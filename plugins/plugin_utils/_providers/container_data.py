# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The data volumes that a container's image expects, as the artifact in its record lists them.

The builder writes the list as ``artifact["data"]``. The provider mounts the volumes by it and starts a container only
when all of them are attached. A virtual machine reads the same facts from its own disk.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from .._core.documents import mismatch
from .._core.errors import ProviderError

DATA = "data"  # key of the list in the artifact
_OWNER = re.compile(r"[0-9]{1,10}:[0-9]{1,10}")
_MODE = re.compile(r"[0-7]{3,4}")
_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")


class _Row(TypedDict):
    name: str
    mount: str
    owner: str
    mode: str
    noexec: bool
    reown: bool


@dataclass(frozen=True)
class DataMount:
    """One data volume that an image expects.

    Attributes:
        name: as in the definition.
        mount: absolute path in the container.
        owner: ``uid:gid`` of the mount's folder in the image.
        mode: of that folder, octal, such as ``0750``.
        noexec: whether nothing can be executed there.
        reown: whether the files follow the owner's uid and gid.
    """

    name: str
    mount: str
    owner: str
    mode: str
    noexec: bool = False
    reown: bool = False

    @property
    def options(self) -> tuple[str, ...]:
        """The mount options that restrict it."""
        return ("nosuid", "nodev", *(("noexec",) if self.noexec else ()))


def data_mounts(artifact: Mapping[str, Any]) -> tuple[DataMount, ...]:
    """Return the volumes that an artifact lists, () if it lists none. Raises ProviderError if the list is damaged."""
    rows = artifact.get(DATA, [])
    problem = mismatch(rows, Sequence[_Row]) if isinstance(rows, (list, tuple)) else "expected a list"
    if not problem:
        found = tuple(DataMount(**{key: row[key] for key in _Row.__annotations__}) for row in rows)
        problem = next(filter(None, map(_problem, found)), "")
    if problem:
        raise ProviderError(
            f"the data volumes in the image's record are damaged ({problem}): bake the image again", permanent=True
        )
    return found


def artifact_data(
    volumes: Iterable[tuple[str, str, bool, bool]], rows: Mapping[str, Sequence[Any]]
) -> list[dict[str, Any]]:
    """Return ``artifact["data"]``.

    Args:
        volumes: of the definition: name, mount, noexec, reown.
        rows: the manifest's files: by path, type, mode, uid and gid first.

    Raises ProviderError if the image has no folder for a volume.
    """
    found = []
    for name, mount, noexec, reown in volumes:
        row = rows.get(mount)
        if row is None or row[0] != "dir":
            raise ProviderError(f"data volume {name}: the image has no folder {mount}, where the volume is mounted")
        found.append(
            {
                "name": name,
                "mount": mount,
                "owner": f"{row[2]}:{row[3]}",
                "mode": str(row[1]),
                "noexec": noexec,
                "reown": reown,
            }
        )
    return found


def _problem(mount: DataMount) -> str:
    # The values become arguments of programs and paths of mounts.
    parts = mount.mount.split("/")
    sound = mount.mount.startswith("/") and len(parts) > 1 and not any(part in ("", ".", "..") for part in parts[1:])
    if not sound or any(character in mount.mount for character in ",\0\n"):
        return f"{mount.mount!r} is no path that a volume can be mounted at"
    if not _NAME.fullmatch(mount.name):
        return f"{mount.name!r} is no name of a volume"
    if not _OWNER.fullmatch(mount.owner) or not _MODE.fullmatch(mount.mode):
        return f"{mount.owner} with mode {mount.mode} is no owner of a folder"
    return ""
