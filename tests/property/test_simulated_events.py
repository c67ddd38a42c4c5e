# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The simulated clock misses nothing: until the next event that it knows of, every answer stays as it is."""

from __future__ import annotations

from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import VolumeRequest
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.clock import NEVER
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.world import Behavior, Latencies
from ansible_collections.immutable.infra.tests.support.cloud import FLEET, Cloud, ask
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
ACTS = {
    "launch": lambda cloud, each: cloud.compute.launch([ask(each, data=each == "b")]),
    "stop": lambda cloud, each: cloud.compute.stop([each]),
    "power_off": lambda cloud, each: cloud.compute.power_off([each]),
    "start": lambda cloud, each: cloud.compute.start([each]),
    "remove": lambda cloud, each: cloud.compute.remove([each]),
    "attach": lambda cloud, each: cloud.volumes.attach([VOLUME], each),
    "detach": lambda cloud, each: cloud.volumes.detach([VOLUME]),
    "register": lambda cloud, each: cloud.provider.traffic(FLEET).register({each: ("192.0.2.1", 80)}),
    "stage": lambda cloud, each: cloud.provider.traffic(FLEET).register({each: ("192.0.2.1", 80)}, staged=True),
    "switch": lambda cloud, each: cloud.provider.traffic(FLEET).switch(
        [each], [other for other in IDS if other != each]
    ),
    "drain": lambda cloud, each: cloud.provider.traffic(FLEET).drain([each], 7.0),
    "deregister": lambda cloud, each: cloud.provider.traffic(FLEET).deregister([each]),
}
steps = st.lists(
    st.tuples(st.sampled_from(sorted(ACTS)), st.sampled_from(IDS), st.integers(0, 3)), min_size=3, max_size=20
)


def answers(cloud: Cloud) -> tuple:
    instances = cloud.compute.list(FLEET)
    return (
        instances,
        cloud.volumes.list(FLEET),
        cloud.provider.traffic(FLEET).members(),
        cloud.provider.probe(instances),
    )


@given(behaviors, latencies, st.booleans(), st.one_of(st.just(NEVER), spans), steps)
def test_between_two_events_every_answer_stays_as_it_is(
    behavior: Behavior, times: Latencies, forgets_drained: bool, life: float, acts: list
) -> None:
    cloud = Cloud(latencies=times, forgets_drained=forgets_drained)
    cloud.world.traits_of = lambda _request: (None, behavior)
    cloud.provider.traffic(FLEET).ensure()
    cloud.volumes.create([VolumeRequest(FLEET, 0, "uploads", 1, "/data")])
    for act, each, waits in [("launch", "a", 3), ("launch", "b", 0), ("register", "a", 0), *acts]:
        try:
            ACTS[act](cloud, each)
        except ProviderError:
            continue  # what it refuses is seen elsewhere
        if act == "launch" and each in cloud.world.machines:
            cloud.world.machines[each].crashes_at = cloud.clock.now() + life
        for _event in range(waits):
            before, ahead = answers(cloud), min(cloud.world.next_event(cloud.clock.now()) - cloud.clock.now(), 1_000.0)
            for part in (0.5, 0.499) if ahead > 0.001 else ():  # closer ones are one but for rounding
                cloud.world.clock.advance(ahead * part)
                assert answers(cloud) == before
            cloud.clock.wait(60.0)
