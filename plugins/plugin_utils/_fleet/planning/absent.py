# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The plan for an absent fleet: drain and remove every instance. Volumes stay unless the user names them."""

from __future__ import annotations

from ..actions import Done, Outcome
from ..model import Intent
from ..observed import Observed
from .batch import ActionBatch


def plan_absent(observed: Observed, intent: Intent, now: float) -> Outcome:
    batch = ActionBatch(observed, intent, now)
    for member in observed.orphaned_members:
        batch.deregister(member)
    for view in observed.instances:
        batch.remove(view, given_up=not view.healthy)
    if not observed.instances:
        named = [volume for volume in observed.volumes if volume.name in intent.remove_volumes]
        batch.remove_volumes(volume.id for volume in named if not volume.attached_to)
        for volume in named:
            if volume.attached_to:  # a provider may still list the attachment of an instance that is gone
                batch.wait(f"slot {volume.slot}: {volume.id} is still attached to {volume.attached_to}")
    return batch.outcome() or Done()
