# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The provider container on a real engine: the whole life of instances."""

from __future__ import annotations

import os
import signal
import socket
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container import relays
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container.command import OWNER
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container.provider import ContainerProvider
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container_engine import open_engine
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import LaunchRequest, VolumeRequest
from ansible_collections.immutable.infra.tests.support.container_providers import no_balancer, opened_provider
from ansible_collections.immutable.infra.tests.support.small_image import small_image
from ansible_collections.immutable.infra.tests.support.waiting import PATIENCE, until

DIGEST = "sha256:" + "ab" * 32
PYTHON = ("/usr/bin/python3", "-c")


@pytest.fixture(scope="session")
def images(run_folder, worker_id):
    folder = run_folder / f"images-{worker_id}"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def fleet(request):
    return f"{request.node.name.replace('[', '-').rstrip(']')[:40]}-local"


@pytest.fixture
def provider(store, engine, fleet):
    with opened_provider(store, engine, fleet) as provider:
        yield provider
    assert not [name for name in engine.run("ps", "--all", "--format", "{{.Names}}").split() if name.startswith(fleet)]


@pytest.fixture
def launch(provider, fleet, images):
    """Returns a function that launches an instance."""

    def one(name="a", **changes):
        artifact = changes.pop("artifact", None) or small_image(images)
        fields = {
            "token": f"{fleet}-{name}",
            "fleet": fleet,
            "slot": 0,
            "image": DIGEST,
            "artifact": artifact,
            "launch": "fingerprint",
            "nonce": "nonce",
            "ports": (8080,),
            "settings": {"GREETING": "hello"},
            **changes,
        }
        (instance,) = provider.compute.launch([LaunchRequest(**fields)])
        return instance

    return one


def get(instance, path="/", data=None):
    address, port = instance.endpoints[8080]
    with urllib.request.urlopen(f"http://{address}:{port}{path}", data=data, timeout=PATIENCE) as answer:
        return answer.read()


def answers(instance, path="/"):
    try:
        return get(instance, path)
    except (urllib.error.URLError, ConnectionError):
        return b""


def only(provider, fleet):
    (instance,) = provider.compute.list(fleet)
    return instance


def stopped(provider, fleet):
    return only(provider, fleet).state == "stopped"


def machine(provider, instance):
    return provider.compute.machine(instance.fleet, instance.id)


def test_a_container_of_somebody_else_with_our_name_stays(provider, launch, fleet, engine, images):
    artifact, name = small_image(images), f"{fleet}-a"
    launch()
    provider.compute.remove([name])
    until(lambda: not provider.compute.list(fleet))
    foreign = engine.run("create", "--pull=never", "--name", name, f"--label={OWNER}=other", artifact["image"]).strip()
    try:
        with pytest.raises(ProviderError, match=f"has another container named {name}, which is not of"):
            launch()
        with suppress(ProviderError):
            provider.compute.remove([name])
        assert engine.run("container", "inspect", "--format", "{{.Id}}", name).strip() == foreign
    finally:
        engine.run("rm", "--force", foreign)


def test_a_container_serves_stops_and_starts_again(provider, launch, fleet, engine):
    instance = launch()
    assert instance.state == "running"
    assert instance.evidence.digest == DIGEST
    until(lambda: answers(instance) == b"hello")
    assert launch().id == instance.id  # the same token
    assert "started" in until(lambda: provider.compute.console(instance.id))
    provider.compute.stop([instance.id])
    until(lambda: stopped(provider, fleet))
    assert not answers(instance)
    provider.compute.stop([instance.id])
    provider.compute.start([instance.id])
    again = only(provider, fleet)
    assert again.state == "running"
    until(lambda: answers(again) == b"hello")
    provider.compute.tag([instance.id], {"tainted": "yes", "gone": None})
    assert only(provider, fleet).tags == {"tainted": "yes"}
    assert fleet in provider.compute.fleets()


