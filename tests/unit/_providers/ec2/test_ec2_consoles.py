# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Evidence on consoles is read once by all runs together."""

from __future__ import annotations

import gzip
import json
import types
from datetime import timedelta
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._aws.clients import Clients
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._providers import seal_evidence
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2.seal_evidence import SealEvidence
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.guest_document import launch_document
from ansible_collections.immutable.infra.plugins.plugin_utils._store.memory import MemoryStore
from ansible_collections.immutable.infra.tests.support.aws import seeds
from ansible_collections.immutable.infra.tests.support.aws.faults import denied, refuse, throttle
from ansible_collections.immutable.infra.tests.support.aws.server import Cloud

FLEET = "shop-prod"


def hosts(cloud: Cloud, count: int) -> list[dict[str, Any]]:
    where, ami = seeds.network(cloud), seeds.image(cloud, "shop-1")
    said = {
        "immutable:fleet": FLEET,
        "immutable:image": "sha256:" + "1" * 64,
        "immutable:nonce": "n" * 16,
        "immutable:evidence": "console",
    }
    tags = [{"ResourceType": "instance", "Tags": [{"Key": key, "Value": value} for key, value in said.items()]}]
    ec2 = cloud.boto("ec2")
    document = gzip.compress(launch_document({"nonce": said["immutable:nonce"].encode()}), mtime=0)
    ec2.run_instances(
        ImageId=ami,
        MinCount=count,
        MaxCount=count,
        SubnetId=where.subnets[0],
        TagSpecifications=tags,
        UserData=document,
    )
    return [each for reservation in ec2.describe_instances()["Reservations"] for each in reservation["Instances"]]


def test_runs_that_read_different_consoles_keep_the_evidence_of_both(cloud: Cloud) -> None:
    store, (one, two) = MemoryStore(), hosts(cloud, 2)
    clients = Clients(cloud.account())
    early, late = SealEvidence(clients, store), SealEvidence(clients, store)
    assert late.evidence(FLEET, []) == {} and len(early.evidence(FLEET, [one])) == 1
    assert len(late.evidence(FLEET, [two])) >= 1  # its list did not show the other host yet
    assert len(SealEvidence(clients, store).evidence(FLEET, [one, two])) == 2
    assert cloud.count(action="GetConsoleOutput") == 2


def test_a_concurrent_write_loses_no_evidence(cloud: Cloud) -> None:
    store, (one, two) = MemoryStore(), hosts(cloud, 2)
    clients = Clients(cloud.account())
    early, late = SealEvidence(clients, store), SealEvidence(clients, store)
    write, met = store.write, []

    def between(key: str, document: Any, expect: str | None = None) -> str:
        if not met:
            met.append(key)
            late.evidence(FLEET, [two])
        return write(key, document, expect)

    store.write = between
    early.evidence(FLEET, [one])
    assert met and len(SealEvidence(clients, store).evidence(FLEET, [one, two])) == 2
    assert cloud.count(action="GetConsoleOutput") == 2


def test_a_console_that_cannot_be_read_does_not_keep_the_others_from_being_read(cloud: Cloud) -> None:
    both = hosts(cloud, 2)
    consoles = SealEvidence(Clients(cloud.account()), MemoryStore())
    cloud.fault(refuse(400, "Unavailable.Console", "try later"), action="GetConsoleOutput", times=1)
    assert len(consoles.evidence(FLEET, both)) == 1
    assert "Unavailable.Console" in consoles.warnings[0]


def test_a_denied_permission_is_an_error(cloud: Cloud) -> None:
    both = hosts(cloud, 2)
    cloud.fault(denied, action="GetConsoleOutput", times=0)
    with pytest.raises(ProviderError, match="reading the console"):
        SealEvidence(Clients(cloud.account()), MemoryStore()).evidence(FLEET, both)


@pytest.mark.parametrize(
    "entry", [None, [], {"at": "now"}, {"at": 1.0, "said": {"digest": "x"}}, {"at": 1.0, "said": {"more": 1}}]
)
def test_a_damaged_entry_of_the_store_is_read_again(cloud: Cloud, entry: Any) -> None:
    store, both = MemoryStore(), hosts(cloud, 2)
    clients = Clients(cloud.account())
    whole = SealEvidence(clients, store).evidence(FLEET, both)
    (key,) = store.list("evidence/")
    document, _tag = store.read(key)
    store.write(key, {**document, min(document): entry})
    assert SealEvidence(clients, store).evidence(FLEET, both) == whole
    assert cloud.count(action="GetConsoleOutput") == 3


@pytest.mark.parametrize(
    ("output", "sealed"),
    [
        ("IMMUTABLE-SEALED " + "[" * 60_000, False),
        ("[   41.2] overlay: Bad value\rIMMUTABLE-SEALED {said}\n", False),
        ("[   41.2] overlay: Bad value\nIMMUTABLE-SEALED {said}\n", True),
    ],
)
def test_only_lines_that_begin_with_the_mark_count(cloud: Cloud, output: str, sealed: bool) -> None:
    (one,) = hosts(cloud, 1)
    said = json.dumps({"digest": "sha256:" + "1" * 64, "nonce": "n" * 16, "host_key": "", "shell": "off"})
    cloud.set(console=lambda _instance, _launched: output.replace("{said}", said))
    assert bool(SealEvidence(Clients(cloud.account()), MemoryStore()).evidence(FLEET, [one])) == sealed


