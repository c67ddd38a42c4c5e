# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Volumes by id that also know who holds which: that is asked for each machine at each look, so it must not be searched for."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Mapping

from ..contract import Volume


class VolumeIndex(UserDict[str, Volume]):
    def __init__(self, volumes: Mapping[str, Volume] | None = None) -> None:
        self._held: dict[str, dict[str, None]] = {}  # by holder, in order of attachment
        super().__init__(volumes or {})

    def __setitem__(self, volume_id: str, volume: Volume) -> None:
        self._let_go(volume_id)
        self.data[volume_id] = volume
        if volume.attached_to:
            self._held.setdefault(volume.attached_to, {})[volume_id] = None

    def __delitem__(self, volume_id: str) -> None:
        self._let_go(volume_id)
        del self.data[volume_id]

    def held(self, instance_id: str) -> Mapping[str, None]:
        """Ids of what an instance has."""
        return self._held.get(instance_id, {})

    def _let_go(self, volume_id: str) -> None:
        holder = self.data[volume_id].attached_to if volume_id in self.data else None
        if holder:
            self._held[holder].pop(volume_id)
            if not self._held[holder]:
                del self._held[holder]
