# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Marks that people put on hosts: tainted, protected, standby. The last one takes a host out of traffic, and back when it is taken away."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..._core.errors import FleetError
from ..._health.evidence import proves
from ..._hosts.inventory import names_of
from ..._providers.contract import FLEET, RUNNING, Instance, Member, Provider
from ..._providers.tags import MARKS, STANDBY
from ..lease import Lease
from ..swap.observe import address_of

CALL = 30.0  # seconds that one changing call may take
LONGEST = 256  # characters of a reason: what clouds take as a tag's value


@dataclass(frozen=True)
class Marking:
    """``hosts``: names as in the inventory, instance ids, or numbers of slots. ``reason``: None takes the mark away."""

    fleet: str
    hosts: tuple[str, ...]
    mark: str
    reason: str | None
    drain_timeout: float = 30.0


@dataclass(frozen=True)
class _Due:
    chosen: tuple[tuple[str, Instance], ...]  # with their names
    tag: tuple[str, ...]  # instance ids, likewise below
    drain: tuple[str, ...]
    register: Mapping[str, tuple[str, int]]
    left_out: Mapping[str, str]  # name -> why it is not put back in traffic
    serving: int  # in service now

    def __bool__(self) -> bool:
        return bool(self.tag or self.drain or self.register)


class Marks:
    def __init__(self, provider: Provider, lease: Lease, check: Callable[[], None], revoked: Mapping[str, str]) -> None:
        """``check`` raises when nothing may be changed any more. ``revoked``: why images, by digest, must not be put in service."""
        self._provider = provider
        self._lease = lease
        self._check = check
        self._revoked = revoked

    def apply(self, marking: Marking, lock_timeout: float = 0.0, check_mode: bool = False) -> dict[str, Any]:
        """Returns the task's result. The fleet's lease is taken only if something is due.

        A person's word goes before the fleet's floor, so the result tells how many stay in service. Raises FleetError for a host
        that there is not, LockedError, ProviderError.
        """
        due = before = self._look(marking)
        if due and not check_mode:
            with self._lease.held(lock_timeout):
                due = self._look(marking)
                self._act(marking, due)
        serving = due.serving - len(due.drain)
        if due and not check_mode:
            serving = _serving(
                self._provider.compute.list(marking.fleet), self._provider.traffic(marking.fleet).members()
            )
        return {
            "changed": bool(due),
            "fleet": marking.fleet,
            "hosts": [
                {"name": name, "id": each.id, "slot": each.slot, "marks": _after(each, marking)}
                for name, each in due.chosen
            ],
            "serving": serving,
            "left_out": dict(due.left_out),
            "diff": {
                "before": _text(before.chosen, _marks),
                "after": _text(due.chosen, lambda each: _after(each, marking)),
            },
        }

    def _look(self, marking: Marking) -> _Due:
        instances = [each for each in self._provider.compute.list(marking.fleet) if each.purpose == FLEET]
        members = {member.id: member for member in self._provider.traffic(marking.fleet).members()}
        chosen = _chosen(marking, instances)
        tag = tuple(each.id for _name, each in chosen if each.tags.get(marking.mark) != marking.reason)
        drain: tuple[str, ...] = ()
        back: dict[str, tuple[str, int]] = {}
        left_out = {}
        if marking.mark == STANDBY and marking.reason is not None:
            drain = tuple(each.id for _name, each in chosen if each.id in members and members[each.id].state != "drain")
        elif marking.mark == STANDBY:
            for name, each in chosen:
                address = address_of(each)
                flaw = self._flaw(each)
                if each.id in tag and flaw:
                    left_out[name] = flaw
                elif each.id in tag and address:
                    back[each.id] = address
        return _Due(chosen, tag, drain, back, left_out, _serving(instances, list(members.values())))

    def _flaw(self, instance: Instance) -> str | None:
        """Why it must not be put in service."""
        verdict = proves(instance)
        if instance.state != RUNNING:
            return f"it is {instance.state}"
        if verdict is not True:
            return str(verdict)
        if instance.image in self._revoked:
            return f"its image was {self._revoked[instance.image]}"
        return None if address_of(instance) else "it has no address for the port that takes traffic"

    def _act(self, marking: Marking, due: _Due) -> None:
        """In an order in which a run that is cut leaves something due for the next one."""
        traffic = self._provider.traffic(marking.fleet)
        if due.register:
            self._may_change()
            if traffic.ensure():
                self._may_change()
            traffic.register(due.register)
        if due.tag:
            self._may_change()
            self._provider.compute.tag(due.tag, {marking.mark: marking.reason})
        if due.drain:
            self._may_change()
            traffic.drain(due.drain, marking.drain_timeout)

    def _may_change(self) -> None:
        self._check()
        self._lease.need(CALL)


def marking_of(
    fleet: str, hosts: Sequence[str], mark: str, present: bool, reason: str, drain_timeout: float
) -> Marking:
    """Raises FleetError for what makes no sense."""
    reason = reason.strip()
    if not hosts:
        raise FleetError("hosts: name at least one host")
    if present and not reason:
        raise FleetError("reason is needed with state=present: whoever meets the mark wants to know why")
    if not present and reason:
        raise FleetError("reason is only for state=present")
    if len(reason) > LONGEST or len(reason.splitlines()) > 1:
        raise FleetError(f"reason: one line of at most {LONGEST} characters")
    return Marking(fleet, tuple(hosts), mark, reason if present else None, drain_timeout)


def _chosen(marking: Marking, instances: Sequence[Instance]) -> tuple[tuple[str, Instance], ...]:
    """By slot, each once."""
    named = names_of(marking.fleet, instances)
    names = {each.id: name for name, each in named}
    ids: set[str] = set()
    for host in marking.hosts:
        exact = [each.id for each in instances if host == each.id or host == names.get(each.id)]
        found = exact or [each.id for _name, each in named if host == str(each.slot)]
        if not found:
            known = ", ".join(name for name, _each in named) or "none"
            raise FleetError(
                f"hosts: {marking.fleet} has no host {host!r} (it has: {known}; instance ids and numbers of slots are known too)"
            )
        ids.update(found)
    wanted = [each for each in instances if each.id in ids]
    return tuple(
        (names.get(each.id, each.id), each)
        for each in sorted(wanted, key=lambda each: (each.slot, each.created, each.id))
    )


def _serving(instances: Sequence[Instance], members: Sequence[Member]) -> int:
    known = {each.id for each in instances if each.purpose == FLEET and each.state == RUNNING}
    return sum(member.state == "up" and member.id in known for member in members)


def _marks(instance: Instance) -> dict[str, str]:
    return {mark: instance.tags[mark] for mark in MARKS if mark in instance.tags}


def _after(instance: Instance, marking: Marking) -> dict[str, str]:
    changed = {**_marks(instance), marking.mark: marking.reason}
    return {mark: reason for mark, reason in changed.items() if reason is not None}


def _text(chosen: Sequence[tuple[str, Instance]], marks: Callable[[Instance], Mapping[str, str]]) -> str:
    return "".join(
        f"{name}: {'; '.join(f'{mark}: {why}' for mark, why in sorted(marks(each).items())) or 'no mark'}\n"
        for name, each in chosen
    )
