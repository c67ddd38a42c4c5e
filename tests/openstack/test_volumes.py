# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is true of volumes in a real Cinder: their states, what each state refuses, and how they are found."""

from __future__ import annotations

import pytest
from ansible_collections.immutable.infra.tests.support.openstack.projects import Project
from openstack import exceptions

MICROVERSION = "3.60"


def attach(project: Project, server, volume):
    project.cloud.compute.create_volume_attachment(server, volume_id=volume.id)
    return project.wait_for_volume(volume, "in-use")


def detach(project: Project, server, volume):
    project.cloud.compute.delete_volume_attachment(server.id, volume.id)
    return project.wait_for_volume(volume, "available")


def test_a_volume_moves_from_server_to_server(project: Project) -> None:
    one, two, volume = project.server(), project.server(), project.volume()
    assert volume.volume_type == "nfs" and volume.size == 1 and volume.attachments == []
    attached = attach(project, one, volume)
    assert [each["server_id"] for each in attached.attachments] == [one.id]
    api = project.cloud.compute
    for server in (one, two):
        with pytest.raises(exceptions.BadRequestException, match="already attached to instances"):
            api.create_volume_attachment(server, volume_id=volume.id)
    with pytest.raises(exceptions.BadRequestException, match="Volume status must be available or error"):
        project.cloud.block_storage.delete_volume(volume)
    assert detach(project, one, volume).attachments == []
    with pytest.raises(exceptions.HttpException, match="Unable to detach volume|could not be found|not attached"):
        api.delete_volume_attachment(one.id, volume.id, ignore_missing=False)
    assert attach(project, two, volume).attachments[0]["server_id"] == two.id


def test_a_stopped_server(project: Project) -> None:
    """Volumes come and go while it is stopped, stay when it is rebuilt, and are free after its end."""
    api = project.cloud.compute
    server, volume = project.server(), project.volume()
    attach(project, server, volume)
    api.stop_server(server)
    project.wait(server, "SHUTOFF")
    detach(project, server, volume)
    attach(project, server, volume)
    api.rebuild_server(server.id, image=project.images[0])
    project.wait(server, "SHUTOFF")
    assert project.cloud.block_storage.get_volume(volume.id).status == "in-use"
    api.delete_server(server)
    assert project.wait_for_volume(volume, "available").attachments == []


def test_growing(project: Project) -> None:
    """NFS grows a detached volume. It fails for an attached one, which then cannot even be detached."""
    api = project.cloud.block_storage
    server, volume = project.server(), project.volume()
    with pytest.raises(exceptions.BadRequestException, match="must be greater than current size"):
        api.extend_volume(volume.id, 1)
    api.extend_volume(volume.id, 2)
    assert project.wait_for_volume(volume, "available").size == 2
    attach(project, server, volume)
    api.extend_volume(volume.id, 3)
    broken = project.wait_for_volume(volume, "error_extending")
    assert broken.size == 2
    with pytest.raises(exceptions.BadRequestException, match="Unable to detach volume"):
        project.cloud.compute.delete_volume_attachment(server.id, volume.id)


def test_snapshots(project: Project) -> None:
    api = project.cloud.block_storage
    volume = project.volume()
    snapshot = api.create_snapshot(volume_id=volume.id, name="before")
    snapshot = project.wait_for_snapshot(snapshot, "available")
    assert (snapshot.volume_id, snapshot.size) == (volume.id, 1)
    with pytest.raises(exceptions.BadRequestException, match="have snapshots"):
        api.delete_volume(volume)
    with pytest.raises(exceptions.BadRequestException, match="size|smaller"):
        api.create_volume(snapshot_id=snapshot.id, size=0, name="copy")
    attach(project, project.server(), volume)
    with pytest.raises(exceptions.BadRequestException, match="status must be available, but current status is: in-use"):
        api.create_snapshot(volume_id=volume.id, name="during")


def test_a_volume_that_is_stuck(project: Project) -> None:
    """Nothing can be done with it, and only an administrator resets it."""
    volume, server = project.volume(), project.server()
    states = project.admin.block_storage
    states.reset_volume_status(volume.id, "detaching", None, None)
    api = project.cloud.block_storage
    with pytest.raises(exceptions.BadRequestException, match="status must be available or downloading to reserve"):
        project.cloud.compute.create_volume_attachment(server, volume_id=volume.id)
    with pytest.raises(exceptions.BadRequestException, match="Volume status must be available or error"):
        api.delete_volume(volume)
    with pytest.raises(exceptions.ForbiddenException, match="reset_status"):
        api.reset_volume_status(volume.id, "available", None, None)
    states.reset_volume_status(volume.id, "available", None, None)
    attach(project, server, volume)


def test_filters(project: Project) -> None:
    ours, other = project.volume(metadata={"fleet": "shop"}), project.volume(metadata={"fleet": "mail"})
    api = project.cloud.block_storage

    def found(**wanted: str) -> set[str]:
        response = api.get("/volumes/detail", params=wanted, microversion=MICROVERSION)
        exceptions.raise_from_response(response)
        return {volume["id"] for volume in response.json()["volumes"]}

    assert found(metadata="{'fleet': 'shop'}") == {ours.id}
    assert found(metadata='{"fleet": "shop"}') == {ours.id}
    assert found(name="uploads") == {ours.id, other.id}
    with pytest.raises(exceptions.BadRequestException, match="Invalid filters fleet"):
        found(fleet="shop")
    # openstacksdk compares the text of the filter with the dictionary of the volume.
    assert not list(api.volumes(metadata={"fleet": "shop"}))


def test_names_are_not_unique(project: Project) -> None:
    first, second = project.volume(), project.volume()
    assert first.id != second.id and first.name == second.name
