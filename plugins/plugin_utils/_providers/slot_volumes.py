# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The data volumes of slots, as a launch needs them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from .._core.errors import ProviderError
from .._core.gibibytes import GIB, gib
from .contract import LaunchRequest, Volume
from .tags import VOLUMES


def volumes_by_slot(
    requests: Sequence[LaunchRequest], volumes_of: Callable[[str], Sequence[Volume]]
) -> Mapping[int, Sequence[Volume]]:
    """Return by slot the volumes that a new instance there will have. Reads nothing if no instance gets a volume.

    Args:
        requests: of one fleet.
        volumes_of: the volumes of a fleet.
    """
    if not any(request.volumes or request.tags.get(VOLUMES) for request in requests):
        return {}
    found: dict[int, list[Volume]] = {}
    for volume in sorted(volumes_of(requests[0].fleet), key=lambda volume: volume.name):
        found.setdefault(volume.slot, []).append(volume)
    return found


def refuse_other_holders(volumes: Iterable[Volume], instance_id: str) -> None:
    """Raise ProviderError if a volume is attached to another instance than this one."""
    elsewhere = [
        f"{volume.id} is attached to {volume.attached_to}"
        for volume in volumes
        if volume.attached_to not in (None, instance_id)
    ]
    if elsewhere:
        raise ProviderError(f"cannot attach to {instance_id}: {', '.join(elsewhere)}")


def refuse_shrinking(volume: Volume, size: int) -> None:
    """Raise ProviderError if a volume of a cloud has more bytes than ``size``."""
    if size < volume.size:
        raise ProviderError(f"{volume.id} has {volume.size // GIB} GiB and cannot shrink to {gib(size)} GiB")
