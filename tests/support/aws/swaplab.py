# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Complete swaps on EC2 in this process, with the real engine, provider and boto3, and with a clock of their own.

The promises are checked at each call.
"""

from __future__ import annotations

import itertools
import time
import types
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timezone
from types import MappingProxyType
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._aws.clients import Clients
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import Stage, TrafficSpec
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.probes import Health, HttpProbe
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.model import Payload
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2.images import Ec2Images
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2.provider import Ec2Provider
from ansible_collections.immutable.infra.plugins.plugin_utils._traffic.elbv2.balancer import TargetGroups

from ..cloud_swap_lab import PORT, CloudSwapLab
from ..killed import ControllerKilled
from ..swap_kills import NEW, OLD
from . import seeds
from .answers import Answer
from .calls import READ_ACTION, Call
from .documents import Document
from .faults import Faults
from .proxy import Proceed
from .server import REGION, Cloud
from .watch import PromiseWatcher

SPEEDS = {"launch": 1.0, "health": 1.0, "stop": 1.0, "drain": 1.0}  # seconds; long enough that each state is observed
LONGEST = 2_000.0  # virtual seconds of a run
HTTP = Health(http=HttpProbe(8080, "/healthz"))
STRATEGIES: dict[str, dict[str, Any]] = {
    "rolling": {"surge": 2},
    "rolling, data": {"surge": 2, "data": True},
    "blue_green": {"strategy": "blue_green", "surge": 2},
    "recreate": {"strategy": "recreate"},
    "canary": {"strategy": "canary", "surge": 1, "stages": (Stage(instances=1, soak=2.0),)},
}
# Moto lacks the tasks that replace root volumes, so a test adds ``RootTasks``.
REIMAGING: dict[str, dict[str, Any]] = {
    "reimage": {"strategy": "reimage", "unavailable": 1},
    "reimage, data": {"strategy": "reimage", "unavailable": 1, "data": True},
}


def sampled(every: Iterable[tuple[Any, ...]], *sample: tuple[Any, ...]) -> list[Any]:
    """Parameters of tests. Those that are not in the sample are marked as long."""
    return [pytest.param(*each, marks=[] if each in sample else [pytest.mark.long]) for each in every]


class Clock:
    """Seconds that were skipped instead of waited for, and a millisecond for each look at the clock.

    Real time does not count: on a busy machine, a swap would look slow.
    """

    def __init__(self) -> None:
        self._began, self._looks = time.time(), itertools.count()
        self.skipped = 0.0

    def now(self) -> float:
        return self._began + next(self._looks) / 1000 + self.skipped

    def wait(self, seconds: float) -> None:
        self.skipped += max(0.0, seconds)


class CloudTimes:
    """A layer of the proxy that puts times of the test's clock into answers."""

    def __init__(self, cloud: Cloud) -> None:
        self._world = cloud.world

    def __call__(self, call: Call, proceed: Proceed) -> Answer:
        answer = proceed(call)
        if call.action not in ("RunInstances", "DescribeInstances", "GetConsoleOutput") or not answer.ok:
            return answer
        document = Document(answer)
        if call.action == "GetConsoleOutput":
            document.set_text("timestamp", _iso(self._world.settings.now()), document.root)
        for path in ("instancesSet/item", "reservationSet/item/instancesSet/item"):
            for item in document.find_all(path):
                began = self._world.since.get(("launch", document.text("instanceId", item)))
                if began is not None:
                    document.set_text("launchTime", _iso(began), item)
                ended = self._world.since.get(("ending", document.text("instanceId", item)))
                if ended is not None and document.text("instanceState/name", item) not in ("pending", "running"):
                    at = datetime.fromtimestamp(ended, timezone.utc).strftime("%Y-%m-%d %H:%M:%S GMT")
                    document.set_text("reason", f"User initiated ({at})", item)
        return document.to_answer()


