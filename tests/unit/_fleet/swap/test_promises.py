# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The engine's own check refuses what a defective plan would do."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import FleetError
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.actions import (
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
    Stop,
    Switch,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.model import InstanceView, Intent, Observed
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.swap.promises import Promises
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import Volume

OLD = InstanceView(
    "old", 0, "sha256:1", "l1", "running", 0.0, 0.0, proven=True, healthy=True, member="up", volumes=("v",)
)
NEW = InstanceView("new", 0, "sha256:2", "l2", "running", 0.0, 0.0, proven=False)
INTENT = Intent("f", image="sha256:2", launch="l2", size=1, surge=1)
OBSERVED = Observed(0.0, (OLD, NEW), (Volume("v", "f", 0, "uploads", 1, "old"),))


@pytest.mark.parametrize(
    "action, why",
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
def test_a_broken_promise_is_refused(action, why):
    with pytest.raises(FleetError, match=why):
        Promises(OBSERVED, INTENT).allow(action)


def test_an_old_instance_stays_until_its_successor_serves():
    stopped = replace(OLD, state="stopped", member=None)
    with pytest.raises(FleetError, match="before its successor"):
        Promises(replace(OBSERVED, instances=(stopped, NEW)), INTENT).allow(Remove(("old",)))
    serving = replace(NEW, proven=True, healthy=True, member="up")
    Promises(replace(OBSERVED, instances=(stopped, serving)), INTENT).allow(Remove(("old",)))


def test_what_earlier_actions_of_a_batch_did_is_counted():
    both = replace(OBSERVED, instances=(OLD, replace(NEW, proven=True, healthy=True, member="up")))
    promises = Promises(both, INTENT)
    promises.allow(Drain(("old",)))
    with pytest.raises(FleetError):
        promises.allow(Drain(("new",)))
