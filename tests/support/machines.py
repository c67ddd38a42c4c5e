# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A small service on real virtual machines, controlled by the collection's playbooks as a user would."""

from __future__ import annotations

import http.client
import json
import os
import re
import select
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

# Kept between runs because of the base. The tests remove what they create in it.
STORE = Path(os.environ.get("IMMUTABLE_VM_STORE", ".cache/vm-store")).absolute()

TOKEN = "ECHO_TOKEN"  # name of the environment variable that holds the service's secret
PIPED: dict[str, Any] = {
    "stdin": subprocess.DEVNULL,
    "stdout": subprocess.PIPE,
    "stderr": subprocess.STDOUT,
    "text": True,
}

PROVISION = """
- name: Install the echo service
  hosts: all
  gather_facts: false
  tasks:
    - name: Install its program
      ansible.builtin.copy:
        src: echo.py
        dest: /usr/local/bin/echo-service
        mode: "0755"
    - name: Install its unit
      ansible.builtin.copy:
        src: echo.service
        dest: /etc/systemd/system/echo.service
        mode: "0644"
    - name: Start it at each boot
      ansible.builtin.file:
        src: /etc/systemd/system/echo.service
        path: /etc/systemd/system/multi-user.target.wants/echo.service
        state: link
"""
VERIFY = """
- name: Assert what every echo host must do
  hosts: all
  gather_facts: false
  tasks:
    - name: It is sealed
      ansible.builtin.command:
        argv: [grep, -q, '"sealed":true', /etc/ansible/facts.d/immutable.fact]
      changed_when: false
"""
UNIT = """
[Unit]
Description=Echo over HTTP
{mounts}
[Service]
EnvironmentFile=-/run/immutable/settings.env
ExecStart=/usr/local/bin/echo-service
[Install]
WantedBy=multi-user.target
"""
PROGRAM = """#!/usr/bin/python3
import os
from http.server import BaseHTTPRequestHandler, HTTPServer

FOLDER = "{folder}"
FILE = FOLDER + "/words"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        broken = self.path == "/healthz" and os.environ.get("broken") == "yes"
        answers = {
            "/words": lambda: open(FILE, "rb").read() if os.path.exists(FILE) else b"",
            "/token": lambda: open("/run/immutable/secrets/token", "rb").read(),
            "/room": lambda: str(os.statvfs(FOLDER).f_blocks * os.statvfs(FOLDER).f_frsize).encode(),
            "/version": lambda: b"{version}",
        }
        answer = answers.get(self.path, lambda: os.environ.get("greeting", "").encode())
        self.answer(500 if broken else 200, answer())

    def do_POST(self):
        with open(FILE, "ab", buffering=0) as file:  # so that fsync finds all of it in the kernel
            file.write(self.rfile.read(int(self.headers["Content-Length"])))
            os.fsync(file.fileno())
        self.answer(201, b"")

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


HTTPServer(("", 8080), Handler).serve_forever()
"""


