# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A run that is killed at any step of a launch: the next one completes it, and nothing is left over."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._providers import container_runtime
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container import relays
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container.provider import ContainerProvider
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container_engine import open_engine
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container_images import load_image
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import USED_FOR, VERIFY, LaunchRequest
from ansible_collections.immutable.infra.tests.support import engine_store
from ansible_collections.immutable.infra.tests.support.command_lines import command_lines
from ansible_collections.immutable.infra.tests.support.container_providers import no_balancer
from ansible_collections.immutable.infra.tests.support.small_image import small_image
from ansible_collections.immutable.infra.tests.support.waiting import until

# Launches an instance, and is killed around a call of the engine or a change of the document.
RUN = """
import json, os, signal, sys
from pathlib import Path
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container import machine, relays, runner
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container.provider import ContainerProvider
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container_engine import PodmanEngine
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import LaunchRequest

config = json.loads(sys.argv[1])
steps = 0

def counted(function):
    def call(*arguments, **options):
        global steps
        for end in ("before", "after"):
            steps += 1
            if steps == config["kill"]:
                os.kill(os.getpid(), signal.SIGKILL)
            if end == "before":
                result = function(*arguments, **options)
        return result
    return call

PodmanEngine.run = counted(PodmanEngine.run)
machine.MachineFolder.save = counted(machine.MachineFolder.save)
runner.ensure_relay = counted(runner.ensure_relay)
root = Path(config["root"])
provider = ContainerProvider(root, PodmanEngine(root), lambda _fleet: None)
request = {**config["request"], "ports": tuple(config["request"]["ports"])}
provider.compute.launch([LaunchRequest(**request)])
if config["kill"] < 0:
    print("launched", flush=True)
    sys.stdin.read()
print(steps)
"""


@pytest.fixture(scope="session")
def artifact(run_folder, worker_id):
    folder = run_folder / f"killed-{worker_id}"
    folder.mkdir()
    return small_image(folder)


def request(fleet, artifact, **changes):
    fields = {
        "token": f"{fleet}-token",
        "fleet": fleet,
        "slot": 0,
        "image": "sha256:" + "ab" * 32,
        "artifact": artifact,
        "launch": "fingerprint",
        "nonce": "nonce",
        "ports": (8080,),
    }
    return {**fields, **changes}


def run(store, kill, fields, **options):
    config = json.dumps({"root": str(store / "container"), "kill": kill, "request": fields})
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(
        [sys.executable, "-c", RUN, config], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def removed(provider, fleet):
    ids = [each.id for each in provider.compute.list(fleet)]
    provider.compute.remove(ids)
    provider.compute.power_off(ids)
    until(lambda: provider.compute.list(fleet) == [])


def test_a_launch_that_was_killed_at_any_step_is_completed(store, engine, artifact):
    fleet = "killed-local"
    provider = ContainerProvider(store / "container", engine, no_balancer)
    load_image(engine, artifact)
    done = run(store, 0, request(fleet, artifact))
    steps = int(done.communicate()[0])
    assert steps > 10
    for kill in range(1, steps + 1):
        removed(provider, fleet)
        assert f"{fleet}-token" not in engine.run("ps", "--all", "--format", "{{.Names}}").split()
        assert run(store, kill, request(fleet, artifact)).wait() == -9
        seen = provider.compute.list(fleet)
        assert [each.id for each in seen] in ([], [f"{fleet}-token"])
        (instance,) = provider.compute.launch([LaunchRequest(**request(fleet, artifact))])
        assert instance.state == "running", f"killed at step {kill}"
        assert instance.endpoints[8080][1] > 0
    removed(provider, fleet)
    assert fleet not in provider.compute.fleets()


def test_an_interrupted_launch_that_is_not_repeated_leaves_nothing(store, engine, artifact):
    fleet = "left-local"
    provider = ContainerProvider(store / "container", engine, no_balancer)
    for kill in (1, 3, 5, 7, 9):
        assert run(store, kill, request(fleet, artifact, token=f"{fleet}-{kill}")).wait() == -9
    (instance,) = provider.compute.launch([LaunchRequest(**request(fleet, artifact))])
    known = {each.id for each in provider.compute.list(fleet)}
    names = {name for name in engine.run("ps", "--all", "--format", "{{.Names}}").split() if name.startswith(fleet)}
    assert names <= known
    assert {path.name for path in (store / "container/machines" / fleet).iterdir()} == known
    removed(provider, fleet)


def test_a_machine_that_was_started_again_has_stopped_instances(own_store, artifact):
    root = own_store / "container"
    engine = open_engine("podman", root)
    provider = ContainerProvider(root, engine, no_balancer)
    (instance,) = provider.compute.launch([LaunchRequest(**request("again-local", artifact))])
    first = provider.compute.machine("again-local", instance.id).pid()
    monitor = int(Path(f"/proc/{first}/stat").read_text().rpartition(")")[2].split()[1])
    for pid in (monitor, first):  # all that ends with a machine: processes, mounts, and files in memory
        os.kill(pid, signal.SIGKILL)
    until(lambda: provider.compute.machine("again-local", instance.id).pid() is None)
    engine_store.unmount(root)
    shutil.rmtree(container_runtime.state_folder(root))
    provider = ContainerProvider(root, open_engine("podman", root), no_balancer)
    assert [each.state for each in provider.compute.list("again-local")] == ["stopped"]
    provider.compute.start([instance.id])
    assert [each.state for each in provider.compute.list("again-local")] == ["running"]
    removed(provider, "again-local")


def test_instances_of_a_verification_end_with_their_run(store, engine, artifact):
    fleet = "verified-local"
    provider = ContainerProvider(store / "container", open_engine("podman", store / "container"), no_balancer)
    bound = run(store, -1, request(fleet, artifact, tags={USED_FOR: VERIFY}))
    assert bound.stdout.readline() == "launched\n"
    free = run(store, -1, request(fleet, artifact, token=f"{fleet}-free"))
    assert free.stdout.readline() == "launched\n"
    assert [each.state for each in provider.compute.list(fleet)] == ["running", "running"]
    bound.kill()
    free.kill()
    until(lambda: [each.state for each in provider.compute.list(fleet)] == ["running", "stopped"])
    removed(provider, fleet)
    for each in (bound, free):
        each.communicate()


def test_runs_that_observe_a_killed_relay_at_once_start_one(store, engine, artifact):
    fleet = "observed-local"
    provider = ContainerProvider(store / "container", engine, no_balancer)
    (instance,) = provider.compute.launch([LaunchRequest(**request(fleet, artifact))])
    folder = provider.compute.machine(fleet, instance.id).folder
    os.kill(relays._document(folder)["pid"], signal.SIGKILL)
    until(lambda: relays.relayed_ports(folder) is None)

    def endpoints(_number):
        other = ContainerProvider(store / "container", open_engine("podman", store / "container"), no_balancer)
        (seen,) = other.compute.list(fleet)
        return seen.endpoints

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(endpoints, range(4))) == [instance.endpoints] * 4
    document = str(folder / relays.DOCUMENT)
    assert len([pid for pid, words in command_lines() if any(document in word for word in words)]) == 1
    removed(provider, fleet)
