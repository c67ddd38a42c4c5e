# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An Auto Scaling group whose refreshes go through the statuses of a script, with the effects that AWS documents."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import (
    AutoScaling,
    Definition,
    FleetSpec,
    Provision,
    Target,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import Base as DefinitionBase
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.probes import Health, TcpProbe
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.autoscaling.launch import group_request
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.autoscaling.run import (
    GroupServices,
    InstanceRefreshRun,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.gates import OpenGates
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.ports import Gates, NoGuard, NoLease
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.run import RunOptions
from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import Image
from ansible_collections.immutable.infra.plugins.plugin_utils._providers import group as h
from ansible_collections.immutable.infra.plugins.plugin_utils._providers import tags
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import (
    RUNNING,
    Evidence,
    LaunchRequest,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.clock import VirtualClock
from ansible_collections.immutable.infra.plugins.plugin_utils._store.memory import MemoryStore

from .killed import ControllerKilled

ID = "lt-1"
OLD, NEW = "ami-old", "ami-new"
SUCCESS = (h.PENDING, h.IN_PROGRESS, h.IN_PROGRESS, h.BAKING, h.SUCCESSFUL)
MOST_OBSERVATIONS = 400  # of one run


def _version(template: h.LaunchTemplate | None) -> str:
    assert template is not None
    return template.version


@dataclass
class Scaling:
    """Implements ``AutoScalingGroup``.

    Attributes:
        configured_version: as set in the group: a number or an alias.
        images: AMI by version of the launch template.
        history: the refreshes, the newest first.
        scripts: the statuses that each refresh has still to go through, by id. Each observation takes one, and the
            last one stays.
        script: the statuses of the next refresh.
        rollback_script: the statuses of a refresh that is rolled back.
        unlisted_for: observations until a new refresh is listed.
        refusals: codes of the errors of the next changing calls, "" for none.
        killed_at: the number of the changing call after which the run is killed; -1 for none.
        origins: the version that the group had before each refresh, by id.
        documents: the launch fingerprint of each version that a run created; the others launch whatever is wanted.
        unsealing: versions whose instances never seal themselves.
        seals_after: seconds from an instance's launch to its evidence.
        launched: when each instance was launched, by id.
        made_by_an_earlier_release: versions without a launch document.
        user_data: versions with user data of their own.
    """

    clock: VirtualClock = field(default_factory=VirtualClock)
    configured_version: str = "1"
    images: dict[str, str] = field(default_factory=lambda: {"1": OLD})
    members: list[h.GroupMember] = field(default_factory=list)
    history: list[h.Refresh] = field(default_factory=list)
    scripts: dict[str, list[str]] = field(default_factory=dict)
    script: tuple[str, ...] = SUCCESS
    rollback_script: tuple[str, ...] = (h.ROLLING_BACK, h.ROLLED_BACK)
    unlisted_for: int = 0
    refusals: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    killed_at: int = -1
    observations: int = 0
    region: str = "eu-west-1"
    account: str = ""
    longest_call: float = 0.0
    origins: dict[str, str] = field(default_factory=dict)
    documents: dict[str, str] = field(default_factory=dict)
    unsealing: set[str] = field(default_factory=set)
    seals_after: float = 0.0
    launched: dict[str, float] = field(default_factory=dict)
    made_by_an_earlier_release: set[str] = field(default_factory=set)
    user_data: set[str] = field(default_factory=set)
    request: LaunchRequest | None = None  # the last one

    @property
    def version(self) -> str:
        return self.configured_version if self.configured_version.isdecimal() else max(self.images, key=int)

    def add(self, count: int, version: str = "1", **fields: Any) -> Scaling:
        """Add members that run this version. ``fields``: of each member."""
        self.members += [
            h.GroupMember(
                f"i-{len(self.members) + number}",
                state=fields.pop("state", "InService"),
                healthy=True,
                template=h.LaunchTemplate(ID, version),
                **fields,
            )
            for number in range(count)
        ]
        return self

    def group(self) -> h.Group:
        return h.Group(
            name="shop",
            template=h.LaunchTemplate(ID, self.version),
            configured_version=self.configured_version,
            image=self.images[self.version],
            size=len(self.members),
            warmup=60,
            members=tuple(self.members),
        )

    def prove_again(self) -> None:
        pass

    def machines(self) -> list[h.GroupMachine]:
        return [
            h.GroupMachine(
                id=member.id,
                image=self.images[_version(member.template)],
                state=RUNNING,
                address="10.0.0.1",
                launched=self.launched.get(member.id, 1.0),
                zone="a",
                tags={tags.NONCE: self._nonce(_version(member.template)), tags.IMAGE: IMAGE.digest}
                if _version(member.template) not in self.made_by_an_earlier_release
                else {},
                evidence=self._evidence(member),
            )
            for member in self.members
        ]

    def _nonce(self, version: str) -> str:
        return f"of-{self.documents.get(version) or (self.request.launch if self.request else '')}"

    def _evidence(self, member: h.GroupMember) -> Evidence | None:
        version = _version(member.template)
        early = self.clock.now() - self.launched.get(member.id, 1.0) < self.seals_after
        if early or version in self.unsealing | self.made_by_an_earlier_release:
            return None
        return Evidence(IMAGE.digest, self._nonce(version), "", "off")

    def machine(self, group: h.Group) -> Mapping[str, Any]:
        return {}

    def pin_secrets(self, parameters: Sequence[str]) -> Mapping[str, str]:
        return {name: f"{name}:1" for name in parameters}

    def refreshes(self) -> list[h.Refresh]:
        self.observations += 1
        assert self.observations < MOST_OBSERVATIONS, f"this run does not end: {self.calls}, {self.history[0]}"
        if self.history and self.unlisted_for:
            self.unlisted_for -= 1
            return self.history[1:]
        self.history = [self._next(each) if each.active else each for each in self.history]
        assert sum(each.active for each in self.history) <= 1
        return list(self.history)

    def _next(self, refresh: h.Refresh) -> h.Refresh:
        script = self.scripts[refresh.id]
        status = script.pop(0) if len(script) > 1 else script[0]
        ended = self.clock.now() if status in h.ENDED else 0.0
        self._effect(status, refresh)
        return replace(refresh, status=status, ended=ended)

    def _effect(self, status: str, refresh: h.Refresh) -> None:
        if status == h.SUCCESSFUL:
            self.configured_version = _version(refresh.template)
            self._run(_version(refresh.template), len(self.members))
        elif status == h.ROLLED_BACK:
            self.configured_version = self.origins[refresh.id]
            self._run(self.origins[refresh.id], len(self.members))
        elif status in h.ENDED:  # midway
            self._run(_version(refresh.template), len(self.members) // 2)

    def _run(self, version: str, count: int) -> None:
        free = [each for each in self.members if each.state == "InService" and not each.protected][:count]
        self.launched.update(
            {each.id: self.clock.now() for each in free if each.template != h.LaunchTemplate(ID, version)}
        )
        self.members = [
            replace(each, template=h.LaunchTemplate(ID, version)) if each in free else each for each in self.members
        ]

    def desired_launch(self, group: h.Group, image: str, name: str, request: LaunchRequest) -> h.DesiredLaunch:
        self.request = request
        versions = [
            version
            for version, ami in self.images.items()
            if ami == image and self.documents.get(version, request.launch) == request.launch
        ]
        current = group.template.version
        chosen = current if current in versions else versions[-1] if versions else None
        return h.DesiredLaunch(
            image=image,
            content="content",
            request=request,
            name=name,
            source=group.template,
            template=h.LaunchTemplate(ID, chosen) if chosen else None,
            seals=chosen not in self.made_by_an_earlier_release,
            drops_user_data=chosen is None and current in self.user_data,
        )

    def _called(self, call: str) -> None:
        self.calls.append(call)
        code = self.refusals.pop(0) if self.refusals else ""
        if code:
            raise ProviderError(f"refused: {code}", code=code)

    def _may_be_killed(self) -> None:
        if self.killed_at == len(self.calls):
            raise ControllerKilled

    def create_version(self, wanted: h.DesiredLaunch) -> h.LaunchTemplate:
        self._called("create version")
        assert self.configured_version.isdecimal(), "an alias would move to the new version"
        self.images[str(len(self.images) + 1)] = wanted.image
        self.documents[str(len(self.images))] = wanted.request.launch
        self._may_be_killed()
        return h.LaunchTemplate(ID, str(len(self.images)))

    def pin(self, template: h.LaunchTemplate) -> None:
        self._called(f"pin {template.version}")
        assert template.version.isdecimal()
        self.configured_version = template.version
        self._may_be_killed()

    def start(self, template: h.LaunchTemplate, preferences: Mapping[str, Any]) -> str:
        self._called(f"start {template.version}")
        assert template.version.isdecimal() and self.configured_version.isdecimal()
        if any(each.active for each in self.history):
            raise ProviderError("there is one", code=h.RUNS_ALREADY)
        refresh = self.begin(template.version, self.script)
        self._may_be_killed()
        return refresh

    def begin(self, version: str, script: Iterable[str]) -> str:
        """Begin a refresh, possibly one that another run or a person started."""
        refresh = h.Refresh(
            f"r-{len(self.history)}", h.PENDING, template=h.LaunchTemplate(ID, version), started=self.clock.now()
        )
        self.history.insert(0, refresh)
        self.scripts[refresh.id], self.origins[refresh.id] = list(script), self.configured_version
        return refresh.id

    def cancel(self) -> None:
        self._end("cancel", (h.CANCELLING, h.CANCELLED))

    def roll_back(self) -> None:
        self._end("roll back", self.rollback_script)

    def _end(self, call: str, script: Iterable[str]) -> None:
        self._called(call)
        active = [each for each in self.history if each.active]
        if not active:
            raise ProviderError("there is none", code=h.RUNS_NO_MORE)
        self.scripts[active[0].id] = list(script)
        self._may_be_killed()


IMAGE = Image(
    digest="sha256:" + "1" * 64,
    build="aws-1-x86_64",
    service="shop",
    version="2.0",
    created="2026-01-01T00:00:00Z",
    artifact={"ami": NEW, "region": "eu-west-1"},
    base={},
    inputs={},
)
REQUEST = LaunchRequest(
    token="", fleet="shop-prod", slot=0, image=IMAGE.digest, artifact=IMAGE.artifact, launch="l", nonce="of-l"
)


class Lab:
    """One group, one store, and a new controller for each run."""

    def __init__(
        self,
        scaling: Scaling,
        tmp_path: Path,
        spec: AutoScaling | None = None,
        gates: Gates | None = None,
        revoked: Callable[[], Mapping[str, str]] = dict,
        settings: Mapping[str, Any] | None = None,
        **fleet: Any,
    ) -> None:
        self.scaling = scaling
        self.store = MemoryStore()
        self.lines: list[str] = []
        self._gates, self._revoked = gates or OpenGates(), revoked
        base = DefinitionBase("ami", "ami-1")
        spec = spec or AutoScaling("shop")
        target = Target(
            name="prod",
            provider="aws",
            fleet=FleetSpec(engine="autoscaling", autoscaling=spec, **fleet),
            health=Health(tcp=TcpProbe(80)),
            base=base,
            settings=dict(settings or {}),
        )
        self.definition = Definition(
            path=tmp_path / "immutable.yml",
            service="shop",
            version="2.0",
            provision=Provision("site.yml"),
            verify=None,
            data=(),
            writable=(),
            shell="restricted",
            targets={"prod": target},
            base=base,
        )

    def controller(self, options: RunOptions | None = None, image: Image = IMAGE) -> InstanceRefreshRun:
        services = GroupServices(
            scaling=self.scaling,
            store=self.store,
            clock=self.scaling.clock,
            guard=NoGuard(),
            lease=NoLease(),
            gates=self._gates,
            report=self.lines.append,
            revoked=self._revoked,
        )
        target = self.definition.targets["prod"]
        request = group_request(
            self.definition, target, image, key=b"key", resolve=lambda references: {}, authorized_keys=()
        )
        request = replace(request, nonce=f"of-{request.launch}")
        return InstanceRefreshRun(services, self.definition, target, image, request=request, options=options)

    def run(self, options: RunOptions | None = None) -> dict[str, Any]:
        return self.controller(options).run()
