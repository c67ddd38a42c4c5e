# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A small service on real machines or containers, controlled by the collection's playbooks as a user would."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.load import load_definition
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.open import open_fleet
from ansible_collections.immutable.infra.plugins.plugin_utils._store.registry import open_store

from . import echo_service
from .echo_service import INSTALL, PROVISION, TOKEN, UNIT, VERIFY, VERIFY_COMMAND
from .labs import LABS, MOUNT, kill_and_wait
from .waiting import PATIENCE

__all__ = ["INSTALL", "PROVISION", "TOKEN", "UNIT", "VERIFY"]
# Kept between runs because of the base. The tests remove what they create in it.
STORE = Path(os.environ.get("IMMUTABLE_VM_STORE", ".cache/vm-store")).absolute()

PIPED: dict[str, Any] = {
    "stdin": subprocess.DEVNULL,
    "stdout": subprocess.PIPE,
    "stderr": subprocess.STDOUT,
    "text": True,
}


class Service:
    """One service with its definition in a folder of its own, and its fleet on one target."""

    def __init__(
        self,
        folder: Path,
        name: str,
        size: int,
        shell: str,
        data: bool,
        target: str = "local",
        store: Path = STORE,
        provider: str = "qemu",
        command: bool = False,
    ) -> None:
        """Write its definition.

        Args:
            provider: of its target, or ``docker`` for containers of Docker; one of ``LABS``.
            command: whether the service itself is the first process of a container, in place of systemd.
        """
        self.folder = folder
        self.name = name
        self.size = size
        self.data = data
        self.store = store
        self.fleet = f"{name}-{target}"
        self.prefix: Sequence[str] = ()  # of its commands, such as one that changes the user
        self.lab = LABS[provider]
        self._command = command
        self._target = target
        self._shell = shell
        self._kept: dict[str, Any] = {
            "settings": {"greeting": "hello"},
            "fleet": {},
            "volume": dict(self.lab.volume),
            "path": "/healthz",
            "deadline": self.lab.deadline,
            "base": {"debian": "bookworm"},
            "build": {},
            "version": "1",
        }
        folder.mkdir(parents=True)
        (folder / "provision.yml").write_text(INSTALL if command else PROVISION, encoding="utf-8")
        (folder / "verify.yml").write_text(VERIFY_COMMAND if command else VERIFY, encoding="utf-8")
        (folder / "echo.service").write_text(echo_service.unit(data), encoding="utf-8")
        self.swaps.mkdir()
        (folder / ".immutableignore").write_text(f"/{self.swaps.name}/\n", encoding="utf-8")
        self.define()

    @property
    def swaps(self) -> Path:
        """The folder of what only swaps use. Nothing in it is an input of the image."""
        return self.folder / "swaps"

    def define(self, **changes: Any) -> None:
        """Write the definition. Keys that are not named keep their values.

        Args:
            changes: ``settings`` (a change needs a swap but no bake), ``fleet``, ``volume``, ``path`` (of the probe),
                ``deadline`` (for health), ``build`` (of the target), or ``base`` and ``version``, which need a bake.
        """
        self._kept.update(changes)
        kept = self._kept
        self.size = kept["fleet"].get("size", self.size)
        document: dict[str, Any] = {
            "schema": 1,
            "service": self.name,
            "version": kept["version"],
            "image": {
                "base": kept["base"],
                "provision": {"playbook": "provision.yml"},
                "verify": "verify.yml",
            },
            "seal": {"shell": self._shell},
            "health": {
                "http": {"port": 8080, "path": kept["path"]},
                "timeout": self.lab.patience,
                "boot_deadline": "15m",
                "deadline": kept["deadline"],
            },
            "fleet": {"size": self.size, "stop_timeout": "5m", **kept["fleet"]},
            "targets": {
                self._target: {
                    "provider": self.lab.provider,
                    **self.lab.target,
                    **({"build": kept["build"]} if kept["build"] else {}),
                    "settings": kept["settings"],
                    "secrets": {"token": {"env": TOKEN}},
                }
            },
        }
        if self.data:
            document["data"] = [{"name": "words", "mount": MOUNT, **kept["volume"]}]
        if self._command:
            document["image"]["command"] = ["/usr/local/bin/echo-service"]
        program = echo_service.program(MOUNT if self.data else "/tmp", kept["version"])
        (self.folder / "echo.py").write_text(program, encoding="utf-8")
        (self.folder / "immutable.yml").write_text(json.dumps(document), encoding="utf-8")

    def greet(self, greeting: str, **changes: Any) -> None:
        """Change a setting, so that there is something to swap."""
        self.define(settings={"greeting": greeting}, **changes)

    def arguments(self, playbook: str, **more: object) -> list[str]:
        values = {
            "definition": self.folder / "immutable.yml",
            "target": self._target,
            "store": self.store,
            "channel": "prod",
            **more,
        }
        return [
            *self.prefix,
            "ansible-playbook",
            f"immutable.infra.{playbook}",
            *(word for key, value in values.items() for word in ("-e", f"immutable_{key}={value}")),
        ]

    def run(self, playbook: str, **more: object) -> subprocess.CompletedProcess[str]:
        """Run the playbook. It may fail."""
        return subprocess.run(self.arguments(playbook, **more), **PIPED, check=False)

    def play(self, playbook: str, check: bool = True, **more: object) -> str:
        done = self.run(playbook, **more)
        assert not check or done.returncode == 0, done.stdout
        return done.stdout if check or done.returncode else f"{playbook} did not fail:\n{done.stdout}"

    def disturb(self, playbook: str, mark: str, act: Callable[[subprocess.Popen[str]], None]) -> tuple[int, str]:
        """Run a playbook, and call ``act`` once it prints ``mark``. Returns its exit status and output."""
        return _disturbed(self.arguments(playbook), mark, act)

    def kill_while_playing(self, playbook: str, mark: str, tree: bool) -> str:
        """Kill -9 a playbook, alone or with its process group, as soon as it prints ``mark``."""
        return self.disturb(playbook, mark, lambda child: kill(child, tree))[1]

    def module(self, name: str, **options: object) -> dict[str, Any]:
        """The result of one module, as JSON."""
        output = self.folder.parent / "result.json"
        done = subprocess.run(self._module_play(name, output, options), **PIPED, check=False)
        assert done.returncode == 0, done.stdout
        result: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
        return result

    def kill_module(self, name: str, mark: str, **options: object) -> str:
        """Kill -9 all processes of a playbook with one module as soon as it prints ``mark``. Returns the output."""
        argv = self._module_play(name, self.folder.parent / "killed.json", options)
        return _disturbed(argv, mark, lambda child: kill(child, tree=True))[1]

    def _module_play(self, name: str, output: Path, options: Mapping[str, object]) -> list[str]:
        """The arguments that run a module and write its result to a file."""
        arguments = {
            "definition": str(self.folder / "immutable.yml"),
            "target": self._target,
            "store": str(self.store),
            **options,
        }
        file = self.folder.parent / "module.json"
        call = {f"immutable.infra.{name}": arguments, "register": "result"}
        save = {"ansible.builtin.copy": {"dest": str(output), "content": "{{ result | to_json }}", "mode": "0600"}}
        play = [{"hosts": "localhost", "gather_facts": False, "tasks": [call, save]}]
        file.write_text(json.dumps(play), encoding="utf-8")
        return [*self.prefix, "ansible-playbook", str(file)]

    def inventory(self) -> Path:
        """Write an inventory of the hosts to a file."""
        path = self.folder / "hosts.immutable_fleet.yml"
        source = {
            "plugin": "immutable.infra.fleet",
            "definitions": [str(self.folder / "immutable.yml")],
            "store": str(self.store),
        }
        path.write_text(json.dumps(source), encoding="utf-8")
        return path

    def info(self) -> dict[str, Any]:
        """The result of the module ``fleet_info``, read in this process: ansible-playbook takes ten times as long."""
        definition = load_definition(self.folder / "immutable.yml")
        fleet = open_fleet(definition, definition.target(self._target), open_store(str(self.store)))
        result: dict[str, Any] = json.loads(json.dumps(fleet.info("prod")))
        return result

    def instances(self) -> list[dict[str, Any]]:
        instances: list[dict[str, Any]] = self.info()["instances"]
        return instances

    def write(self, words: str) -> dict[int, bytes]:
        """Append words to the data of each slot. Returns the data by slot."""
        instances = self.instances()
        assert {ask(each, "/words", words.encode())[0] for each in instances} == {201}
        return {each["slot"]: ask(each, "/words")[1] for each in instances}

    def converged(self, greeting: str, words: Mapping[int, bytes] | None = None) -> list[dict[str, Any]]:
        """Assert what must hold after a swap. Returns the instances.

        Every slot serves with this greeting and its words, no other process runs, and one process has each volume open.
        """
        fleet = self.info()
        instances: list[dict[str, Any]] = fleet["instances"]
        _same(
            "slots and whether they serve",
            [(each["slot"], each["serving"]) for each in instances],
            [(slot, True) for slot in range(self.size)],
        )
        _same("processes", self.machines(), sorted(each["id"] for each in instances))
        _same("answers", {ask(each, "/healthz")[1] for each in instances}, {greeting.encode()})
        if words is not None:
            _same(
                "data",
                {each["slot"]: ask(each, "/words")[1] for each in instances},
                {slot: words[slot] for slot in range(self.size)},
            )
        by_slot = {each["slot"]: each["id"] for each in instances}
        for volume in fleet["volumes"]:
            if volume["slot"] in by_slot:
                _same(f"holder of {volume['id']}", volume["attached_to"], by_slot[volume["slot"]])
                _same(f"processes with {volume['id']}", self.holders(volume["id"]), [volume["attached_to"]])
        return instances

    def machines(self) -> list[str]:
        """Names of all machines that run for this fleet, its verification and its bakes."""
        return sorted(self.lab.running(self.store, self.fleet))

    def holders(self, volume: str) -> list[str]:
        """Names of the machines, of any fleet, whose process can write to a volume."""
        running = self.lab.running(self.store, "")
        return sorted(name for name, pid in running.items() if self.lab.has_open(pid, self.store, volume))

    def power_off(self, instance: str) -> None:
        """Kill a machine's process and wait until it has ended."""
        kill_and_wait(self.lab.running(self.store, "")[instance])

    def newest_record(self) -> dict[str, Any]:
        records = sorted((self.store / "fleets" / self.fleet / "records").glob("*.json"))
        record: dict[str, Any] = json.loads(records[-1].read_text(encoding="utf-8"))
        return record

    def balancer(self) -> int:
        """Process id of the load balancer."""
        return int((self.store / "traffic" / self.fleet / "haproxy.pid").read_text(encoding="ascii"))

    def remove(self) -> None:
        self.module("fleet", state="absent", remove_volumes=["words"] if self.data else [])


