# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Take a fleet away: drain, remove. Volumes stay unless they are named."""

from __future__ import annotations

from ..actions import Done, Outcome
from ..model import Intent, Observed
from .batch import ActionBatch


def plan_absent(observed: Observed, intent: Intent, now: float) -> Outcome:
    batch = ActionBatch(observed, intent, now)
    for stray in observed.strays:
        batch.deregister(stray)
    for view in observed.instances:
        batch.take_away(view, given_up=not view.healthy)
    if not observed.instances:
        unwanted = [volume.id for volume in observed.volumes if volume.name in intent.remove_volumes]
        if unwanted:
            batch.remove_volumes(unwanted)
    return batch.outcome() or Done()
