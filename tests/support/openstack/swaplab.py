# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Complete swaps on a real control plane of OpenStack, whose hosts only pretend to run the servers.

The engine, the provider and openstacksdk are real, and so is time. The servers have no network, which would take most
of it, so their addresses and the load balancer are made up here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import Stage
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.model import Payload
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.cloud_pace import cloud_pace
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import Instance
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.openstack.provider import OpenStackProvider

from ..cloud_swap_lab import PORT, CloudSwapLab
from ..swap_kills import NEW, OLD
from .balancer import MemoryBalancer
from .projects import Project, ProjectConnections
from .wire import Call, Wire

STRATEGIES: dict[str, dict[str, Any]] = {
    "rolling": {"surge": 1},
    "rolling, data": {"surge": 1, "data": True},
    "blue_green": {"strategy": "blue_green", "surge": 2},
    "recreate": {"strategy": "recreate"},
    "recreate, data": {"strategy": "recreate", "data": True},
    "canary": {"strategy": "canary", "surge": 1, "stages": (Stage(instances=1, soak=1.0),)},
}
ENDING = ("os-stop", "DELETE", "rebuild")
LIVE, LEAVING = ("BUILD", "ACTIVE"), ("powering-off", "deleting")


class SwapLab(CloudSwapLab):
    """One project, one fleet, and a new controller for each run."""

    times = MappingProxyType(
        {"drain_timeout": 0.5, "stop_timeout": 60.0, "boot_deadline": 120.0, "health_deadline": 120.0}
    )

    def __init__(self, project: Project, size: int = 2, strategy: str = "rolling", **changes: Any) -> None:
        super().__init__(size, {**STRATEGIES[strategy], **changes})
        self.project = project
        self.glance = {image: project.image(image.encode()) for image in (OLD, NEW)}
        self.balancer = MemoryBalancer()
        self.broken_promises: list[str] = []
        self.unhealthy_images: set[str] = set()
        self.dead: set[str] = set()  # servers that do not answer, whatever Nova says
        self.wire = Wire(project.cloud)
        self.wire.layers.append(self._watch)
        self.machine: dict[str, Any] = {"flavor": "m1.micro", "networks": [], "evidence": "none"}

    def payload(self, image: str) -> Payload:
        return Payload({"glance": self.glance[image]}, (PORT,), machine=self.machine, tags={"port": str(PORT)})

    def provider(self) -> OpenStackProvider:
        connections = ProjectConnections(self.project.cloud)
        images: Any = None  # a swap does not ask for them
        provider = OpenStackProvider(connections, self.store, lambda _fleet: self.balancer, images=images)
        listed: Callable[[str], list[Instance]] = provider.compute.list
        provider.compute.list = lambda fleet: [_addressed(each) for each in listed(fleet)]  # type: ignore[method-assign]
        return provider

    def probe(self, instances: Sequence[Instance]) -> dict[str, bool | str]:
        self.balancer.unhealthy = {
            each.id for each in instances if each.image in self.unhealthy_images or each.id in self.dead
        }
        return {each.id: "503" if each.id in self.balancer.unhealthy else True for each in instances}

    def run(self, image: str = NEW, **more: Any) -> dict[str, Any]:
        """One run of a new controller. Raises what the engine raises."""
        engine = self.engine(
            self.provider(), self.probe, report=lambda line: self.lines.append(str(line)), pace=cloud_pace
        )
        return engine.run(self.request(image, **more))

    @contextmanager
    def killer(self, nth: int, late: bool) -> Iterator[None]:
        with self.wire.layer(self.wire.killer(nth, late)):
            yield

    def count_changes(self) -> int:
        return len(self.wire.changes())

    def forget(self) -> None:
        self.wire.calls.clear()
        self.lines.clear()

    def servers(self) -> list[Any]:
        """The project's servers, without those that are gone and shown for a moment more."""
        return [each for each in self.project.cloud.compute.servers() if each.status != "DELETED"]

    def assert_settled(self, image: str = NEW) -> None:
        """Assert that only this image runs, that no promise was broken, and that another run changes nothing."""
        self.forget()
        result = self.run(image)
        assert not self.count_changes() and not result["changed"], f"a run after success changes: {self.wire.changes()}"
        running = sorted((each.metadata["immutable:slot"], each.image.id, each.status) for each in self.servers())
        assert running == [(str(slot), self.glance[image], "ACTIVE") for slot in range(self.size)], running
        assert self.balancer.serving() == {each.id for each in self.servers()}, self.balancer.entries
        volumes = list(self.project.cloud.block_storage.volumes())
        assert len(volumes) == (self.size if self.changes.get("data") else 0), volumes
        attached = sorted(each.attachments[0]["server_id"] for each in volumes if each.attachments)
        assert attached == sorted(each.id for each in self.servers() if volumes), "a volume is not attached"
        assert not self.broken_promises, self.broken_promises

    def _watch(self, call: Call, proceed: Callable[[], Any]) -> Any:
        """Note each call that ends an instance although too few serve without it, or that launches too many."""
        intent = self.intent()
        ending = call.path.startswith("servers/") and call.what.split(" ")[-1 if call.body else 0] in ENDING
        if intent and ending and intent["strategy"] != "recreate" and self.balancer.serving() & set(call.ids):
            left = len(self.balancer.serving() - set(call.ids))
            if left < intent["size"] - intent["unavailable"]:
                self.broken_promises.append(f"floor: {call.what} left {left} in service")
        answer = proceed()
        if intent and call.what == "POST servers" and intent["strategy"] != "recreate":
            live = [each for each in self.servers() if each.status in LIVE and each.task_state not in LEAVING]
            if len(live) > intent["size"] + intent["surge"]:
                self.broken_promises.append(f"ceiling: {len(live)} servers run, {intent['size']} are wanted")
        return answer


def _addressed(instance: Instance) -> Instance:
    """With a made-up address, since the server has no network."""
    return replace(instance, endpoints={PORT: ("192.0.2.1", PORT)})
