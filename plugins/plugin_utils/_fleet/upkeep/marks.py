# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Marks that users put on hosts: tainted, protected and standby.

A host on standby leaves traffic. It returns to traffic once the mark is removed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..._core.errors import FleetError
from ..._health.evidence import proves
from ..._hosts.inventory import names_of
from ..._providers.contract import DRAIN, FLEET, RUNNING, UP, Instance, Member, Provider
from ..._providers.tags import MARKS, STANDBY
from ..ports import ChangePermit
from ..swap.observe import address_of

CALL_TIMEOUT = 30.0  # seconds that one changing call may take
LONGEST_REASON = 256  # characters: what clouds accept as the value of a tag


@dataclass(frozen=True)
class Marking:
    """What to mark.

    ``hosts`` are names as in the inventory, instance ids or slot numbers. A ``reason`` of None removes the mark.
    """

    fleet: str
    hosts: tuple[str, ...]
    mark: str
    reason: str | None
    drain_timeout: float = 30.0  # seconds


@dataclass(frozen=True)
class _Changes:
    """The changes that are due."""

    chosen: tuple[tuple[str, Instance], ...]  # all chosen hosts with their names
    tag: tuple[str, ...]  # ids of instances to tag
    drain: tuple[str, ...]  # ids of instances to take out of traffic
    register: Mapping[str, tuple[str, int]]  # ids and addresses of instances to return to traffic
    left_out: Mapping[str, str]  # name of a host -> why it does not return to traffic
    serving: int  # hosts in service now

    def __bool__(self) -> bool:
        return bool(self.tag or self.drain or self.register)


class Marks:
    """Puts marks on the hosts of a fleet and removes them."""

    def __init__(self, provider: Provider, permit: ChangePermit, revoked: Mapping[str, str]) -> None:
        """``revoked``: why images must not be put in service, by digest."""
        self._provider = provider
        self._permit = permit
        self._revoked = revoked

    def apply(self, marking: Marking, lock_timeout: float = 0.0, check_mode: bool = False) -> dict[str, Any]:
        """Apply a marking. Returns the result of the task.

        The lease of the fleet is taken only if a change is due. The user decides, so hosts leave traffic even if too
        few stay in service; the result has their number. Raises FleetError for an unknown host, LockedError,
        ProviderError.
        """
        due = before = self._observe(marking)
        if due and not check_mode:
            with self._permit.held(lock_timeout):
                due = self._observe(marking)
                self._change(marking, due)
        serving = due.serving - len(due.drain)
        if due and not check_mode:
            serving = _serving(
                self._provider.compute.list(marking.fleet), self._provider.traffic(marking.fleet).members()
            )
        return {
            "changed": bool(due),
            "fleet": marking.fleet,
            "hosts": [
                {"name": name, "id": instance.id, "slot": instance.slot, "marks": _marks_after(instance, marking)}
                for name, instance in due.chosen
            ],
            "serving": serving,
            "left_out": dict(due.left_out),
            "diff": {
                "before": _text(before.chosen, _marks),
                "after": _text(due.chosen, lambda instance: _marks_after(instance, marking)),
            },
        }

    def _observe(self, marking: Marking) -> _Changes:
        instances = [each for each in self._provider.compute.list(marking.fleet) if each.purpose == FLEET]
        members = {member.id: member for member in self._provider.traffic(marking.fleet).members()}
        chosen = _chosen(marking, instances)
        tag = tuple(each.id for _name, each in chosen if each.tags.get(marking.mark) != marking.reason)
        drain: tuple[str, ...] = ()
        register: dict[str, tuple[str, int]] = {}
        left_out = {}
        if marking.mark == STANDBY and marking.reason is not None:
            drain = tuple(each.id for _name, each in chosen if each.id in members and members[each.id].state != DRAIN)
        elif marking.mark == STANDBY:
            for name, instance in chosen:
                address = address_of(instance)
                problem = self._problem(instance)
                if instance.id in tag and problem:
                    left_out[name] = problem
                elif instance.id in tag and address:
                    register[instance.id] = address
        return _Changes(
            chosen=chosen,
            tag=tag,
            drain=drain,
            register=register,
            left_out=left_out,
            serving=_serving(instances, list(members.values())),
        )

    def _problem(self, instance: Instance) -> str | None:
        """Say why the instance must not be put in service."""
        verdict = proves(instance)
        if instance.state != RUNNING:
            return f"it is {instance.state}"
        if verdict is not True:
            return str(verdict)
        if instance.image in self._revoked:
            return f"its image was {self._revoked[instance.image]}"
        return None if address_of(instance) else "it has no address for the port that takes traffic"

    def _change(self, marking: Marking, due: _Changes) -> None:
        """Make the changes, in an order that leaves something due for the next run if this one is interrupted."""
        traffic = self._provider.traffic(marking.fleet)
        if due.register:
            self._permit.check(CALL_TIMEOUT)
            if traffic.ensure():
                self._permit.check(CALL_TIMEOUT)
            traffic.register(due.register)
        if due.tag:
            self._permit.check(CALL_TIMEOUT)
            self._provider.compute.tag(due.tag, {marking.mark: marking.reason})
        if due.drain:
            self._permit.check(CALL_TIMEOUT)
            traffic.drain(due.drain, marking.drain_timeout)


