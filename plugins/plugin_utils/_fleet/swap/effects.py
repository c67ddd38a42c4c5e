# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a run did to instances and members since they were read. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ..._providers.contract import DOWN, DRAIN, STOPPING, Instance, Member, MemberState
from ..actions import Action, Deregister, Drain, Launch, Register, Remove, Start, Switch

# The actions whose effects are known well enough for a look that does not read what they changed.
FORESEEN = (Launch, Register, Drain, Deregister, Remove)


class Effects:
    """It also remembers which members this run drained, because a balancer may forget them once that is over."""

    def __init__(self) -> None:
        self._drained: dict[str, float] = {}  # by instance id: since when it is no member any more; 0 while it drains

    def drained_since(self, instance_id: str) -> float:
        """Since when a member that this run drained is no member any more; 0 if it is one, or others drained it."""
        return self._drained.get(instance_id, 0.0)

    def members_read(self, members: Iterable[Member], now: float) -> None:
        present = {member.id: member.state for member in members}
        self._drained = {
            key: 0.0 if key in present else since or now
            for key, since in self._drained.items()
            if present.get(key, DRAIN) == DRAIN
        }

    def on_members(self, action: Action, members: Sequence[Member], now: float) -> tuple[Member, ...]:
        """The members after the action."""
        if isinstance(action, Register):
            self._keep(action.ids)
            state: MemberState = DRAIN if action.staged else DOWN
            others = (member for member in members if member.id not in action.ids)
            return (*others, *(Member(each, state, None, now) for each in action.ids))
        if isinstance(action, Start):
            self._keep(action.ids)
        if isinstance(action, Switch):
            self._keep(action.on)
            self._drained.update(dict.fromkeys(action.off, 0.0))
        if isinstance(action, Drain):
            self._drained.update(dict.fromkeys(action.ids, 0.0))
        if not isinstance(action, (Drain, Deregister)):
            return tuple(members)
        return tuple(
            replace(member, state=DRAIN, since=now, passing=False)
            if member.id in action.ids and member.state != DRAIN
            else member
            for member in members
        )

    def on_instances(self, action: Action, instances: Sequence[Instance], now: float) -> tuple[Instance, ...]:
        """The instances after the action."""
        if not isinstance(action, Remove):
            return tuple(instances)
        return tuple(
            replace(instance, state=STOPPING, stopping_since=now, awaits_removal=False)
            if instance.id in action.ids
            else instance
            for instance in instances
        )

    def _keep(self, ids: Iterable[str]) -> None:
        for each in ids:
            self._drained.pop(each, None)
