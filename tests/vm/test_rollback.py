# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Going back after a swap that went well, with two real images: a flip while the old fleet is warm, a launch of what was once it is gone."""

from __future__ import annotations

import pytest
from ansible_collections.immutable.infra.tests.support.machines import Service, ask, events

pytestmark = [pytest.mark.vm, pytest.mark.long]


def test_going_back(plain: Service) -> None:
    plain.greet("as it was", fleet={})
    plain.play("swap")
    first = plain.converged("as it was")
    plain.greet("another", fleet={"strategy": "blue_green", "keep_old": "1h"}, version="2")
    plain.play("release", wait=False)
    assert plain.newest_record()["intent"]["status"] == "done"  # of the swap before: this one is paused
    assert versions(plain) == {"2", "1"}

    plain.define(version="2")
    said = plain.play("rollback", wait=False)
    print("while it was warm:", *events(said), sep="\n  ")
    assert "launched" not in said
    serving = [each for each in plain.instances() if each["serving"]]
    assert [each["id"] for each in serving] == [each["id"] for each in first]

    plain.define(fleet={"strategy": "blue_green"})
    plain.play("promote")
    plain.play("swap")
    assert {ask(each, "/version")[1] for each in plain.converged("another")} == {b"2"}
    plain.greet("a third one")
    plain.play("swap")

    said = plain.play("rollback")
    print("once it was gone:", *events(said), sep="\n  ")
    assert {ask(each, "/version")[1] for each in plain.converged("as it was")} == {b"1"}


def versions(service: Service) -> set[str]:
    return {ask(each, "/version")[1].decode() for each in service.instances()}
