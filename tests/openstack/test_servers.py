# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is true of servers in a real Nova: limits, states, names, and how an error reads."""

from __future__ import annotations

from base64 import b64encode

import pytest
from ansible_collections.immutable.infra.tests.support.openstack.faults import hanging
from ansible_collections.immutable.infra.tests.support.openstack.projects import Project
from openstack import exceptions

NOWHERE = "12345678-1234-1234-1234-123456789012"
USER_DATA = 65535  # characters of base64
REFUSED = {
    "51 tags": ({"tags": [f"t{i}" for i in range(51)]}, 400, "tags"),
    "a tag of 61 characters": ({"tags": ["t" * 61]}, 400, "is too long"),
    "a slash in a tag": ({"tags": ["a/b"]}, 400, "does not match"),
    "a comma in a tag": ({"tags": ["a,b"]}, 400, "does not match"),
    "129 items of metadata": ({"metadata": {f"k{i}": "v" for i in range(129)}}, 403, "metadata items exceeds 128"),
    "a key of 256 characters": ({"metadata": {"k" * 256: "v"}}, 400, "does not match"),
    "a slash in a key": ({"metadata": {"a/b": "v"}}, 400, "does not match"),
    "another alphabet in a key": ({"metadata": {"é": "v"}}, 400, "does not match"),
    "a value of 256 characters": ({"metadata": {"k": "v" * 256}}, 400, "is too long"),
    "user data": ({"user_data": b64encode(b"x" * (USER_DATA // 4 * 3 + 1)).decode()}, 400, "is too long"),
    "user data without base64": ({"user_data": "hello!"}, 400, "is not a 'base64'"),
    "zone": ({"availability_zone": "nowhere"}, 400, "The requested availability zone is not available"),
    "image": ({"image_id": NOWHERE}, 400, "Can not find requested image"),
    "flavor": ({"flavor_id": "nothing"}, 400, "Flavor nothing could not be found"),
    "network": ({"networks": [{"uuid": NOWHERE}]}, 400, f"Network {NOWHERE} could not be found"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(project: Project, name: str) -> None:
    wanted, code, message = REFUSED[name]
    with pytest.raises(exceptions.HttpException, match=message) as error:
        project.cloud.compute.create_server(**project.wanted(**wanted))
    assert error.value.status_code == code
    assert not list(project.cloud.compute.servers())


def test_what_is_accepted(project: Project) -> None:
    tags = [*(f"t{i}" for i in range(48)), "t" * 60, "fleet:shop=prod @é"]
    metadata = {**{f"k{i}": "v" for i in range(126)}, "k" * 255: "é" * 255, "a-b_c:d.e f": "語"}
    user_data = b64encode(b"x" * (USER_DATA // 4 * 3)).decode()
    server = project.server(tags=tags, metadata=metadata, user_data=user_data)
    assert set(server.tags) == set(tags)
    assert server.metadata == metadata
    assert server.availability_zone == "fake" and server.hypervisor_hostname is None  # not for a plain member
    assert server.host_id


def test_text_beyond_the_database_is_accepted_and_never_launched(project: Project) -> None:
    """A database with MySQL's utf8mb3, as Debian's, stores no emoji. The server stays in BUILD, until it is deleted."""
    api = project.cloud.compute
    server = api.create_server(**project.wanted(metadata={"k": "😀"}))
    project.server()  # a later one
    assert api.get_server(server.id).task_state == "scheduling"
    api.delete_server(server)
    project.wait_until_gone(server)


def test_filters(project: Project) -> None:
    both = project.server(name="web-1", tags=["fleet=shop", "slot=1"], metadata={"fleet": "shop"})
    one = project.server(name="web-10", tags=["fleet=shop"])
    api = project.cloud.compute

    def found(**wanted: str) -> set[str]:
        return {server.id for server in api.servers(**wanted)}

    assert found(tags="fleet=shop") == {both.id, one.id}
    assert found(tags="fleet=shop,slot=1") == {both.id}
    assert found(tags="fleet=shop,slot=2") == set()
    assert found(name="web-1") == {both.id, one.id}  # a regular expression
    # Nova ignores filters that a plain member may not use, and returns everything.
    response = api.get("/servers/detail", params={"metadata": '{"fleet": "other"}'})
    assert {server["id"] for server in response.json()["servers"]} == {both.id, one.id}


def test_a_create_has_no_token(project: Project) -> None:
    """Two creates that are the same are two servers, also if the first one's answer was lost."""
    first, second = project.server(), project.server()
    assert first.id != second.id and first.name == second.name


def test_several_servers_by_one_call(project: Project) -> None:
    wanted = project.wanted(name="web", min_count=3, max_count=3, tags=["fleet=shop"], metadata={"a": "b"})
    project.cloud.compute.create_server(**wanted)
    created = list(project.cloud.compute.servers(tags="fleet=shop"))
    assert {server.name for server in created} == {"web-1", "web-2", "web-3"}
    assert all(server.metadata == {"a": "b"} for server in created)
    for server in created:
        project.wait(server, "ACTIVE")


def test_states(project: Project) -> None:
    api = project.cloud.compute
    server = project.server()
    began = server.launched_at
    api.stop_server(server)
    with pytest.raises(exceptions.ConflictException, match="while it is in (task_state powering-off|vm_state stopped)"):
        api.stop_server(server)
    project.wait(server, "SHUTOFF")
    with pytest.raises(exceptions.ConflictException, match="while it is in vm_state stopped"):
        api.stop_server(server)
    api.start_server(server)
    assert project.wait(server, "ACTIVE").launched_at == began
    api.lock_server(server)
    with pytest.raises(exceptions.ConflictException, match="is locked"):
        api.delete_server(server)
    api.unlock_server(server)
    api.delete_server(server)
    project.wait_until_gone(server)
    for gone in (api.get_server, api.stop_server):
        with pytest.raises(exceptions.NotFoundException, match="could not be found"):
            gone(server.id)
    assert not list(api.servers())


@pytest.mark.alone
def test_rebuild(project: Project) -> None:
    """The server stays what it is, but for its image and the time of its launch."""
    api = project.cloud.compute
    old, new = project.image(b"old"), project.image(b"new")
    server = project.server(image_id=old, metadata={"image": "old"}, tags=["fleet=shop"])
    with hanging("nova-conductor"):  # the fake driver may be done before Nova answers
        began = api.rebuild_server(server.id, image=new, metadata={"image": "new"}, user_data=b64encode(b"x").decode())
    assert (began.status, began.task_state) == ("REBUILD", "rebuilding")
    rebuilt = project.wait(server, "ACTIVE")
    assert (rebuilt.image.id, rebuilt.metadata, rebuilt.tags) == (new, {"image": "new"}, ["fleet=shop"])
    assert rebuilt.created_at == server.created_at and rebuilt.launched_at >= server.launched_at
    with pytest.raises(exceptions.BadRequestException, match="Cannot find image for rebuild"):
        api.rebuild_server(server.id, image=NOWHERE)


@pytest.mark.alone
def test_a_server_is_not_rebuilt_while_it_is_rebuilt(project: Project) -> None:
    api = project.cloud.compute
    old, new = project.image(b"old"), project.image(b"new")
    server = project.server(image_id=old)
    with hanging("nova-conductor"):  # the fake driver may be done before the second request arrives
        api.rebuild_server(server.id, image=new)
        with pytest.raises(exceptions.ConflictException, match="while it is in task_state rebuild"):
            api.rebuild_server(server.id, image=old)
    assert project.wait(server, "ACTIVE").image.id == new


def test_a_stopped_server_stays_stopped_when_it_is_rebuilt(project: Project) -> None:
    api = project.cloud.compute
    old, new = project.image(b"old"), project.image(b"new")
    server = project.server(image_id=old)
    api.stop_server(server)
    project.wait(server, "SHUTOFF")
    api.rebuild_server(server.id, image=new)
    server = project.wait(server, "SHUTOFF")
    assert server.image.id == new


def test_anti_affinity(project: Project) -> None:
    """One server too many for the hosts fails after its create was accepted, and its fault says why."""
    api = project.cloud.compute
    group = api.create_server_group(name="fleet", policy="anti-affinity")
    servers = [project.server(scheduler_hints={"group": group.id}) for _host in range(3)]
    assert len({server.host_id for server in servers}) == 3
    failed = project.server("ERROR", scheduler_hints={"group": group.id})
    assert failed.fault["code"] == 500 and "No valid host was found" in failed.fault["message"]
    assert set(api.get_server_group(group.id).member_ids) == {server.id for server in [*servers, failed]}


def test_the_console(project: Project) -> None:
    """The fake driver's, which is the same for every server."""
    server = project.server()
    assert "FAKE CONSOLE OUTPUT" in project.cloud.compute.get_server_console_output(server.id)["output"]


def test_a_deactivated_image_cannot_be_launched(project: Project) -> None:
    image = project.image()
    project.cloud.image.deactivate_image(image)
    with pytest.raises(exceptions.BadRequestException, match="is not active"):
        project.cloud.compute.create_server(**project.wanted(image_id=image))


def test_a_port_of_our_own_survives_its_server(project: Project) -> None:
    api = project.cloud.network
    port = api.create_port(network_id=project.network())
    server = project.server(networks=[{"port": port.id}])
    assert api.get_port(port.id).device_id == server.id
    with pytest.raises(exceptions.ConflictException, match="is still in use"):
        project.cloud.compute.create_server(**project.wanted(networks=[{"port": port.id}]))
    project.cloud.compute.delete_server(server)
    project.wait_until_gone(server)
    kept = api.get_port(port.id)
    assert (kept.device_id, kept.fixed_ips) == ("", port.fixed_ips)
