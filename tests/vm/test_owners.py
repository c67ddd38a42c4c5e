# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A service whose user gets another uid in the next image, on a real machine: refused, taken over, and given back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.tests.support.machines import PROVISION, UNIT, Service, ask, released
from ansible_collections.immutable.infra.tests.support.on_host import run_on_host

pytestmark = pytest.mark.long
FIRST, SECOND = 4711, 4712
DATA = {"size": "64M", "owner": "echo:echo"}
STEPS = """
    - name: Create its group
      ansible.builtin.group:
        name: echo
        gid: {number}
    - name: Create its user
      ansible.builtin.user:
        name: echo
        uid: {number}
        group: echo
        system: true
        create_home: false
"""


class Owned(Service):
    """The echo service as a user of its own. Only it can read its words."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "owned", size=1, shell="restricted", data=True)
        unit = UNIT.format(mounts="RequiresMountsFor=/var/lib/echo")
        unit = unit.replace("[Service]", "[Service]\nUser=echo\nUMask=0077")
        (folder / "echo.service").write_text(unit, encoding="utf-8")
        self.number(FIRST)
        self.define(volume=DATA)

    def number(self, number: int) -> None:
        """Give the user and the group another number in the next image."""
        steps = STEPS.format(number=number).lstrip("\n")
        (self.folder / "provision.yml").write_text(PROVISION + steps, encoding="utf-8")

    def bake(self) -> None:
        for playbook in ("bake", "verify", "promote"):
            self.play(playbook)


@pytest.fixture(scope="module")
def owned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Owned]:
    with released(Owned(tmp_path_factory.mktemp("owned") / "owned")) as service:
        yield service


def the_instance(service: Service) -> dict[str, Any]:
    [instance] = service.instances()
    assert instance["serving"] is True
    return instance


def holds(service: Service, number: int, words: bytes) -> None:
    """Assert that the service reads and appends its words as the user with this number."""
    instance = the_instance(service)
    assert ask(instance, "/words") == (200, words)
    owner = run_on_host(service, "stat", "-c", "%u:%g %a", "/var/lib/echo", "/var/lib/echo/words")
    assert owner.splitlines() == [f"{number}:{number} 755", f"{number}:{number} 600"]
    assert ask(instance, "/words", b"more;")[0] == 201


def test_data_of_another_uid_is_refused_and_then_taken_over_and_given_back(owned: Owned) -> None:
    assert ask(the_instance(owned), "/words", b"of the first;")[0] == 201
    holds(owned, FIRST, b"of the first;")
    before = the_instance(owned)
    running = owned.machines()

    owned.number(SECOND)
    owned.define(version="2")
    owned.bake()
    output = owned.play("swap", check=False)
    message = (
        rf'"msg": "data volume words: its owner has {FIRST}:{FIRST} \(uid:gid\) in owned-1-\w+ and {SECOND}:{SECOND} '
        r"in owned-2-\w+, so the service could not use its files\. Nothing was changed\. Give user and group "
        r'the same numbers in the image, or set reown: true for the volume, and bake again"'
    )
    assert re.search(message, output)
    assert "Traceback" not in output
    assert (the_instance(owned)["id"], owned.machines()) == (before["id"], running), "nothing was stopped or launched"
    holds(owned, FIRST, b"of the first;more;")

    owned.define(volume={**DATA, "reown": True})
    owned.bake()
    owned.play("swap")
    assert ask(the_instance(owned), "/version") == (200, b"2")
    holds(owned, SECOND, b"of the first;more;more;")

    [refused] = set(re.findall(r"owned-2-\w+", output))
    owned.module("channel", image=refused, state="revoked", note="its user has another uid")
    owned.play("rollback")  # to the image that was promoted before the refused one
    assert ask(the_instance(owned), "/version") == (200, b"1")
    holds(owned, FIRST, b"of the first;more;more;more;")