AnyService = TypeVar("AnyService", bound=Service)


@contextmanager
def released(service: AnyService) -> Iterator[AnyService]:
    """Release a service, without what an interrupted run left of it, and remove its fleet in the end."""
    if (service.store / service.lab.provider / "machines").exists():
        service.remove()
    service.play("release")
    try:
        yield service
    finally:
        service.remove()
    assert service.machines() == []


def kill(child: subprocess.Popen[str], tree: bool) -> None:
    """Kill -9 a playbook, alone or with all processes that it started."""
    if tree:
        os.killpg(child.pid, signal.SIGKILL)
    else:
        child.kill()


def _disturbed(argv: list[str], mark: str, act: Callable[[subprocess.Popen[str]], None]) -> tuple[int, str]:
    child = subprocess.Popen(argv, **PIPED, start_new_session=True)
    assert child.stdout is not None
    output = ""
    for line in child.stdout:
        output += line
        if mark in line:
            act(child)
            break
    else:
        pytest.fail(f"{argv} ended without printing {mark!r}:\n{output}")
    output += child.stdout.read()  # returns once all its processes ended
    return child.wait(), output


def _same(what: str, found: object, wanted: object) -> None:
    assert found == wanted, f"{what}: {found!r} instead of {wanted!r}"


def events(output: str) -> list[str]:
    """The events of a swap in the output of a playbook."""
    return re.findall(r"\d s  (.*?) \[healthy ", output)


def ask(instance: dict[str, Any], path: str, body: bytes | None = None) -> tuple[int, bytes]:
    """Send one request directly to an instance, not through the load balancer."""
    connection = http.client.HTTPConnection(instance["address"], instance["port"], timeout=PATIENCE)
    try:
        connection.request("POST" if body is not None else "GET", path, body=body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
