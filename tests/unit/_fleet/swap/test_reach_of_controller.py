# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A swap from a machine that reaches no instance is refused before anything begins."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import FleetError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.probes import Health, HttpProbe
from ansible_collections.immutable.infra.plugins.plugin_utils._health.probe import probe
from ansible_collections.immutable.infra.tests.support.fleetlab import V1, V2, Lab, request


def test_a_controller_that_reaches_no_instance_begins_no_swap() -> None:
    lab = Lab()
    lab.run(request(V1, size=2))
    lab.provider.probe = lambda instances: {each.id: "no connection within 2 s" for each in instances}
    calls = len(lab.world.calls)
    with pytest.raises(
        FleetError, match=r"2 instances in service, but this machine reaches none of them \(shop-local-0"
    ):
        lab.run(request(V2, size=2))
    assert len(lab.world.calls) == calls and lab.images() == {0: [V1], 1: [V1]}


def test_one_instance_that_answers_is_enough_and_so_is_another_failure() -> None:
    lab = Lab()
    lab.run(request(V1, size=2))
    well = lab.provider.probe
    lab.provider.probe = lambda instances: {
        **well(instances),
        **{each.id: "no answer within 2 s" for each in instances if each.image == V1},
    }
    assert lab.run(request(V2, size=2))["changed"]


def test_a_connection_that_nothing_answers_is_told_from_a_service_that_hangs() -> None:
    health = Health(http=HttpProbe(8080), timeout=0.3)
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)  # the kernel answers one connection, and drops those that follow
        stack.enter_context(socket.create_connection(server.getsockname()))
        reasons = [probe({8080: server.getsockname()}, health) for _each in range(3)]
    assert reasons[-1] == "no connection within 0.3 s"