def boot(key: str, nonce: str = "n" * 16) -> str:
    said = {"digest": "sha256:" + "1" * 64, "nonce": nonce, "host_key": f"ssh-ed25519 {key}", "shell": "restricted"}
    return f"[    0.1] Linux\r\n\r\nIMMUTABLE-LAUNCHED\r\n\r\nIMMUTABLE-SEALED {json.dumps(said)}\r\n"


def test_a_rebooted_host_proves_itself_again_with_its_new_host_key(cloud: Cloud) -> None:
    """EC2 shows no new launch time, so only a look at the console can tell."""
    store, (one,) = MemoryStore(), hosts(cloud, 1)
    clients = Clients(cloud.account())
    cloud.set(console=lambda _instance, _launched: boot("old"))
    assert [each.host_key for each in SealEvidence(clients, store).evidence(FLEET, [one]).values()] == [
        "ssh-ed25519 old"
    ]
    cloud.set(console=lambda _instance, _launched: boot("old") + boot("new"))
    usual, again = SealEvidence(clients, store), SealEvidence(clients, store)
    assert [each.host_key for each in usual.evidence(FLEET, [one]).values()] == ["ssh-ed25519 old"]
    assert cloud.count(action="GetConsoleOutput") == 1, "an ordinary look reads no console twice"
    again.prove_again()
    for _look in range(3):
        assert [each.host_key for each in again.evidence(FLEET, [one]).values()] == ["ssh-ed25519 new"]
    assert cloud.count(action="GetConsoleOutput") == 2, "and this one reads each console once"
    later = SealEvidence(clients, store).evidence(FLEET, [one])
    assert [each.host_key for each in later.values()] == ["ssh-ed25519 new"]


@pytest.mark.parametrize("ending", ["", boot("forged", nonce="another")], ids=["not yet", "another nonce"])
def test_a_rebooted_host_is_not_sealed_until_it_says_so(cloud: Cloud, ending: str) -> None:
    store, (one,) = MemoryStore(), hosts(cloud, 1)
    clients = Clients(cloud.account())
    cloud.set(console=lambda _instance, _launched: boot("old"))
    SealEvidence(clients, store).evidence(FLEET, [one])
    cloud.set(console=lambda _instance, _launched: boot("old") + (ending or "IMMUTABLE-LAUNCHED\r\n"))
    again = SealEvidence(clients, store)
    again.prove_again()
    nonces = {each.nonce for each in again.evidence(FLEET, [one]).values()}
    assert "n" * 16 not in nonces
    assert all(each.nonce != "n" * 16 for each in SealEvidence(clients, store).evidence(FLEET, [one]).values())


def test_evidence_that_a_console_no_longer_shows_still_counts(cloud: Cloud) -> None:
    store, (one,) = MemoryStore(), hosts(cloud, 1)
    clients = Clients(cloud.account())
    cloud.set(console=lambda _instance, _launched: boot("old"))
    SealEvidence(clients, store).evidence(FLEET, [one])
    cloud.set(console=lambda _instance, _launched: "a service prints a lot\r\n" * 100)
    again = SealEvidence(clients, store)
    again.prove_again()
    assert [each.host_key for each in again.evidence(FLEET, [one]).values()] == ["ssh-ed25519 old"]


def test_throttled_consoles_slow_no_other_call_down_and_are_read_later(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """botocore's adaptive retry slows every call of a client down, so consoles have a client of their own."""
    both, clients = hosts(cloud, 2), Clients(cloud.account())
    found, waits = SealEvidence(clients, MemoryStore()), []
    monkeypatch.setattr("botocore.retries.bucket.TokenBucket.acquire", lambda *_args, **_more: waits.append(1))
    cloud.fault(throttle, action="GetConsoleOutput", times=0)
    assert found.evidence(FLEET, both) == {} and found.warnings == []
    assert cloud.count(action="GetConsoleOutput") == 4, "two attempts for each"
    assert not waits
    cloud.faults.clear()
    monkeypatch.setattr(seal_evidence, "SHORTEST_WAIT", 0.0)
    monkeypatch.setattr(seal_evidence, "cloud_pace", lambda _waited: 0.0)
    assert len(found.evidence(FLEET, both)) == 2


def test_the_first_look_is_when_a_seal_is_due_by_what_earlier_boots_took(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, clients, (one, two) = MemoryStore(), Clients(cloud.account()), hosts(cloud, 2)
    one, two = ({**each, "LaunchTime": each["LaunchTime"] - timedelta(hours=1)} for each in (one, two))
    launched = one["LaunchTime"].timestamp()
    at = types.SimpleNamespace(now=launched)
    monkeypatch.setattr(seal_evidence, "time", types.SimpleNamespace(time=lambda: at.now, monotonic=lambda: at.now))
    early = SealEvidence(clients, store)
    cloud.set(console=lambda _instance, _launched: "")
    for at.now in (launched, launched + 10):
        assert early.evidence(FLEET, [one]) == {}
    cloud.set(console=None)
    at.now = launched + 40
    assert len(early.evidence(FLEET, [one])) == 1 and cloud.count(action="GetConsoleOutput") == 3
    later = {**two, "LaunchTime": two["LaunchTime"] + timedelta(seconds=100)}
    for run in (SealEvidence(clients, store), early):
        at.now = launched + 139
        assert len(run.evidence(FLEET, [one, later])) == 1 and cloud.count(action="GetConsoleOutput") == 3
    at.now = launched + 141
    found = SealEvidence(clients, store)
    cloud.set(console=lambda _instance, _launched: boot("two"))
    assert len(found.evidence(FLEET, [one, later])) == 2 and cloud.count(action="GetConsoleOutput") == 4
