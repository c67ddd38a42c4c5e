# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The simulated clock misses no event: all answers stay the same until the next event that it knows."""

from __future__ import annotations

from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import VolumeRequest
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.clock import NEVER
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.world import Behavior, Latencies
from ansible_collections.immutable.infra.tests.support.cloud import FLEET, SimulatedCloud, launch_request
from hypothesis import given
from hypothesis import strategies as st

IDS = ["a", "b"]
VOLUME = f"{FLEET}/0-uploads"
spans = st.floats(0.1, 20.0)
behaviors = st.builds(
    Behavior,
    boots=st.sampled_from([True, True, False]),
    gets_healthy=st.sampled_from([True, True, False]),
    stops=st.booleans(),
    flap_seconds=st.one_of(st.just(0.0), st.just(0.0), spans),
    healthy_for=st.one_of(st.just(NEVER), st.just(NEVER), spans),
)
latencies = st.builds(Latencies, boot=spans, health=spans, check=spans, drain=spans, stop=spans)
ACTIONS = {
    "launch": lambda cloud, name: cloud.compute.launch([launch_request(name, data=name == "b")]),
    "stop": lambda cloud, name: cloud.compute.stop([name]),
    "power_off": lambda cloud, name: cloud.compute.power_off([name]),
    "start": lambda cloud, name: cloud.compute.start([name]),
    "remove": lambda cloud, name: cloud.compute.remove([name]),
    "attach": lambda cloud, name: cloud.volumes.attach([VOLUME], name),
    "detach": lambda cloud, name: cloud.volumes.detach([VOLUME]),
    "register": lambda cloud, name: cloud.provider.traffic(FLEET).register({name: ("192.0.2.1", 80)}),
    "stage": lambda cloud, name: cloud.provider.traffic(FLEET).register({name: ("192.0.2.1", 80)}, staged=True),
    "switch": lambda cloud, name: cloud.provider.traffic(FLEET).switch(
        [name], [other for other in IDS if other != name]
    ),
    "drain": lambda cloud, name: cloud.provider.traffic(FLEET).drain([name], 7.0),
    "deregister": lambda cloud, name: cloud.provider.traffic(FLEET).deregister([name]),
}
steps = st.lists(
    st.tuples(st.sampled_from(sorted(ACTIONS)), st.sampled_from(IDS), st.integers(0, 3)), min_size=3, max_size=20
)


def answers(cloud: SimulatedCloud) -> tuple:
    instances = cloud.compute.list(FLEET)
    return (
        instances,
        cloud.volumes.list(FLEET),
        cloud.provider.traffic(FLEET).members(),
        cloud.provider.probe(instances),
    )


@given(
    behavior=behaviors,
    times=latencies,
    forgets_drained=st.booleans(),
    life=st.one_of(st.just(NEVER), spans),
    actions=steps,
)
def test_all_answers_stay_the_same_between_two_events(
    behavior: Behavior, times: Latencies, forgets_drained: bool, life: float, actions: list
) -> None:
    cloud = SimulatedCloud(latencies=times, forgets_drained=forgets_drained)
    cloud.world.traits_of = lambda _request: (None, behavior)
    cloud.provider.traffic(FLEET).ensure()
    cloud.volumes.create([VolumeRequest(FLEET, 0, name="uploads", size=1, mount="/data")])
    for action, name, events in [("launch", "a", 3), ("launch", "b", 0), ("register", "a", 0), *actions]:
        try:
            ACTIONS[action](cloud, name)
        except ProviderError:
            continue  # other tests cover what the provider refuses
        if action == "launch" and name in cloud.world.machines:
            cloud.world.machines[name].crashes_at = cloud.clock.now() + life
        for _event in range(events):
            assert_same_until_next_event(cloud)
            cloud.clock.wait(60.0)


def assert_same_until_next_event(cloud: SimulatedCloud) -> None:
    before, now = answers(cloud), cloud.clock.now()
    remaining = min(cloud.world.next_event(now) - now, 1_000.0)
    for part in (0.5, 0.499) if remaining > 0.001 else ():  # events that are closer differ only by rounding
        cloud.world.clock.advance(remaining * part)
        assert answers(cloud) == before
