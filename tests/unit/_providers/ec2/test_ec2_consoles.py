# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Evidence on consoles is read once by all runs together."""

from __future__ import annotations

from typing import Any

from ansible_collections.immutable.infra.plugins.plugin_utils._aws.clients import Clients
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2.consoles import Consoles
from ansible_collections.immutable.infra.plugins.plugin_utils._store.memory import MemoryStore
from ansible_collections.immutable.infra.tests.support.aws import seeds
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
    ec2.run_instances(ImageId=ami, MinCount=count, MaxCount=count, SubnetId=where.subnets[0], TagSpecifications=tags)
    return [each for reservation in ec2.describe_instances()["Reservations"] for each in reservation["Instances"]]


def test_runs_that_read_different_consoles_keep_the_evidence_of_both(cloud: Cloud) -> None:
    store, (one, two) = MemoryStore(), hosts(cloud, 2)
    clients = Clients(cloud.account())
    early, late = Consoles(clients, store), Consoles(clients, store)
    assert late.evidence(FLEET, []) == {} and len(early.evidence(FLEET, [one])) == 1
    assert len(late.evidence(FLEET, [two])) >= 1  # its list did not show the other host yet
    assert len(Consoles(clients, store).evidence(FLEET, [one, two])) == 2
    assert cloud.count(action="GetConsoleOutput") == 2


def test_a_concurrent_write_loses_no_evidence(cloud: Cloud) -> None:
    store, (one, two) = MemoryStore(), hosts(cloud, 2)
    clients = Clients(cloud.account())
    early, late = Consoles(clients, store), Consoles(clients, store)
    write, met = store.write, []

    def between(key: str, document: Any, expect: str | None = None) -> str:
        if not met:
            met.append(key)
            late.evidence(FLEET, [two])
        return write(key, document, expect)

    store.write = between
    early.evidence(FLEET, [one])
    assert met and len(Consoles(clients, store).evidence(FLEET, [one, two])) == 2
    assert cloud.count(action="GetConsoleOutput") == 2
