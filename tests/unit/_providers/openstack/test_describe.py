# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What Nova and Cinder describe, as instances and volumes. The descriptions are those of the release Zed."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import Evidence, Instance
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.openstack.describe import (
    boot_of,
    has_floating_address,
    instance_of,
    reports_evidence,
    serial_of,
    state_of,
    volume_of,
)

SERVER = "60ff7701-5d82-4095-baf3-7774375a756c"
IMAGE = "0b5c5d2e-7f34-4a36-9c5b-2f1a40e0f6b1"
METADATA = {
    "immutable:fleet": "shop-live",
    "immutable:slot": "3",
    "immutable:image": "sha256:" + "a" * 64,
    "immutable:glance": IMAGE,
    "immutable:launch": "f" * 64,
    "immutable:nonce": "n1",
    "immutable:purpose": "fleet",
    "immutable:ports": "80,22",
    "immutable:network": "private",
    "immutable:version": "1.2",
}
ADDRESSES = {
    "other": [{"addr": "10.9.0.4", "version": 4, "OS-EXT-IPS:type": "fixed"}],
    "private": [
        {"addr": "fd00::5", "version": 6, "OS-EXT-IPS:type": "fixed"},
        {"addr": "10.7.0.5", "version": 4, "OS-EXT-IPS:type": "fixed"},
        {"addr": "198.51.100.7", "version": 4, "OS-EXT-IPS:type": "floating"},
    ],
}
EVIDENCE = Evidence("sha256:" + "a" * 64, "n1", "", "off")


def described(status: str = "ACTIVE", task: str | None = None, power: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "id": SERVER,
        "status": status,
        "created": "2026-01-31T12:00:00Z",
        "updated": "2026-01-31T13:00:00Z",
        "OS-EXT-STS:task_state": task,
        "OS-EXT-STS:power_state": power,
        "OS-SRV-USG:launched_at": "2026-01-31T12:00:09.000000",
        "OS-EXT-AZ:availability_zone": "nova",
        "metadata": dict(METADATA),
        "addresses": ADDRESSES,
        "image": {"id": IMAGE},
        **more,
    }


def found(evidence: bool = True, **more: Any) -> Instance:
    one = described(**more)
    instance = instance_of(one, {boot_of(one): EVIDENCE} if evidence else {})
    assert instance is not None
    return instance


@pytest.mark.parametrize(
    ("status", "task", "power", "state"),
    [
        ("BUILD", "spawning", 0, "pending"),
        ("ACTIVE", None, 1, "running"),
        ("ACTIVE", "powering-off", 1, "stopping"),
        ("ACTIVE", "deleting", 1, "stopping"),
        ("SHUTOFF", None, 4, "stopped"),
        ("SHUTOFF", "powering-on", 4, "pending"),
        ("SHUTOFF", "deleting", 4, "stopping"),
        ("REBUILD", "rebuilding", 1, "pending"),
        ("HARD_REBOOT", "reboot_started_hard", 1, "pending"),
        ("PAUSED", None, 3, "running"),
        ("SHELVED_OFFLOADED", None, 4, "stopped"),
        ("ERROR", None, 4, "stopped"),
        ("ERROR", None, 1, "stopping"),
        ("ERROR", None, 0, "stopping"),
    ],
)
def test_the_state_of_a_server(status: str, task: str | None, power: int, state: str) -> None:
    assert state_of(described(status=status, task=task, power=power)) == state


def test_a_server_that_could_not_be_launched_is_down_and_says_why_in_novas_words() -> None:
    fault = {"code": 500, "message": "No valid host was found.\nThere are not enough hosts available."}
    one = found(status="ERROR", power=0, fault=fault, **{"OS-SRV-USG:launched_at": None})
    assert one.state == "stopped"
    assert one.stop_reason == "ERROR: No valid host was found. There are not enough hosts available."


def test_a_server_without_evidence_is_pending_and_with_it_running() -> None:
    assert found(evidence=False).state == "pending"
    one = found()
    assert (one.state, one.evidence, one.slot, one.zone) == ("running", EVIDENCE, 3, "nova")
    assert one.tags == {"version": "1.2"}


