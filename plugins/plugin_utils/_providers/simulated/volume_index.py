# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Volumes by id, indexed by the instance that holds them: each observation asks this for each machine."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Mapping

from ..contract import Volume


class VolumeIndex(UserDict[str, Volume]):
    """A dict of volumes by id."""

    def __init__(self, volumes: Mapping[str, Volume] | None = None) -> None:
        self._by_holder: dict[str, dict[str, None]] = {}  # volume ids in order of attachment
        super().__init__(volumes or {})

    def __setitem__(self, volume_id: str, volume: Volume) -> None:
        self._unindex(volume_id)
        self.data[volume_id] = volume
        if volume.attached_to:
            self._by_holder.setdefault(volume.attached_to, {})[volume_id] = None

    def __delitem__(self, volume_id: str) -> None:
        self._unindex(volume_id)
        del self.data[volume_id]

    def held_by(self, instance_id: str) -> Mapping[str, None]:
        """Ids of the volumes that are attached to an instance."""
        return self._by_holder.get(instance_id, {})

    def _unindex(self, volume_id: str) -> None:
        holder = self.data[volume_id].attached_to if volume_id in self.data else None
        if holder:
            self._by_holder[holder].pop(volume_id)
            if not self._by_holder[holder]:
                del self._by_holder[holder]