def marking_of(
    fleet: str, hosts: Sequence[str], mark: str, *, present: bool, reason: str, drain_timeout: float
) -> Marking:
    """Check what a user wants to mark, and return it as a marking. Raises FleetError."""
    reason = reason.strip()
    if not hosts:
        raise FleetError("hosts: name at least one host")
    if present and not reason:
        raise FleetError("reason is needed with state=present: it tells others why the host has the mark")
    if not present and reason:
        raise FleetError("reason is only for state=present")
    if len(reason) > LONGEST_REASON or len(reason.splitlines()) > 1:
        raise FleetError(f"reason: one line of at most {LONGEST_REASON} characters")
    return Marking(fleet, tuple(hosts), mark, reason if present else None, drain_timeout=drain_timeout)


def _chosen(marking: Marking, instances: Sequence[Instance]) -> tuple[tuple[str, Instance], ...]:
    """Return the hosts that are named, with their names, once each and by slot. Raises FleetError."""
    named = names_of(marking.fleet, instances)
    names = {instance.id: name for name, instance in named}
    ids: set[str] = set()
    for host in marking.hosts:
        exact = [each.id for each in instances if host == each.id or host == names.get(each.id)]
        found = exact or [instance.id for _name, instance in named if host == str(instance.slot)]
        if not found:
            known = ", ".join(name for name, _instance in named) or "none"
            raise FleetError(
                f"hosts: {marking.fleet} has no host {host!r} "
                f"(it has: {known}; instance ids and slot numbers are allowed, too)"
            )
        ids.update(found)
    wanted = sorted((each for each in instances if each.id in ids), key=lambda each: (each.slot, each.created, each.id))
    return tuple((names.get(instance.id, instance.id), instance) for instance in wanted)


def _serving(instances: Sequence[Instance], members: Sequence[Member]) -> int:
    """Count the running instances of the fleet that are in service."""
    running = {each.id for each in instances if each.purpose == FLEET and each.state == RUNNING}
    return sum(member.state == UP and member.id in running for member in members)


def _marks(instance: Instance) -> dict[str, str]:
    return {mark: instance.tags[mark] for mark in MARKS if mark in instance.tags}


def _marks_after(instance: Instance, marking: Marking) -> dict[str, str]:
    changed = {**_marks(instance), marking.mark: marking.reason}
    return {mark: reason for mark, reason in changed.items() if reason is not None}


def _text(chosen: Sequence[tuple[str, Instance]], marks: Callable[[Instance], Mapping[str, str]]) -> str:
    return "".join(
        f"{name}: {'; '.join(f'{mark}: {reason}' for mark, reason in sorted(marks(instance).items())) or 'no mark'}\n"
        for name, instance in chosen
    )
