# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whose data it is: the user or the group of a service may have another number in this image than in the last one.

The rules are those of virtual machines, see ``roles/seal/files/seal/usr/lib/immutable/data``.
"""

from __future__ import annotations

from pathlib import Path

from ..._core.errors import ProviderError
from ..container_data import DataMount
from .data_files import DataFiles
from .volume_folder import VolumeFolder


class OwnerConflict(ProviderError):
    """The data belongs to another user than the image's service."""

    def __init__(self, message: str) -> None:
        super().__init__(message, permanent=True)


def settle_owner(volume: VolumeFolder, data: Path, wanted: DataMount, files: DataFiles) -> None:
    """Make the data belong to the image's service, or say why it does not.

    Nothing may use the data meanwhile. After an interruption, the next call completes or undoes the change.

    Args:
        data: the folder that the container mounts.

    Raises OwnerConflict, ProviderError.
    """
    facts, image = volume.facts(), wanted.owner

    def change_to(before: str, after: str) -> None:
        volume.update(change=f"{before} {after}")
        files.reown(data, "change", before, after)
        volume.update(owner=after, previous=before, change=None)

    owner, change = facts.get("owner", ""), facts.get("change", "")
    old, _space, new = change.partition(" ")
    if change and image == new:
        change_to(old, new)
    elif change and image == old:
        change_to(new, old)
    elif change:
        raise OwnerConflict(
            f"volume {volume.id}: the change of the owner of its files from {old} to {new} was interrupted: "
            "start an image of one of them, which completes it"
        )
    elif owner == image:
        return
    elif not owner:
        _first_owner(volume, data, wanted, files)
    elif facts.get("previous") == image:
        change_to(owner, image)
    elif wanted.reown:
        try:
            files.reown(data, "check", owner, image)
        except ProviderError as error:
            raise OwnerConflict(f"volume {volume.id}: its files cannot change their owner: {error.message}") from error
        change_to(owner, image)
    else:
        raise OwnerConflict(
            f"the files of volume {volume.id} belong to {owner} (uid:gid), and in this image the service has {image}: "
            "pin the numbers in the image, or set reown for the volume"
        )


def _first_owner(volume: VolumeFolder, data: Path, wanted: DataMount, files: DataFiles) -> None:
    if files.is_empty(data):
        files.give(data, wanted.owner, wanted.mode)
    elif files.owner(data) != wanted.owner:
        return  # data that was put in place by hand: nothing says what belongs to whom
    volume.update(owner=wanted.owner)
