# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The engine's own check refuses what a defective plan would do."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import FleetError
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.actions import (
    Act,
    Attach,
    Deregister,
    Detach,
    Drain,
    Launch,
    LaunchSlot,
    Modify,
    PowerOff,
    Register,
    Remove,
    RemoveVolumes,
    Stop,
    Switch,
    Wait,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.model import Intent, Payload
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.observed import InstanceView, Observed
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.planning.plan import plan
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.ports import ChangePermit
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.swap.executor import Executor
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.swap.promises import Promises
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import Volume
from ansible_collections.immutable.infra.tests.support.fleetlab import FLEET, Lab, request

OLD = InstanceView(
    id="old",
    slot=0,
    image="sha256:1",
    launch="l1",
    state="running",
    created=0.0,
    started=0.0,
    proven=True,
    healthy=True,
    member="up",
    volumes=("v",),
)
NEW = InstanceView(
    id="new", slot=0, image="sha256:2", launch="l2", state="running", created=0.0, started=0.0, proven=False
)
INTENT = Intent("f", image="sha256:2", launch="l2", size=1, surge=1)
OBSERVED = Observed(0.0, (OLD, NEW), (Volume(id="v", fleet="f", slot=0, name="uploads", size=1, attached_to="old"),))


@pytest.mark.parametrize(
    "action, reason",
    [
        (Drain(("old",)), "0 instances would be in service, but 1 must be"),
        (Deregister(("old",)), "0 instances would be in service"),
        (Stop(("old",)), "0 instances would be in service"),
        (Launch((LaunchSlot(0),)), "3 instances would run, but no more than 2 may"),
        (Attach(("v",), "new"), "second writer"),
        (Detach(("v",)), "which still runs"),
        (Register(("new",)), "not proven and healthy"),
        (Remove(("old",)), "0 instances would be in service"),
        (Switch((), ("old",)), "0 instances would be in service"),
        (Switch(("new",), ()), "not proven and healthy"),
        (Modify(("v",), 2, ""), "would be changed while old has it"),
        (PowerOff(("new",)), "without having been asked to stop"),
    ],
)
def test_a_broken_promise_is_refused(action, reason):
    with pytest.raises(FleetError, match=reason):
        Promises(OBSERVED, INTENT).allow(action)


def test_an_old_instance_stays_until_its_successor_serves():
    stopped = replace(OLD, state="stopped", member=None)
    with pytest.raises(FleetError, match="before its successor"):
        Promises(replace(OBSERVED, instances=(stopped, NEW)), INTENT).allow(Remove(("old",)))
    serving = replace(NEW, proven=True, healthy=True, member="up")
    Promises(replace(OBSERVED, instances=(stopped, serving)), INTENT).allow(Remove(("old",)))


def test_earlier_actions_of_a_pass_count():
    both = replace(OBSERVED, instances=(OLD, replace(NEW, proven=True, healthy=True, member="up")))
    promises = Promises(both, INTENT)
    promises.allow(Drain(("old",)))
    with pytest.raises(FleetError):
        promises.allow(Drain(("new",)))


@dataclass(frozen=True)
class Defragment:
    """An action that neither the engine's check nor the executor knows. It has the shape of one on instances."""

    ids: tuple[str, ...] = ("old",)


ABSENT = replace(INTENT, goal="absent", remove_volumes=("uploads",))
LEFT = Observed(0.0, volumes=(Volume(id="v", fleet="f", slot=0, name="uploads", size=1),))


def test_an_unknown_action_is_refused():
    with pytest.raises(FleetError, match="unknown action Defragment"):
        Promises(OBSERVED, INTENT).allow(Defragment())


def test_the_executor_refuses_an_unknown_action():
    lab = Lab()
    lab.run(request(size=1))
    (instance,) = lab.world.machines
    lab.world.calls.clear()
    executor = Executor(lab.provider, lab.provider.traffic(FLEET), lambda _intent: Payload(), ChangePermit())
    with pytest.raises(FleetError, match="unknown action Defragment"):
        executor.act(Defragment((instance,)), OBSERVED, INTENT)
    assert lab.world.calls == []


def test_a_volume_is_removed_only_if_it_was_named_for_an_absent_fleet_and_is_not_attached():
    remove = RemoveVolumes(("v",))
    Promises(LEFT, ABSENT).allow(remove)
    attached = replace(LEFT, volumes=(replace(LEFT.volumes[0], attached_to="gone"),))
    for observed, intent, reason in (
        (LEFT, replace(ABSENT, goal="present"), "v would be removed, but the fleet is not to become absent"),
        (LEFT, replace(ABSENT, remove_volumes=()), "v would be removed, but uploads is not named in remove_volumes"),
        (LEFT, replace(ABSENT, remove_volumes=("v",)), "v would be removed, but uploads is not named"),
        (attached, ABSENT, "v would be removed while gone has it"),
        (Observed(0.0), ABSENT, "v would be removed, but no such volume was observed"),
    ):
        with pytest.raises(FleetError, match=reason):
            Promises(observed, intent).allow(remove)


def test_a_volume_that_an_earlier_action_detached_may_be_removed():
    stopped = replace(OLD, state="stopped", member=None)
    promises = Promises(replace(OBSERVED, instances=(stopped,)), ABSENT)
    promises.allow(Detach(("v",)))
    promises.allow(RemoveVolumes(("v",)))


def test_the_plan_waits_for_a_volume_that_is_still_attached():
    attached = replace(LEFT, volumes=(replace(LEFT.volumes[0], attached_to="gone"),))
    assert plan(LEFT, ABSENT, 1.0) == Act((RemoveVolumes(("v",)),))
    assert plan(attached, ABSENT, 1.0) == Wait("slot 0: v is still attached to gone")