class Service:
    """One service with its definition in a folder of its own, and its fleet on one target."""

    def __init__(
        self, folder: Path, name: str, size: int, shell: str, data: bool, target: str = "local", store: Path = STORE
    ) -> None:
        self.folder = folder
        self.name = name
        self.size = size
        self.data = data
        self.store = store
        self.fleet = f"{name}-{target}"
        self._target = target
        self._shell = shell
        self._kept: dict[str, Any] = {
            "settings": {"greeting": "hello"},
            "fleet": {},
            "volume": {"size": "64M"},
            "path": "/healthz",
            "version": "1",
        }
        folder.mkdir(parents=True)
        (folder / "provision.yml").write_text(PROVISION, encoding="utf-8")
        (folder / "verify.yml").write_text(VERIFY, encoding="utf-8")
        (folder / "echo.service").write_text(
            UNIT.format(mounts="RequiresMountsFor=/var/lib/echo" if data else ""), encoding="utf-8"
        )
        self.define()

    def define(self, **changes: Any) -> None:
        """Write the definition. Keys that are not named keep their values.

        Args:
            changes: ``settings`` (a change needs a swap but no bake), ``fleet``, ``volume``, ``path`` (of the probe) or
                ``version`` (a change needs another image).
        """
        self._kept.update(changes)
        kept = self._kept
        self.size = kept["fleet"].get("size", self.size)
        document = {
            "schema": 1,
            "service": self.name,
            "version": kept["version"],
            "image": {
                "base": {"debian": "bookworm"},
                "provision": {"playbook": "provision.yml"},
                "verify": "verify.yml",
            },
            "seal": {"shell": self._shell},
            "health": {"http": {"port": 8080, "path": kept["path"]}, "deadline": "45s"},
            "fleet": {"size": self.size, **kept["fleet"]},
            "targets": {
                self._target: {
                    "provider": "qemu",
                    "machine": {"memory": "384M"},
                    "settings": kept["settings"],
                    "secrets": {"token": {"env": TOKEN}},
                }
            },
        }
        if self.data:
            document["data"] = [{"name": "words", "mount": "/var/lib/echo", **kept["volume"]}]
        program = PROGRAM.replace("{folder}", "/var/lib/echo" if self.data else "/tmp").replace(
            "{version}", kept["version"]
        )
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
        child = subprocess.Popen(self.arguments(playbook), **PIPED, start_new_session=True)
        assert child.stdout is not None
        output = ""
        for line in child.stdout:
            output += line
            if mark in line:
                act(child)
                break
        else:
            pytest.fail(f"{playbook} ended without printing {mark!r}:\n{output}")
        output += child.stdout.read()  # returns once all its processes ended
        return child.wait(), output

    def kill_while_playing(self, playbook: str, mark: str, tree: bool) -> str:
        """Kill -9 a playbook, alone or with its process group, as soon as it prints ``mark``."""
        return self.disturb(playbook, mark, lambda child: kill(child, tree))[1]

    def module(self, name: str, **options: object) -> dict[str, Any]:
        """The result of one module, as JSON."""
        arguments = {
            "definition": str(self.folder / "immutable.yml"),
            "target": self._target,
            "store": str(self.store),
            **options,
        }
        output, file = self.folder.parent / "result.json", self.folder.parent / "module.json"
        call = {f"immutable.infra.{name}": arguments, "register": "result"}
        save = {"ansible.builtin.copy": {"dest": str(output), "content": "{{ result | to_json }}", "mode": "0600"}}
        play = [{"hosts": "localhost", "gather_facts": False, "tasks": [call, save]}]
        file.write_text(json.dumps(play), encoding="utf-8")
        done = subprocess.run(["ansible-playbook", str(file)], **PIPED, check=False)
        assert done.returncode == 0, done.stdout
        result: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
        return result

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

    def instances(self) -> list[dict[str, Any]]:
        instances: list[dict[str, Any]] = self.module("fleet_info")["instances"]
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
        fleet = self.module("fleet_info")
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
                _same(
                    f"processes with {volume['id']}",
                    holders(self.store / "qemu/volumes" / volume["id"]),
                    [volume["attached_to"]],
                )
        return instances

    def machines(self) -> list[str]:
        """Names of all QEMU processes of this fleet, its verification and its bakes."""
        work = str(self.store / "work")
        return sorted(
            _guest(words) for _pid, words in _machines() if any(self.fleet in word or work in word for word in words)
        )

    def power_off(self, instance: str) -> None:
        """Kill a machine's process and wait until it has ended."""
        for pid, words in _machines():
            if _guest(words) == instance:
                handle = os.pidfd_open(pid)
                os.kill(pid, signal.SIGKILL)
                assert select.select([handle], [], [], 60)[0]
                os.close(handle)

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
    if (service.store / "qemu/machines").exists():
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


def _same(what: str, found: object, wanted: object) -> None:
    assert found == wanted, f"{what}: {found!r} instead of {wanted!r}"


def holders(volume: Path) -> list[str]:
    """Names of the machines whose process has the disk of a volume open."""
    return sorted(
        _guest(words) for pid, words in _machines() if any(volume in Path(file).parents for file in _open_files(pid))
    )


def _machines() -> list[tuple[int, list[str]]]:
    """Process id and arguments of every running QEMU."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = process.read_bytes().decode("utf-8", "replace").split("\0")
        except OSError:
            continue
        if words[0].startswith("qemu-system") and _guest(words):
            found.append((int(process.parent.name), words))
    return found


def _guest(words: list[str]) -> str:
    return next((word.removeprefix("guest=") for word in words if word.startswith("guest=")), "")


def _open_files(pid: int) -> list[str]:
    found = []
    for handle in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            found.append(os.readlink(handle))
        except OSError:
            continue
    return found


def events(output: str) -> list[str]:
    """The events of a swap in the output of a playbook."""
    return re.findall(r"\d s  (.*?) \[healthy ", output)


def ask(instance: dict[str, Any], path: str, body: bytes | None = None) -> tuple[int, bytes]:
    """Send one request directly to an instance, not through the load balancer."""
    connection = http.client.HTTPConnection(instance["address"], instance["port"], timeout=30)
    try:
        connection.request("POST" if body is not None else "GET", path, body=body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