def test_root_in_a_container_can_change_nothing(provider, launch, engine):
    instance = launch()
    until(lambda: answers(instance))
    attack = """
import ctypes, os, subprocess
libc = ctypes.CDLL(None, use_errno=True)
def fails(call):
    try:
        return bool(call())
    except OSError:
        return True
assert os.getuid() == 0
assert fails(lambda: open("/x", "w"))
for flags in (32, 32 | 4096):  # MS_REMOUNT, with MS_BIND
    assert fails(lambda: libc.mount(b"none", b"/", None, flags, None))
assert fails(lambda: libc.mount(b"none", b"/tmp", b"tmpfs", 0, None))
assert fails(lambda: libc.unshare(0x10000000))  # CLONE_NEWUSER
assert fails(lambda: os.mknod("/tmp/disk", 0o60600, os.makedev(8, 0)))
open("/tmp/program", "w").write("#!/usr/bin/python3\\n")
os.chmod("/tmp/program", 0o755)
assert fails(lambda: subprocess.run(["/tmp/program"]))
status = dict(line.partition(":")[::2] for line in open("/proc/self/status").read().splitlines())
assert int(status["CapBnd"], 16) == 0
print("refused")
"""
    assert engine.run("exec", instance.id, *PYTHON, attack) == "refused\n"


def test_a_container_reaches_nothing_that_is_not_declared(provider, launch, engine):
    instance = launch()
    interfaces = engine.run("exec", instance.id, *PYTHON, "import os; print(os.listdir('/sys/class/net'))")
    assert interfaces == "['lo']\n"
    host = f"import socket; socket.create_connection(('127.0.0.1', {instance.endpoints[8080][1]}), 5)"
    with pytest.raises(ProviderError, match="ConnectionRefusedError"):
        engine.run("exec", instance.id, *PYTHON, host)


def test_settings_and_secrets_reach_the_command_only(provider, launch, fleet, engine, images):
    artifact = small_image(images, user="1000:1001")
    instance = launch(artifact=artifact, secrets={"token": "s3cret value"}, settings={"GREETING": 'a "b" $c'})
    until(lambda: answers(instance) == b'a "b" $c')
    read = "import os; print(os.getuid(), os.getgid(), open('/run/immutable/secrets/token').read())"
    assert engine.run("exec", instance.id, *PYTHON, read) == "1000 1001 s3cret value\n"
    with pytest.raises(ProviderError, match="PermissionError"):
        engine.run("exec", "--user", "1002", instance.id, *PYTHON, read)
    assert "s3cret" not in engine.run("container", "inspect", instance.id)
    path = machine(provider, instance).folder / "launch/secrets/token"
    assert path.stat().st_mode & 0o777 == 0o400
    assert b"nonce" not in b"".join(file.read_bytes() for file in path.parents[1].rglob("*") if file.is_file())


def test_folders_in_memory_belong_to_their_users(provider, launch, engine, images):
    artifact = small_image(images, user="1000:1001")
    artifact["writable"] = [{"path": "/srv", "size": "1m", "mode": "0710", "uid": 1000, "gid": 1001, "noexec": True}]
    instance = launch(artifact=artifact)
    look = "import os; s = os.stat('/srv'); print(oct(s.st_mode & 0o7777), s.st_uid, s.st_gid); open('/srv/x', 'w')"
    assert engine.run("exec", instance.id, *PYTHON, look) == "0o710 1000 1001\n"
    with pytest.raises(ProviderError, match="No space left"):
        engine.run("exec", instance.id, *PYTHON, "open('/srv/big', 'wb').write(bytes(2 << 20))")


def test_a_first_process_without_a_handler_is_ended(provider, launch, fleet):
    instance = launch()
    until(lambda: answers(instance))
    provider.compute.stop([instance.id])
    until(lambda: stopped(provider, fleet))


def test_a_first_process_with_a_handler_ends_in_order(provider, launch, fleet):
    instance = launch(settings={"TRAP": "1"})
    until(lambda: "started" in provider.compute.console(instance.id))
    provider.compute.stop([instance.id])
    until(lambda: stopped(provider, fleet))
    until(lambda: "bye" in provider.compute.console(instance.id))


