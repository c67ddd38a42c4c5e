# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads a fleet in a few bulk calls: instances, volumes, members, and a probe of each instance that can answer.

Where each call counts, a look may read a part of that only. The rest is then as last read, with the effects of what
this run did since.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..._health.evidence import proves
from ..._providers.contract import (
    FLEET,
    PENDING,
    RUNNING,
    UP,
    Instance,
    InstanceState,
    Member,
    Probe,
    Provider,
    Traffic,
    Volume,
)
from ..._providers.tags import ATTEMPT, IMAGE_NAME, PORT, PROTECTED, STANDBY, SWAP, TAINTED
from ..actions import Action
from ..observed import Death, InstanceView, Observed
from .effects import Effects
from .looks import BOTH, INSTANCES, MEMBERS, Part

SPARED = 2.0  # seconds for which a passed probe is good enough while waiting
UNLISTED = 60.0  # seconds for which a launched instance counts although no list shows it yet


@dataclass(frozen=True)
class Snapshot:
    """What the provider returned, for a prediction to start from."""

    instances: tuple[Instance, ...]
    volumes: tuple[Volume, ...]
    members: tuple[Member, ...]
    healthy: frozenset[str]
    replaces_in: InstanceState | None = None  # see ``contract.Reimager``; None without one


class Observer:
    """Observes one fleet.

    It remembers since when an instance could have been healthy, and which launches are not listed yet. A new run starts
    without this memory.
    """

    def __init__(self, provider: Provider, traffic: Traffic, prober: Probe, fleet: str) -> None:
        self._provider = provider
        self._traffic = traffic
        self._prober = prober
        self._fleet = fleet
        # By instance id: its present start, and when it was first proven or last observed healthy since then.
        self._healthy_at: dict[str, tuple[float, float]] = {}
        self._healthy_since: dict[str, float] = {}  # by instance id, while each observation finds it healthy
        self._passed_at: dict[str, float] = {}
        self._unlisted: dict[str, tuple[Instance, float]] = {}  # launched, but in no list yet
        self.snapshot = Snapshot((), (), (), frozenset())
        self.spared = False  # whether the last observation left out probes
        self._deaths: tuple[Death, ...] = ()
        self._volumes: tuple[Volume, ...] | None = None  # as last read
        self._read: tuple[tuple[Instance, ...], tuple[Volume, ...], tuple[Member, ...]] = ((), (), ())
        self._read_at: dict[Part, float] = {}
        self._effects = Effects()

    def expect(self, launched: Iterable[Instance]) -> None:
        """Count launched instances before a list shows them, so that their slots do not look empty."""
        now = self._provider.clock.now()
        self._unlisted.update({instance.id: (instance, now) for instance in launched})

    def forget(self, ids: Iterable[str]) -> None:
        """Stop expecting instances that are to be removed, or that died."""
        for instance_id in ids:
            self._unlisted.pop(instance_id, None)

    def observe(self, fresh: bool = True, data: bool = True, parts: Collection[Part] = BOTH) -> Observed:
        """Read the fleet.

        Args:
            fresh: probe every instance. Otherwise instances whose probe passed just before are spared.
            data: whether the fleet has volumes. Otherwise they are not read again once there were none, because only
                the swap that holds the lease creates volumes.
            parts: what to read. The rest is as last read.
        """
        instances, _volumes, members = self._read
        if INSTANCES in parts:
            instances = self._instances()
            self._read_at[INSTANCES] = self._provider.clock.now()
        if data or self._volumes is None or self._volumes:
            self._volumes = tuple(self._provider.volumes.list(self._fleet))
        if MEMBERS in parts:
            members = tuple(self._traffic.members())
            self._read_at[MEMBERS] = self._provider.clock.now()
            self._effects.members_read(members, self._read_at[MEMBERS])
        self._read = (instances, self._volumes, members)
        return self._combine(fresh)

    def reprobe(self) -> Observed:
        """Probe all instances again, without reading the fleet again."""
        return self._combine(fresh=True)

    def older_than(self, seconds: float) -> frozenset[Part]:
        """The parts that were not read within the last ``seconds``, also if the clock was set back since."""
        now = self._provider.clock.now()
        return frozenset(part for part in BOTH if not 0 <= now - self._read_at.get(part, -1.0) <= seconds)

    def apply(self, action: Action, launched: Sequence[Instance]) -> None:
        """Put the effect of an action into what was read, for looks that read a part only."""
        instances, volumes, members = self._read
        now, ids = self._provider.clock.now(), {instance.id for instance in instances}
        new = [instance for instance in launched if instance.id not in ids]
        self._read = (
            (*self._effects.on_instances(action, instances, now), *new),
            volumes,
            self._effects.on_members(action, members, now),
        )

    def forget_volumes(self) -> None:
        """Read the volumes again next time, because another run may have changed them."""
        self._volumes = None

    def _combine(self, fresh: bool) -> Observed:
        instances, volumes, members = self._read
        live = {instance.id for instance in instances if instance.state in (PENDING, RUNNING)}
        verdicts = {
            instance.id: proves(instance) if instance.id in live else f"it is {instance.state}"
            for instance in instances
        }
        # A leaving member has no request left once its instance is down, so it counts as out of traffic.
        known = {member.id: member for member in members if member.id in live or not member.leaving}
        probes = self._probe([instance for instance in instances if verdicts[instance.id] is True], known, fresh)
        attached: dict[str, list[Volume]] = defaultdict(list)
        for volume in volumes:
            if volume.attached_to:
                attached[volume.attached_to].append(volume)
        now = self._provider.clock.now()
        views = tuple(
            self._view(
                instance,
                verdict=verdicts[instance.id],
                probed=probes.get(instance.id, "not probed"),
                member=known.get(instance.id),
                volumes=attached.get(instance.id, ()),
                now=now,
            )
            for instance in instances
        )
        healthy = frozenset(view.id for view in views if view.healthy)
        replaces_in = self._provider.reimager.replaces_in if self._provider.reimager else None
        self.snapshot = Snapshot(instances, volumes, members, healthy, replaces_in=replaces_in)
        ids = {instance.id for instance in instances}
        orphaned = sorted(member.id for member in members if member.id not in ids and not member.leaving)
        return Observed(
            now,
            views,
            volumes,
            () if self._traffic.shared else tuple(orphaned),
            deaths=self._deaths,
            replaces_in=replaces_in,
        )

    def _instances(self) -> tuple[Instance, ...]:
        listed = [instance for instance in self._provider.compute.list(self._fleet) if instance.purpose == FLEET]
        self._deaths = tuple(
            Death(
                one.slot,
                one.id,
                one.reason,
                swap=_number(one.tags.get(SWAP), -1),
                attempt=_number(one.tags.get(ATTEMPT), 0),
            )
            for one in self._provider.compute.ended(self._fleet)
        )
        self.forget(death.id for death in self._deaths)
        if not self._unlisted:
            return tuple(listed)
        known, now = {instance.id for instance in listed}, self._provider.clock.now()
        self._unlisted = {
            instance_id: (instance, at)
            for instance_id, (instance, at) in self._unlisted.items()
            if instance_id not in known and now - at < UNLISTED
        }
        return (*listed, *(instance for instance, _at in self._unlisted.values()))

    def _probe(
        self, instances: Sequence[Instance], members: Mapping[str, Member], fresh: bool
    ) -> dict[str, bool | str]:
        now = self._provider.clock.now()
        ids = [instance.id for instance in instances]
        spared = {each for each in ids if not fresh and now - self._passed_at.get(each, 0.0) < SPARED}
        self.spared = bool(spared)
        found = dict(self._prober([instance for instance in instances if instance.id not in spared]))
        # One failed probe of a host that the load balancer calls up decides nothing: probe it once more.
        again = [
            instance
            for instance in instances
            if found.get(instance.id, True) is not True and instance.id in members and members[instance.id].state == UP
        ]
        if again:
            found.update(self._prober(again))
        self._passed_at.update({instance_id: now for instance_id, passed in found.items() if passed is True})
        return {**dict.fromkeys(spared, True), **found}

    def _view(
        self,
        instance: Instance,
        *,
        verdict: bool | str,
        probed: bool | str,
        member: Member | None,
        volumes: Sequence[Volume],
        now: float,
    ) -> InstanceView:
        proven = verdict is True
        healthy = proven and probed is True
        tags, attached_at = instance.tags, max((volume.attached_at for volume in volumes), default=0.0)
        return InstanceView(
            id=instance.id,
            slot=instance.slot,
            image=instance.image,
            launch=instance.launch,
            state=instance.state,
            created=instance.created,
            started=instance.started,
            proven=proven,
            refuted=not proven and instance.evidence is not None,
            healthy=healthy,
            problem="" if healthy else str(verdict if not proven else probed),
            waiting_since=max(self._last_well_at(instance, proven, healthy, now), attached_at) if proven else 0.0,
            healthy_since=self._healthy_from(instance.id, healthy, now),
            member=member.state if member else None,
            in_flight=member.in_flight if member else None,
            member_since=member.since if member else 0.0,
            volumes=tuple(sorted(volume.id for volume in volumes)),
            address=address_of(instance),
            image_name=tags.get(IMAGE_NAME, instance.image.removeprefix("sha256:")[:12]),
            zone=instance.zone,
            swap=_number(tags.get(SWAP), -1),
            attempt=_number(tags.get(ATTEMPT), 0),
            stopping_since=instance.stopping_since,
            awaits_removal=instance.awaits_removal,
            passing=bool(member and member.passing),
            tainted=tags.get(TAINTED, ""),
            protected=tags.get(PROTECTED, ""),
            standby=tags.get(STANDBY, ""),
            stop_reason=instance.stop_reason,
            drained_since=0.0 if member else self._effects.drained_since(instance.id),
            root=instance.root,
        )

    def _last_well_at(self, instance: Instance, proven: bool, healthy: bool, now: float) -> float:
        """When the instance was last observed healthy, or else first proven, in its present boot."""
        start, at = self._healthy_at.get(instance.id, (-1.0, 0.0))
        if proven and (healthy or start != instance.started):
            at = now
            self._healthy_at[instance.id] = (instance.started, now)
        return at

    def _healthy_from(self, instance_id: str, healthy: bool, now: float) -> float:
        """Since when each observation found the instance healthy; 0 if this one did not."""
        if not healthy:
            self._healthy_since.pop(instance_id, None)
            return 0.0
        return self._healthy_since.setdefault(instance_id, now)


def _number(text: str | None, default: int) -> int:
    return int(text) if text and re.fullmatch(r"[0-9]{1,9}", text) else default


def address_of(instance: Instance) -> tuple[str, int] | None:
    """Where the instance takes traffic, or None if it has no address for that port."""
    port = _number(instance.tags.get(PORT), -1)
    if port >= 0:
        return instance.endpoints.get(port)
    return next(iter(instance.endpoints.values()), None)
