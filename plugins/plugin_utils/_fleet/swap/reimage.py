# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The check before a swap with the strategy ``reimage``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..._core.errors import FleetError
from ..._providers.contract import STOPPED, Instance, Reimager
from ..actions import LaunchSlot
from ..model import REIMAGE, ROLLBACK, Intent, Request
from .executor import launch_request


def check_reimage(reimager: Reimager | None, instances: Sequence[Instance], intent: Intent, request: Request) -> None:
    """Refuse a swap that would give instances what only a new launch can give them. Only reads.

    A rollback reimages as well, so the previous version is checked like the new one. Raises FleetError, ProviderError.

    Args:
        intent: that of the request, with its origin.
    """
    if intent.strategy != REIMAGE:
        return
    if reimager is None:
        raise FleetError("fleet.strategy: the instances of this provider cannot be reimaged")
    kept = [
        instance
        for instance in instances
        if instance.slot < intent.size and (instance.state != STOPPED or reimager.replaces_in == STOPPED)
    ]
    wanted = [launch_request(LaunchSlot(0), intent, request.payload)]
    if request.origin and intent.origin:
        wanted.append(launch_request(LaunchSlot(0), replace(intent, stage=ROLLBACK), request.origin))
    if kept:
        reimager.check(kept, wanted)