def test_a_killed_relay_is_started_again_at_the_same_port(provider, launch, fleet):
    instance = launch()
    until(lambda: answers(instance))

    document = relays._document(machine(provider, instance).folder)
    os.kill(document["pid"], signal.SIGKILL)
    until(lambda: relays.relayed_ports(machine(provider, instance).folder) is None)
    assert not answers(instance)
    again = only(provider, fleet)
    assert again.endpoints == instance.endpoints
    assert get(again) == b"hello"


def test_a_relay_gives_up_root_and_ends_with_its_container(provider, launch, fleet):
    instance = launch()

    pid = relays._document(machine(provider, instance).folder)["pid"]
    status = Path(f"/proc/{pid}/status").read_text()
    assert "CapEff:\t0000000000000000" in status
    assert "\nUid:\t0\t" not in status
    provider.compute.power_off([instance.id])
    assert stopped(provider, fleet)
    until(lambda: relays.relayed_ports(machine(provider, instance).folder) is None)


def test_many_connections_and_large_answers_pass_the_relay(provider, launch):
    instance = launch()
    until(lambda: answers(instance))
    body = os.urandom(3_000_000)
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda number: get(instance, f"/size/{number * 10_000}"), range(64)))
        echoed = list(pool.map(lambda _number: get(instance, data=body), range(4)))
    assert [len(each) for each in found] == [number * 10_000 for number in range(64)]
    assert all(each == body for each in echoed)


def test_a_port_that_nothing_listens_at_resets_the_connection(provider, launch):
    instance = launch(ports=(8080, 9999))
    until(lambda: answers(instance))

    place = instance.endpoints[9999]
    with pytest.raises(ConnectionResetError), socket.create_connection(place, PATIENCE) as client:
        client.recv(1)


def test_declared_addresses_are_reached(provider, launch, engine):
    address = own_address()
    if not address:
        pytest.skip("this machine has no address but its loopback")
    with socket.create_server((address, 0)) as server:
        server.settimeout(PATIENCE)
        reach = {"10.0.2.100:5432": f"{address}:{server.getsockname()[1]}"}
        instance = launch(machine={"reach": reach})
        say = "import socket; s = socket.create_connection(('10.0.2.100', 5432)); s.sendall(b'hi'); print(s.recv(9))"
        with ThreadPoolExecutor(1) as pool:
            said = pool.submit(engine.run, "exec", instance.id, *PYTHON, say)
            guest, _address = server.accept()
            with guest:
                assert guest.recv(2) == b"hi"
                guest.sendall(b"yes")
            assert said.result() == "b'yes'\n"
    with pytest.raises(ProviderError, match="loopback"):
        launch("b", machine={"reach": {"10.0.2.100:80": "127.0.0.1:80"}})


def own_address():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
        probe.connect(("192.0.2.1", 9))
        return probe.getsockname()[0]


def test_a_container_that_ends_is_stopped_and_shows_why(provider, launch, fleet, images):
    broken = small_image(images, command=(*PYTHON, "raise SystemExit('no luck')"))
    launch(artifact=broken)
    until(lambda: stopped(provider, fleet))
    assert "no luck" in provider.compute.console(f"{fleet}-a")


def test_a_command_that_is_not_in_the_image_is_one_clear_error(provider, launch, fleet, images):
    with pytest.raises(ProviderError, match="/usr/bin/nothing"):
        launch(artifact=small_image(images, command=("/usr/bin/nothing",)))
    assert provider.compute.list(fleet) == []
    launch("b")  # removes what the failed launch left
    assert [path.name for path in (machine(provider, only(provider, fleet)).folder.parent).iterdir()] == [f"{fleet}-b"]


def test_containers_that_someone_removed_are_created_again(provider, launch, fleet, engine):
    instance = launch()
    engine.run("rm", "--force", "--time", "0", instance.id)
    assert stopped(provider, fleet)
    provider.compute.start([instance.id])
    until(lambda: answers(only(provider, fleet)))


