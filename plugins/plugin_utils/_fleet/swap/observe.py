# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Read a fleet in a few bulk calls: instances, volumes, members, and a probe of each instance that can answer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..._health.evidence import proves
from ..._providers.contract import FLEET, PENDING, RUNNING, UP, Instance, Member, Probe, Provider, Traffic, Volume
from ..._providers.tags import ATTEMPT, IMAGE_NAME, PORT, PROTECTED, STANDBY, SWAP, TAINTED
from ..model import InstanceView, Observed

SPARED = 2.0  # seconds for which a passed probe is good enough while waiting
UNSEEN = 60.0  # seconds for which a launch that no list shows yet is believed


@dataclass(frozen=True)
class Snapshot:
    """What the provider said, for a prediction to begin with."""

    instances: tuple[Instance, ...]
    volumes: tuple[Volume, ...]
    members: tuple[Member, ...]
    healthy: frozenset[str]


class Observer:
    """Remembers only since when an instance could have been healthy, and what was launched but not listed yet; a new run begins anew."""

    def __init__(self, provider: Provider, traffic: Traffic, prober: Probe, fleet: str) -> None:
        self._provider = provider
        self._traffic = traffic
        self._prober = prober
        self._fleet = fleet
        self._well_at: dict[
            str, tuple[float, float]
        ] = {}  # instance id -> (its present start, when it was proven or last seen healthy)
        self._passed_at: dict[str, float] = {}
        self._unseen: dict[str, tuple[Instance, float]] = {}  # launched, but in no list yet
        self.snapshot = Snapshot((), (), (), frozenset())
        self.spared = False  # whether the last look left probes out
        self._volumes: tuple[Volume, ...] | None = None  # as last read
        self._read: tuple[tuple[Instance, ...], tuple[Volume, ...], tuple[Member, ...]] = ((), (), ())

    def expect(self, launched: Iterable[Instance]) -> None:
        """A list may lag behind a launch; a slot must not look empty for that."""
        now = self._provider.clock.now()
        self._unseen.update({each.id: (each, now) for each in launched})

    def forget(self, ids: Iterable[str]) -> None:
        """They were told to go, so no list needs to show them."""
        for each in ids:
            self._unseen.pop(each, None)

    def observe(self, fresh: bool = True, data: bool = True) -> Observed:
        """``fresh=False`` spares instances a probe that passed just before, for looks while waiting. With ``data=False`` volumes
        are not asked for again where there were none: nobody but the swap that holds the lease makes any."""
        instances = self._instances()
        if data or self._volumes is None or self._volumes:
            self._volumes = tuple(self._provider.volumes.list(self._fleet))
        self._read = (instances, self._volumes, tuple(self._traffic.members()))
        return self._seen(fresh)

    def reprobe(self) -> Observed:
        """What was read just now, with a probe of all that were spared one."""
        return self._seen(fresh=True)

    def forget_volumes(self) -> None:
        """Another run may have been at work since the last look."""
        self._volumes = None

    def _seen(self, fresh: bool) -> Observed:
        instances, volumes, members = self._read
        verdicts = {
            each.id: proves(each) if each.state in (PENDING, RUNNING) else f"it is {each.state}" for each in instances
        }
        live = {each.id for each in instances if each.state in (PENDING, RUNNING)}
        # Who is down has no request left with it, so one that the balancer forgets by itself is out of traffic.
        places = {member.id: member for member in members if member.id in live or not member.leaving}
        probes = self._probe([each for each in instances if verdicts[each.id] is True], places, fresh)
        held: dict[str, list[Volume]] = defaultdict(list)
        for volume in volumes:
            if volume.attached_to:
                held[volume.attached_to].append(volume)
        now = self._provider.clock.now()
        views = tuple(
            self._view(
                each,
                verdicts[each.id],
                probes.get(each.id, "not probed"),
                places.get(each.id),
                held.get(each.id, ()),
                now,
            )
            for each in instances
        )
        self.snapshot = Snapshot(instances, volumes, members, frozenset(view.id for view in views if view.healthy))
        known = {each.id for each in instances}
        strays = (
            ()
            if self._traffic.shared
            else sorted(member.id for member in members if member.id not in known and not member.leaving)
        )
        return Observed(now, views, volumes, tuple(strays))

    def _instances(self) -> tuple[Instance, ...]:
        listed = [each for each in self._provider.compute.list(self._fleet) if each.purpose == FLEET]
        if not self._unseen:
            return tuple(listed)
        known, now = {each.id for each in listed}, self._provider.clock.now()
        self._unseen = {
            key: (each, at) for key, (each, at) in self._unseen.items() if key not in known and now - at < UNSEEN
        }
        return (*listed, *(each for each, _at in self._unseen.values()))

    def _probe(self, instances: Sequence[Instance], places: Mapping[str, Member], fresh: bool) -> dict[str, bool | str]:
        now = self._provider.clock.now()
        known = {each.id for each in instances if not fresh and now - self._passed_at.get(each.id, 0.0) < SPARED}
        self.spared = bool(known)
        found = dict(self._prober([each for each in instances if each.id not in known]))
        # One lost answer of a busy host that the balancer calls up is no verdict yet.
        again = [
            each
            for each in instances
            if found.get(each.id, True) is not True and each.id in places and places[each.id].state == UP
        ]
        if again:
            found.update(self._prober(again))
        self._passed_at.update({instance_id: now for instance_id, passed in found.items() if passed is True})
        return {**dict.fromkeys(known, True), **found}

    def _view(
        self,
        instance: Instance,
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
            waiting_since=max(self._well(instance, proven, healthy, now), attached_at) if proven else 0.0,
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
            passing=bool(member and member.passing),
            tainted=tags.get(TAINTED, ""),
            protected=tags.get(PROTECTED, ""),
            standby=tags.get(STANDBY, ""),
        )

    def _well(self, instance: Instance, proven: bool, healthy: bool, now: float) -> float:
        start, well_at = self._well_at.get(instance.id, (-1.0, 0.0))
        if proven and (healthy or start != instance.started):
            well_at = now
            self._well_at[instance.id] = (instance.started, now)
        return well_at


def _number(text: str | None, default: int) -> int:
    return int(text) if text and text.isdigit() else default


def address_of(instance: Instance) -> tuple[str, int] | None:
    """Where it takes traffic, or None where it has no address for that port."""
    port = instance.tags.get(PORT, "")
    if port.isdigit():
        return instance.endpoints.get(int(port))
    return next(iter(instance.endpoints.values()), None)
