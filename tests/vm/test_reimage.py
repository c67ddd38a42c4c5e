# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Real machines that boot from another disk, with their ports and volumes, and go back if that is bad."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.immutable.infra.tests.support.machines import Service, ask
from ansible_collections.immutable.infra.tests.support.swap_checks import UNHEALTHY, ids

pytestmark = pytest.mark.long


def addresses(instances: list[dict[str, Any]]) -> dict[str, Any]:
    return {each["id"]: (each["address"], each["port"]) for each in instances}


def test_machines_stay_and_boot_from_another_image(keeper: Service) -> None:
    keeper.greet("before", fleet={})
    keeper.play("swap")
    words, before = keeper.write("before;"), keeper.converged("before")
    volumes = {each["id"]: each["attached_to"] for each in keeper.info()["volumes"]}

    keeper.greet("reimaged", fleet={"strategy": "reimage"}, version="2")
    keeper.play("release")
    after = keeper.converged("reimaged", words)
    assert {ask(each, "/version")[1] for each in after} == {b"2"}
    assert addresses(after) == addresses(before)
    assert {each["id"]: each["attached_to"] for each in keeper.info()["volumes"]} == volumes
    assert keeper.newest_record()["lowest_in_service"] >= keeper.size - 1

    keeper.define(settings={"broken": "yes"}, deadline=keeper.lab.short_deadline)
    output = keeper.play("swap", check=False)
    keeper.greet("reimaged", deadline=keeper.lab.deadline)
    assert UNHEALTHY in output and "Traceback" not in output
    back = keeper.converged("reimaged", words)
    assert ids(back) == ids(before)

    keeper.greet("killed")
    keeper.kill_while_playing("swap", "reimaged", tree=True)
    keeper.play("swap")
    assert ids(keeper.converged("killed", words)) == ids(before)
