# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Rollbacks after a successful swap, with two real images.

While the old fleet is kept, traffic switches back to it. Afterwards, the old image is launched again.
"""

from __future__ import annotations

import pytest
from ansible_collections.immutable.infra.tests.support.machines import Service, ask, events

pytestmark = [pytest.mark.vm, pytest.mark.long]


def test_rollbacks_to_a_kept_and_to_a_removed_fleet(plain: Service) -> None:
    plain.greet("as it was", fleet={})
    plain.play("swap")
    first = plain.converged("as it was")
    plain.greet("another", fleet={"strategy": "blue_green", "keep_old": "1h"}, version="2")
    plain.play("release", wait=False)
    assert plain.newest_record()["intent"]["status"] == "done"  # of the previous swap: this one is paused
    assert versions(plain) == {"2", "1"}

    plain.define(version="2")
    output = plain.play("rollback", wait=False)
    print("while the old fleet was kept:", *events(output), sep="\n  ")
    assert "launched" not in output
    serving = [each for each in plain.instances() if each["serving"]]
    assert [each["id"] for each in serving] == [each["id"] for each in first]

    plain.define(fleet={"strategy": "blue_green"})
    plain.play("promote")
    plain.play("swap")
    assert {ask(each, "/version")[1] for each in plain.converged("another")} == {b"2"}
    plain.greet("a third one")
    plain.play("swap")

    output = plain.play("rollback")
    print("once the old fleet was removed:", *events(output), sep="\n  ")
    assert {ask(each, "/version")[1] for each in plain.converged("as it was")} == {b"1"}


def versions(service: Service) -> set[str]:
    return {ask(each, "/version")[1].decode() for each in service.instances()}