class SwapLab(CloudSwapLab):
    """One account, one fleet, and a new controller for each run."""

    times = MappingProxyType(
        {"drain_timeout": 2.0, "stop_timeout": 30.0, "boot_deadline": 60.0, "health_deadline": 60.0}
    )

    def __init__(self, cloud: Cloud, clock: Clock, size: int = 2, strategy: str = "rolling", **changes: Any) -> None:
        super().__init__(size, {**STRATEGIES, **REIMAGING}[strategy] | changes)
        self.cloud, self.clock = cloud, clock
        self.net = seeds.network(cloud)
        self.zones = self.net.zones
        self.amis = {image: seeds.image(cloud, f"shop-{image[7:]}") for image in (OLD, NEW)}
        self.balancer = seeds.balancer(cloud, self.net, 2 if strategy == "blue_green" else 1)
        self.rule = self.balancer.listener if strategy == "blue_green" else ""
        cloud.set(now=clock.now, **SPEEDS)
        self.watcher = PromiseWatcher(cloud, self.balancer.groups, self.rule, self.intent)
        rules = [each for each in cloud.proxy.layers if not isinstance(each, (Faults, PromiseWatcher, CloudTimes))]
        cloud.proxy.layers = [cloud.faults, self.watcher, CloudTimes(cloud), *rules]

    def payload(self, image: str) -> Payload:
        machine = {
            "subnets": dict(zip(self.net.zones, self.net.subnets, strict=True)),
            "security_groups": [self.net.group],
            "evidence": "console",
        }
        return Payload(
            {"ami": self.amis[image], "region": REGION, "copies": {}},
            (PORT,),
            machine=machine,
            tags={"port": str(PORT)},
        )

    def provider(self) -> Ec2Provider:
        clients = Clients(self.cloud.account())
        spec = TrafficSpec(target_groups=self.balancer.groups, rule=self.rule)
        images = Ec2Images(self.cloud.account(), False)
        provider = Ec2Provider(
            clients,
            self.store,
            lambda fleet: TargetGroups(clients, fleet, spec, health=HTTP, now=self.clock.now),
            images=images,
            probes=False,
        )
        provider.clock = self.clock  # type: ignore[assignment]
        return provider

    def run(self, image: str = NEW, **more: Any) -> dict[str, Any]:
        """One run of a new controller. Raises what the engine raises."""
        start = self.clock.skipped
        provider = self.provider()

        def report(line: Any) -> None:
            self.lines.append(str(line))
            assert self.clock.skipped - start < LONGEST, f"this run does not end: {self.lines[-5:]}"

        prober = provider.probe or (lambda _instances: {})
        return self.engine(provider, prober, report=report, monotonic=self.clock.now).run(self.request(image, **more))

    def forget(self) -> None:
        self.cloud.proxy.forget()
        self.cloud.faults.clear()
        self.lines.clear()

    def count_changes(self) -> int:
        """Changing calls since the last ``forget``."""
        return self.cloud.count(changing=True)

    def killer(self, nth: int, late: bool) -> AbstractContextManager[Killer]:
        """Kill the controller at its nth changing call."""
        return Killer(self.cloud, nth, late).armed()

    def finish(self, image: str = NEW) -> None:
        """Run without faults, and assert that the fleet is settled on the image."""
        self.cloud.faults.clear()
        super().finish(image)

    def assert_settled(self, image: str = NEW) -> None:
        """Assert that only this image runs, that no promise was broken, and that another run changes nothing."""
        self.watcher.assert_settled(self.clock, self.amis[image], self.size, bool(self.changes.get("data")))
        self.cloud.proxy.forget()
        result = self.run(image)
        changed = [f"{call.service}:{call.action}" for call in self.cloud.calls(changing=True)]
        assert not result["changed"] and not changed, f"a run after success changes: {changed}"
        assert not self.watcher.broken_promises, self.watcher.broken_promises


@contextmanager
def instant_waits(clock: Clock) -> Iterator[None]:
    """Waits of botocore and the provider take no real time and advance the test's clock. Only in this process."""
    import botocore.endpoint
    import botocore.httpsession
    import botocore.retries.bucket
    import botocore.waiter
    from ansible_collections.immutable.infra.plugins.plugin_utils._providers import seal_evidence
    from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2 import (
        compute as ec2_compute,
    )
    from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2 import (
        reimage as ec2_reimage,
    )
    from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2 import (
        volumes as ec2_volumes,
    )

    test_time = types.SimpleNamespace(time=clock.now, monotonic=clock.now, sleep=clock.wait)
    with pytest.MonkeyPatch.context() as patch:
        for module in (botocore.endpoint, botocore.waiter, ec2_compute, ec2_reimage, ec2_volumes, seal_evidence):
            patch.setattr(module, "time", test_time)
        patch.setattr(botocore.retries.bucket.TokenBucket, "acquire", lambda *_args, **_more: True)
        yield


@pytest.fixture
def clock(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    """The test's clock. The proxy gets its layers back after the test."""
    monkeypatch.setattr(cloud.proxy, "layers", list(cloud.proxy.layers))
    test_clock = Clock()
    with instant_waits(test_clock):
        yield test_clock


class Killer:
    """Kills the controller at its nth changing call, before the call reaches AWS or (``late``) after its effect."""

    def __init__(self, cloud: Cloud, nth: int, late: bool) -> None:
        self._url, self.left, self._late = cloud.endpoint_url, nth, late

    @contextmanager
    def armed(self) -> Iterator[Killer]:
        import botocore.httpsession

        send = botocore.httpsession.URLLib3Session.send

        def send_or_kill(session: Any, request: Any) -> Any:
            if not self._is_killed_at(request):
                return send(session, request)
            if self._late:
                send(session, request)
            raise ControllerKilled

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(botocore.httpsession.URLLib3Session, "send", send_or_kill)
            yield self

    def _is_killed_at(self, request: Any) -> bool:
        body = request.body if isinstance(request.body, str) else (request.body or b"").decode("utf-8", "replace")
        action = body.partition("Action=")[2].partition("&")[0]
        if not request.url.startswith(self._url) or not action or READ_ACTION.match(action):
            return False
        self.left -= 1
        return self.left == 0


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")