def test_the_address_is_that_of_the_first_network_and_of_the_wanted_kind() -> None:
    assert found().endpoints == {80: ("10.7.0.5", 80), 22: ("10.7.0.5", 22)}
    public = found(metadata={**METADATA, "immutable:address": "public"})
    assert public.endpoints[80] == ("198.51.100.7", 80)
    assert found(addresses={}).endpoints == {}
    assert has_floating_address(described()) and not has_floating_address(described(addresses={}))


def test_without_evidence_the_image_of_the_server_counts_if_the_target_says_so() -> None:
    trusted = {**METADATA, "immutable:evidence": "none", "immutable:shell": "off"}
    assert found(evidence=False, metadata=trusted).state == "running"
    assert found(evidence=False, metadata=trusted, image={"id": "another"}).state == "pending"
    assert found(evidence=False, metadata=trusted, image="").state == "pending"  # it boots from a volume


def test_a_start_by_this_collection_is_another_boot() -> None:
    first, again = described(), described(metadata={**METADATA, "immutable:started": "1893456000"})
    assert boot_of(first) != boot_of(again) == f"{SERVER}@1893456000"
    assert instance_of(again, {boot_of(first): EVIDENCE}).state == "pending"  # type: ignore[union-attr]


def test_a_console_is_read_only_once_a_server_has_started() -> None:
    assert reports_evidence(described())
    assert not reports_evidence(described(task="powering-on"))
    assert not reports_evidence(described(status="SHUTOFF"))
    assert not reports_evidence(described(metadata={**METADATA, "immutable:evidence": "none"}))


@pytest.mark.parametrize("metadata", [None, [], {}, {"immutable:fleet": "shop"}, {"immutable:slot": "../3"}])
def test_servers_of_others_are_no_instances(metadata: Any) -> None:
    assert instance_of(described(metadata=metadata), {}) is None


def test_a_server_that_is_gone_is_no_instance() -> None:
    assert instance_of(described(status="DELETED"), {}) is None
    assert instance_of(described(status="SOFT_DELETED"), {}) is None


def test_a_volume_with_its_holder() -> None:
    metadata = {
        "immutable:fleet": "shop-live",
        "immutable:slot": "1",
        "immutable:volume": "db",
        "immutable:blank": "true",
    }
    attachment = {"server_id": SERVER, "attached_at": "2026-01-31T12:30:00.000000"}
    one = {"id": IMAGE, "size": 2, "volume_type": "nfs", "metadata": metadata, "attachments": [attachment]}
    volume = volume_of(one)
    assert volume is not None
    assert (volume.slot, volume.name, volume.size, volume.kind) == (1, "db", 2 << 30, "nfs")
    assert (volume.attached_to, volume.created_blank) == (SERVER, True)
    assert volume_of({**one, "metadata": {"immutable:fleet": "shop-live"}}) is None
    assert volume_of({**one, "attachments": []}).attached_to is None  # type: ignore[union-attr]


def test_a_guest_sees_the_beginning_of_a_volumes_id() -> None:
    assert serial_of(IMAGE) == "0b5c5d2e-7f34-4a36-9"


def test_a_reimaged_server_knows_the_image_that_it_may_go_back_to() -> None:
    reimaged = {**METADATA, "immutable:previous": "sha256:" + "b" * 64 + " " + IMAGE}
    one = found(metadata=reimaged, **{"OS-SRV-USG:launched_at": "2026-02-01T00:00:00.000000"})
    assert one.root.previous == "sha256:" + "b" * 64
    assert (one.root.change, one.created, one.started) == ("", one.started, 1769904000.0)
    failed = found(metadata=reimaged, status="ERROR", power=4, fault={"message": "Image is unacceptable"})
    assert (failed.root.change, failed.root.problem) == ("failed", "ERROR: Image is unacceptable")
    assert found().root.previous == ""
