# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import (
    AbandonedError,
    FleetError,
    LockedError,
    ProviderError,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.lease import Lease
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.ports import ChangePermit
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.upkeep.marks import Marks, marking_of
from ansible_collections.immutable.infra.plugins.plugin_utils._hosts import inventory as imported
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import LaunchRequest
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.provider import SimulatedProvider
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.tags import PROTECTED, STANDBY, TAINTED
from ansible_collections.immutable.infra.plugins.plugin_utils._store.memory import MemoryStore

ROOT = Path(imported.__file__).parents[6]
FLEET = "shop-prod"
IMAGE = "sha256:" + "1" * 64


class Fleet:
    """Three hosts in service, and an instance of a verification."""

    def __init__(self) -> None:
        self.provider = SimulatedProvider()
        self.store = MemoryStore()
        self.traffic = self.provider.traffic(FLEET)
        self.alive = True
        common: dict[str, Any] = {
            "fleet": FLEET,
            "image": IMAGE,
            "artifact": {},
            "launch": "l",
            "nonce": "n",
            "ports": (80, 22),
            "tags": {"port": "80"},
        }
        requests = [LaunchRequest(token=f"i{slot}", slot=slot, **common) for slot in range(3)]
        self.provider.compute.launch([*requests, LaunchRequest(token="v0", slot=0, purpose="verify", **common)])
        self.traffic.ensure()
        self.traffic.register({f"i{slot}": ("192.0.2.1", 80) for slot in range(3)})
        self.provider.world.clock.advance(100.0)
        self.provider.world.calls.clear()

    def lease(self, purpose: str = "marking") -> Lease:
        clock = self.provider.clock
        return Lease(self.store, FLEET, purpose, clock, monotonic=clock.now, alive=lambda _holder: None)

    def check(self) -> None:
        if not self.alive:
            raise AbandonedError("gone")

    def mark(
        self,
        *hosts: str,
        mark: str = STANDBY,
        reason: str = "slow",
        check_mode: bool = False,
        revoked: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        marking = marking_of(FLEET, hosts, mark, present=bool(reason), reason=reason, drain_timeout=30.0)
        return Marks(self.provider, ChangePermit(self, self.lease()), revoked or {}).apply(
            marking, check_mode=check_mode
        )

    def states(self) -> list[str]:
        return [member.state for member in sorted(self.traffic.members(), key=lambda each: each.id)]

    def tags(self, instance_id: str) -> dict[str, str]:
        found = next(each for each in self.provider.compute.list(FLEET) if each.id == instance_id)
        return {name: value for name, value in found.tags.items() if name != "port"}

    @property
    def changes(self) -> int:
        return len(self.provider.world.calls)


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


def test_a_mark_is_set_once_and_removed_once(fleet: Fleet) -> None:
    result = fleet.mark("shop-prod-1", mark=TAINTED, reason="drifted")
    assert result["changed"]
    assert result["hosts"] == [{"name": "shop-prod-1", "id": "i1", "slot": 1, "marks": {"tainted": "drifted"}}]
    assert result["diff"] == {"before": "shop-prod-1: no mark\n", "after": "shop-prod-1: tainted: drifted\n"}
    assert fleet.tags("i1") == {"tainted": "drifted"} and fleet.states() == ["up"] * 3 and result["serving"] == 3
    held, made = fleet.store.read(f"leases/{FLEET}.json"), fleet.changes
    assert held is not None and held[0]["released"]
    assert not fleet.mark("i1", mark=TAINTED, reason="drifted")["changed"]
    assert fleet.store.read(f"leases/{FLEET}.json") == held and fleet.changes == made, "nothing due takes no lease"
    assert fleet.mark("i1", mark=TAINTED, reason="worse")["changed"]
    fleet.mark("1", mark=PROTECTED, reason="ann")
    assert fleet.tags("i1") == {"tainted": "worse", "protected": "ann"}
    result = fleet.mark("1", mark=TAINTED, reason="")
    assert (
        result["changed"]
        and result["hosts"][0]["marks"] == {"protected": "ann"}
        and fleet.tags("i1") == {"protected": "ann"}
    )
    assert not fleet.mark("1", mark=TAINTED, reason="")["changed"]


def test_a_host_on_standby_leaves_traffic_and_returns(fleet: Fleet) -> None:
    predicted = fleet.mark("0", "2", check_mode=True)
    assert (
        predicted["changed"]
        and predicted["serving"] == 1
        and fleet.changes == 0
        and fleet.store.read(f"leases/{FLEET}.json") is None
    )
    result = fleet.mark("0", "2")
    assert (
        result["serving"] == 1
        and fleet.states() == ["drain", "up", "drain"]
        and fleet.tags("i2") == {"standby": "slow"}
    )
    assert not fleet.mark("0", "2")["changed"]
    back = fleet.mark("0", reason="")
    assert back["changed"] and back["left_out"] == {} and fleet.tags("i0") == {}
    fleet.provider.world.clock.advance(100.0)
    assert fleet.states()[:2] == ["up", "up"]
    fleet.provider.world.clock.advance(1000.0)
    fleet.mark("2", reason="")
    fleet.provider.world.clock.advance(100.0)
    assert fleet.states() == ["up"] * 3, "also where the balancer had forgotten it"


def test_a_host_that_must_not_serve_does_not_return_to_traffic(fleet: Fleet) -> None:
    fleet.mark("0", "1", "2")
    fleet.provider.compute.stop(["i0"])
    result = fleet.mark("i0", reason="")
    assert result["left_out"] == {"shop-prod-0": "it is stopping"} and fleet.tags("i0") == {}
    result = fleet.mark("1", reason="", revoked={IMAGE: "revoked by bob at noon: bad"})
    assert (
        result["left_out"] == {"shop-prod-1": "its image was revoked by bob at noon: bad"}
        and fleet.states()[1] == "drain"
    )


@pytest.mark.parametrize("call", ["tag", "drain", "register"])
@pytest.mark.parametrize("reason", ["slow", ""])
def test_the_next_run_resumes_an_interrupted_one(fleet: Fleet, call: str, reason: str) -> None:
    if not reason:
        fleet.mark("0")

    def interrupt(name: str) -> None:
        if name.startswith(call):
            raise ProviderError("interrupted")

    fleet.provider.world.before = interrupt
    if call == ("register" if reason else "drain"):
        assert fleet.mark("0", reason=reason)["changed"]
    else:
        with pytest.raises(ProviderError, match="interrupted"):
            fleet.mark("0", reason=reason)
    fleet.provider.world.before = lambda _call: None
    fleet.mark("0", reason=reason)
    fleet.provider.world.clock.advance(20.0)
    assert fleet.states()[0] == ("drain" if reason else "up") and fleet.tags("i0") == (
        {"standby": "slow"} if reason else {}
    )
    assert not fleet.mark("0", reason=reason)["changed"]


def test_nothing_changes_during_another_run_or_without_a_parent(fleet: Fleet) -> None:
    other = fleet.lease("a swap")
    other.acquire()
    with pytest.raises(LockedError, match="a swap"):
        fleet.mark("0")
    other.release()
    fleet.alive = False
    with pytest.raises(AbandonedError):
        fleet.mark("0")
    assert fleet.changes == 0


@pytest.mark.parametrize(
    ("hosts", "present", "reason", "message"),
    [
        (
            ["shop-prod-7"],
            True,
            "why",
            "shop-prod has no host 'shop-prod-7' (it has: shop-prod-0, shop-prod-1, shop-prod-2;",
        ),
        (["v0"], True, "why", "has no host 'v0'"),
        ([], True, "why", "hosts: name at least one"),
        (["0"], True, " ", "reason is needed"),
        (["0"], False, "why", "reason is only for state=present"),
        (["0"], True, "a\nb", "one line"),
        (["0"], True, "a" * 257, "256"),
    ],
)
def test_mistakes_become_messages(fleet: Fleet, hosts: list[str], present: bool, reason: str, message: str) -> None:
    with pytest.raises(FleetError) as raised:
        Marks(fleet.provider, ChangePermit(fleet, fleet.lease()), {}).apply(
            marking_of(FLEET, hosts, TAINTED, present=present, reason=reason, drain_timeout=30.0)
        )
    assert message in str(raised.value)
    assert fleet.changes == 0


DEFINITION = """
schema: 1
service: shop
version: "1.0"
image:
  base: {debian: bookworm}
  provision: {playbook: provision.yml}
health: {http: {port: 80, path: /healthz}}
targets:
  prod: {provider: simulated}
"""

# A simulated fleet exists in one process. It is created before ansible-playbook forks, so each task finds it unchanged.
DRIVER = """
import sys
from pathlib import Path

from ansible.plugins.loader import init_plugin_loader

init_plugin_loader()
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.load import load_definition
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import LaunchRequest
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.registry import open_provider
from ansible_collections.immutable.infra.plugins.plugin_utils._store.registry import open_store

provider = open_provider(load_definition(Path("immutable.yml").absolute()).target("prod"), open_store("store"))
common = {"fleet": "shop-prod", "image": "sha256:" + "1" * 64, "artifact": {}, "launch": "l", "nonce": "n"}
common["ports"] = (80,)
provider.compute.launch([LaunchRequest(token=f"i{slot}", slot=slot, **common) for slot in range(2)])
provider.traffic("shop-prod").ensure()
provider.traffic("shop-prod").register({f"i{slot}": ("192.0.2.1", 80) for slot in range(2)})
provider.world.clock.advance(100.0)
from ansible.cli.playbook import PlaybookCLI

python = f"ansible_python_interpreter={sys.executable}"
PlaybookCLI.cli_executor(["ansible-playbook", "-i", "localhost,", "-c", "local", "-e", python, "play.yml"])
"""


def test_the_module_predicts_and_makes_the_change(tmp_path: Path) -> None:
    (tmp_path / "immutable.yml").write_text(DEFINITION)
    (tmp_path / "provision.yml").write_text("- hosts: all\n  tasks: []\n")
    options = {
        "definition": "immutable.yml",
        "store": "store",
        "target": "prod",
        "hosts": [0],
        "mark": "standby",
        "reason": "slow",
    }
    tasks: list[dict[str, Any]] = [
        {"immutable.infra.host_mark": options, "check_mode": True, "diff": True},
        {"immutable.infra.host_mark": options},
        {"immutable.infra.host_mark": {**options, "state": "absent", "reason": ""}},
        {"immutable.infra.host_mark": {**options, "reason": ""}, "ignore_errors": True},
        {"immutable.infra.host_mark": {**options, "mark": "broken"}, "ignore_errors": True},
    ]
    results: list[dict[str, Any]] = [{**task, "register": f"r{number}"} for number, task in enumerate(tasks)]
    output = "{{ [" + ", ".join(f"r{number}" for number in range(len(tasks))) + "] | to_json }}"
    results.append({"ansible.builtin.copy": {"dest": str(tmp_path / "results.json"), "content": output}})
    (tmp_path / "play.yml").write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": results}]))
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT), "ANSIBLE_LOCALHOST_WARNING": "false"}
    done = subprocess.run(
        [sys.executable, "-c", DRIVER], capture_output=True, text=True, env=environment, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    predicted, did, absent, empty, invalid = json.loads((tmp_path / "results.json").read_text())
    assert predicted["changed"] and did["changed"] and not absent["changed"]
    assert (
        predicted["hosts"]
        == did["hosts"]
        == [{"name": "shop-prod-0", "id": "i0", "slot": 0, "marks": {"standby": "slow"}}]
    )
    assert predicted["serving"] == did["serving"] == 1 and absent["serving"] == 2
    assert (
        predicted["diff"] == {"before": "shop-prod-0: no mark\n", "after": "shop-prod-0: standby: slow\n"}
        and "diff" not in did
    )
    assert "reason is needed" in empty["msg"]
    assert "tainted, protected, standby" in invalid["msg"]