def test_a_container_without_its_monitor_is_still_known(provider, launch, fleet, engine):
    instance = launch()
    until(lambda: answers(instance))
    pid = machine(provider, instance).pid()
    monitor = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(monitor, signal.SIGKILL)
    assert only(provider, fleet).state == "running"
    assert answers(instance)
    provider.compute.power_off([instance.id])
    assert stopped(provider, fleet)
    provider.compute.start([instance.id])
    until(lambda: answers(only(provider, fleet)))


def test_a_damaged_document_belongs_to_no_slot_and_can_be_removed(provider, launch, fleet, engine):
    instance = launch()
    (machine(provider, instance).folder / "machine.json").write_text("{")
    assert only(provider, fleet).slot == -1
    with pytest.raises(ProviderError, match="missing or damaged"):
        provider.compute.start([instance.id])
    with pytest.raises(ProviderError, match="not the document of a machine"):
        provider.images.users([{"path": "x"}])
    provider.compute.remove([instance.id])
    provider.compute.power_off([instance.id])
    until(lambda: provider.compute.list(fleet) == [])


def test_another_run_launches_the_same_token(provider, launch, fleet, store, images):
    def run(_number):
        other = ContainerProvider(store / "container", open_engine("podman", store / "container"), no_balancer)
        request = LaunchRequest(
            token=f"{fleet}-a",
            fleet=fleet,
            slot=0,
            image=DIGEST,
            artifact=artifact,
            launch="fingerprint",
            nonce="nonce",
            ports=(8080,),
        )
        return other.compute.launch([request])[0]

    artifact = small_image(images)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(run, range(3)))
    assert {each.id for each in found} == {f"{fleet}-a"}
    assert only(provider, fleet).state == "running"
    until(lambda: answers(only(provider, fleet)))


def test_images_know_their_containers(provider, launch, images, store):
    instance = launch()
    artifact = small_image(images)
    assert provider.images.users([artifact])[0][0].startswith(f"container {instance.id} of ")
    assert provider.images.build("x86_64") == "container-x86_64"


def test_a_container_starts_once_its_volumes_are_attached(provider, launch, fleet, engine, images):
    row = {"name": "words", "mount": "/srv", "owner": "1000:1001", "mode": "0750", "noexec": True, "reown": False}
    artifact = {**small_image(images, user="1000:1001"), "data": [row]}
    (volume,) = provider.volumes.create([VolumeRequest(fleet, 0, "words", size=1 << 20, mount="/srv")])
    instance = launch(artifact=artifact)
    assert (instance.state, instance.evidence.digest) == ("running", DIGEST)
    assert machine(provider, instance).pid() is None
    assert not answers(instance)
    provider.volumes.attach([volume.id], instance.id)
    until(lambda: answers(only(provider, fleet)) == b"hello")
    assert only(provider, fleet).state == "running"
    engine.run("exec", instance.id, *PYTHON, "open('/srv/word', 'w').write('kept')")
    with pytest.raises(ProviderError, match="stop it first"):
        provider.volumes.detach([volume.id])
    provider.compute.stop([instance.id])
    until(lambda: stopped(provider, fleet))
    provider.volumes.detach([volume.id])
    successor = launch("b", artifact=artifact)
    assert successor.state == "running"
    provider.volumes.attach([volume.id], successor.id)
    with pytest.raises(ProviderError, match="is attached to"):
        provider.volumes.attach([volume.id], instance.id)
    assert engine.run("exec", successor.id, *PYTHON, "print(open('/srv/word').read())") == "kept\n"
    provider.compute.start([instance.id])  # without its volume it waits
    assert {each.id: each.state for each in provider.compute.list(fleet)} == dict.fromkeys(
        [instance.id, successor.id], "running"
    )
    assert machine(provider, instance).pid() is None
    provider.compute.stop([instance.id])
    provider.compute.power_off([successor.id])
    assert {each.state for each in provider.compute.list(fleet)} == {"stopped"}
    provider.compute.remove([instance.id, successor.id])
    assert provider.compute.list(fleet) == []
    assert fleet in provider.compute.fleets()
    provider.volumes.remove([volume.id])
    assert fleet not in provider.compute.fleets()
