# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One story on guests that really run: bake, verify, promote, launch, swap under load, move volumes, attest, prune.

``make test-openstack IMMUTABLE_OPENSTACK_REAL=1`` runs it alone. Everything but the base image is as a user has it: the
collection's playbooks, Packer, HAProxy, and the control plane with libvirt, QEMU, Neutron's agents and Cinder.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.tests.support.load import Load
from ansible_collections.immutable.infra.tests.support.machines import ask
from ansible_collections.immutable.infra.tests.support.openstack.clouds import cloud_of
from ansible_collections.immutable.infra.tests.support.openstack.guest_image import FOLDER
from ansible_collections.immutable.infra.tests.support.openstack.projects import Project
from ansible_collections.immutable.infra.tests.support.openstack.story import VOLUME, Story

REAL = "IMMUTABLE_OPENSTACK_REAL"
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not os.environ.get(REAL), reason=f"boots guests for minutes: make test-openstack {REAL}=1"),
    pytest.mark.skipif(not shutil.which("packer"), reason="needs packer"),
]


@pytest.fixture
def story(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Story]:
    cloud_of(project, tmp_path, monkeypatch)
    story = Story(tmp_path, project, Path(os.environ[FOLDER]))
    yield story
    try:
        story.module("fleet", state="absent", remove_volumes=[VOLUME])  # ends HAProxy
    finally:
        print("\n".join(f"{seconds:7.1f} s  {step}" for step, seconds in story.times))


def test_a_service_is_released_twice_and_keeps_its_data(story: Story) -> None:
    compute, volumes = story.project.cloud.compute, story.project.cloud.block_storage
    story.define("1")
    story.play("bake")
    [image] = [one for one in story.project.cloud.image.images() if "immutable:digest" in one.properties]
    assert (image.visibility, image.status) == ("private", "active")
    assert list(compute.servers()) == [] and list(compute.keypairs()) == []
    again = story.module("image")
    assert not again["changed"] and again["image"]["provenance"]["inspected"] == "glance"

    story.play("verify")
    story.play("promote")
    story.play("swap")
    first = story.instances()
    assert [(each["slot"], each["serving"]) for each in first] == [(0, True), (1, True)]
    assert {ask(each, "/version")[1] for each in first} == {b"1"}
    assert {ask(each, "/words", f"slot {each['slot']}".encode())[0] for each in first} == {201}
    holders = {one.id: one.attachments[0]["server_id"] for one in volumes.volumes()}
    assert len(holders) == 2

    story.define("2")
    story.play("bake")
    load = Load()
    with load.on(f"{story.module('fleet_info')['endpoint']}/version"):
        story.play("release")
    print(load)
    assert load.sent and not load.failed, load
    second = story.instances()
    assert [(each["slot"], each["serving"]) for each in second] == [(0, True), (1, True)]
    assert {ask(each, "/version")[1] for each in second} == {b"2"}
    assert story.words() == {0: b"slot 0", 1: b"slot 1"}
    moved = {one.id: one.attachments[0]["server_id"] for one in volumes.volumes()}
    assert set(moved) == set(holders) and not set(moved.values()) & set(holders.values())
    assert sorted(server.id for server in compute.servers()) == sorted(each["id"] for each in second)

    assert "2 of 2 hosts equal their images" in story.play("attest")
    assert story.on_hosts("touch /usr/bin/intruder").count("Read-only file system") == 2
    # Only a revoked image is none that a rollback would use.
    story.module("fleet", state="absent", remove_volumes=[VOLUME])
    story.module("channel", state="revoked", image=first[0]["image_name"], note="the story ends")
    story.play("prune", prune_keep=1, prune_older_than="0s")
    assert list(compute.servers()) == [] and list(volumes.volumes()) == []
    left = [one.properties.get("immutable:version") for one in story.project.cloud.image.images(owner=story.project.id)]
    assert sorted(left, key=str) == ["2", None], "the second version and the base remain"
