# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A group whose refreshes go through the statuses that a test gives, as AWS documents what each of them means."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import (
    AutoScaling,
    Definition,
    FleetSpec,
    Health,
    Provision,
    Target,
    TcpProbe,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import Base as DefinitionBase
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.autoscaling.run import (
    GroupServices,
    InstanceRefreshRun,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.gates import OpenGates
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.ports import Gates, NoGuard, NoLease
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.run import RunOptions
from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import Image
from ansible_collections.immutable.infra.plugins.plugin_utils._providers import group as h
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import RUNNING
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.clock import VirtualClock
from ansible_collections.immutable.infra.plugins.plugin_utils._store.memory import MemoryStore

from .killed import ControllerKilled

ID = "lt-1"
OLD, NEW = "ami-old", "ami-new"
WELL = (h.PENDING, h.IN_PROGRESS, h.IN_PROGRESS, h.BAKING, h.SUCCESSFUL)
LOOKS = 400  # after so many, a run is taken for one that never ends


def _version(template: h.LaunchTemplate | None) -> str:
    assert template is not None
    return template.version


@dataclass
class Scaling:
    """``script``: statuses of the next refresh, one a look; the last one stays. ``refusals``: codes of the next changing calls, "" for none."""

    clock: VirtualClock = field(default_factory=VirtualClock)
    named: str = "1"
    images: dict[str, str] = field(default_factory=lambda: {"1": OLD})  # by version
    members: list[h.GroupMember] = field(default_factory=list)
    found: list[h.Refresh] = field(default_factory=list)
    scripts: dict[str, list[str]] = field(default_factory=dict)
    script: tuple[str, ...] = WELL
    script_back: tuple[str, ...] = (h.ROLLING_BACK, h.ROLLED_BACK)
    hidden: int = 0  # looks for which a new refresh is not listed
    refusals: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    killed_at: int = -1  # the changing call that the run is killed after
    looks: int = 0
    region: str = "eu-west-1"
    longest_call: float = 0.0
    origins: dict[str, str] = field(default_factory=dict)

    @property
    def version(self) -> str:
        return self.named if self.named.isdecimal() else max(self.images, key=int)

    def add(self, count: int, version: str = "1", **kept: Any) -> Scaling:
        self.members += [
            h.GroupMember(
                f"i-{len(self.members) + n}",
                kept.pop("state", "InService"),
                True,
                h.LaunchTemplate(ID, version),
                **kept,
            )
            for n in range(count)
        ]
        return self

    def group(self) -> h.Group:
        return h.Group(
            "shop",
            h.LaunchTemplate(ID, self.version),
            self.named,
            self.images[self.version],
            len(self.members),
            60,
            tuple(self.members),
        )

    def machines(self) -> list[h.GroupMachine]:
        return [
            h.GroupMachine(each.id, self.images[_version(each.template)], RUNNING, "10.0.0.1", 1.0, "a")
            for each in self.members
        ]

    def refreshes(self) -> list[h.Refresh]:
        self.looks += 1
        assert self.looks < LOOKS, f"this never ends: {self.calls}, {self.found[0]}"
        if self.found and self.hidden:
            self.hidden -= 1
            return self.found[1:]
        self.found = [self._next(each) if each.active else each for each in self.found]
        assert sum(each.active for each in self.found) <= 1
        return list(self.found)

    def _next(self, refresh: h.Refresh) -> h.Refresh:
        script = self.scripts[refresh.id]
        status = script.pop(0) if len(script) > 1 else script[0]
        ended = self.clock.now() if status in h.ENDED else 0.0
        self._effect(status, refresh)
        return replace(refresh, status=status, ended=ended)

    def _effect(self, status: str, refresh: h.Refresh) -> None:
        if status == h.SUCCESSFUL:
            self.named = _version(refresh.template)
            self._run(_version(refresh.template), len(self.members))
        elif status == h.ROLLED_BACK:
            self.named = self.origins[refresh.id]
            self._run(self.origins[refresh.id], len(self.members))
        elif status in h.ENDED:  # midway
            self._run(_version(refresh.template), len(self.members) // 2)

    def _run(self, version: str, count: int) -> None:
        free = [each for each in self.members if each.state == "InService" and not each.protected][:count]
        self.members = [
            replace(each, template=h.LaunchTemplate(ID, version)) if each in free else each for each in self.members
        ]

    def desired_launch(self, group: h.Group, image: str, name: str, tags: Mapping[str, str]) -> h.DesiredLaunch:
        made = [version for version, its in self.images.items() if its == image]
        template = group.template if group.image == image else h.LaunchTemplate(ID, made[-1]) if made else None
        return h.DesiredLaunch(image, "content", tags, name, group.template, template)

    def _called(self, call: str) -> None:
        self.calls.append(call)
        code = self.refusals.pop(0) if self.refusals else ""
        if code:
            raise ProviderError(f"refused: {code}", code=code)

    def _may_die(self) -> None:
        if self.killed_at == len(self.calls):
            raise ControllerKilled

    def create_version(self, wanted: h.DesiredLaunch) -> h.LaunchTemplate:
        self._called("make")
        assert self.named.isdecimal(), "an alias would move to the new version"
        self.images[str(len(self.images) + 1)] = wanted.image
        self._may_die()
        return h.LaunchTemplate(ID, str(len(self.images)))

    def pin(self, template: h.LaunchTemplate) -> None:
        self._called(f"pin {template.version}")
        assert template.version.isdecimal()
        self.named = template.version
        self._may_die()

    def start(self, template: h.LaunchTemplate, preferences: Mapping[str, Any]) -> str:
        self._called(f"start {template.version}")
        assert template.version.isdecimal() and self.named.isdecimal()
        if any(each.active for each in self.found):
            raise ProviderError("there is one", code=h.RUNS_ALREADY)
        refresh = self.begun(template.version, self.script)
        self._may_die()
        return refresh

    def begun(self, version: str, script: Iterable[str]) -> str:
        """A refresh that is under way, of whomever."""
        refresh = h.Refresh(
            f"r-{len(self.found)}", h.PENDING, template=h.LaunchTemplate(ID, version), started=self.clock.now()
        )
        self.found.insert(0, refresh)
        self.scripts[refresh.id], self.origins[refresh.id] = list(script), self.named
        return refresh.id

    def cancel(self) -> None:
        self._end("cancel", (h.CANCELLING, h.CANCELLED))

    def roll_back(self) -> None:
        self._end("roll back", self.script_back)

    def _end(self, call: str, script: Iterable[str]) -> None:
        self._called(call)
        active = [each for each in self.found if each.active]
        if not active:
            raise ProviderError("there is none", code=h.RUNS_NO_MORE)
        self.scripts[active[0].id] = list(script)
        self._may_die()


IMAGE = Image(
    "sha256:" + "1" * 64,
    "aws-1-x86_64",
    "shop",
    "2.0",
    "2026-01-01T00:00:00Z",
    {"ami": NEW, "region": "eu-west-1"},
    {},
    {},
)


class Lab:
    """One group, one store; each run is a new controller."""

    def __init__(
        self,
        scaling: Scaling,
        tmp_path: Path,
        spec: AutoScaling | None = None,
        gates: Gates | None = None,
        revoked: Callable[[], Mapping[str, str]] = dict,
        **fleet: Any,
    ) -> None:
        self.scaling = scaling
        self.store = MemoryStore()
        self.lines: list[str] = []
        self._gates, self._revoked = gates or OpenGates(), revoked
        base = DefinitionBase("ami", "ami-1")
        own = FleetSpec(engine="autoscaling", autoscaling=spec or AutoScaling("shop"), **fleet)
        target = Target("prod", "aws", own, Health(tcp=TcpProbe(80)), base)
        path = tmp_path / "immutable.yml"
        self.definition = Definition(
            path, "shop", "2.0", Provision("site.yml"), None, (), (), "restricted", {"prod": target}, base
        )

    def controller(self, how: RunOptions | None = None, image: Image = IMAGE) -> InstanceRefreshRun:
        means = GroupServices(
            scaling=self.scaling,
            store=self.store,
            clock=self.scaling.clock,
            guard=NoGuard(),
            lease=NoLease(),
            gates=self._gates,
            report=self.lines.append,
            revoked=self._revoked,
        )
        return InstanceRefreshRun(means, self.definition, self.definition.targets["prod"], image, options=how)

    def run(self, how: RunOptions | None = None) -> dict[str, Any]:
        return self.controller(how).run()
