# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A small service on real virtual machines, driven by the collection's own playbooks as a user would."""
from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

# Kept between runs for the base; what the tests make in it is removed by them.
STORE = Path(os.environ.get("IMMUTABLE_VM_STORE", ".cache/vm-store")).absolute()

TOKEN = "ECHO_TOKEN"  # name of the environment variable that holds the service's secret
PIPED: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}

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
PROGRAM = '''#!/usr/bin/python3
import os
from http.server import BaseHTTPRequestHandler, HTTPServer

FILE = "{folder}/words"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        broken = self.path == "/healthz" and os.environ.get("broken") == "yes"
        words = open(FILE, "rb").read() if os.path.exists(FILE) else b""
        answers = {"/words": words, "/token": open("/run/immutable/secrets/token", "rb").read()}
        self.answer(500 if broken else 200, answers.get(self.path, os.environ.get("greeting", "").encode()))

    def do_POST(self):
        with open(FILE, "ab") as file:
            file.write(self.rfile.read(int(self.headers["Content-Length"])))
            os.fsync(file.fileno())
        self.answer(201, b"")

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


HTTPServer(("", 8080), Handler).serve_forever()
'''


class Service:
    """One service with its definition in a folder of its own, and its fleet."""

    def __init__(self, folder: Path, name: str, size: int, shell: str, data: bool) -> None:
        self.folder = folder
        self.name = name
        self.size = size
        self._shell = shell
        self._data = data
        folder.mkdir(parents=True)
        (folder / "provision.yml").write_text(PROVISION, encoding="utf-8")
        (folder / "verify.yml").write_text(VERIFY, encoding="utf-8")
        (folder / "echo.service").write_text(UNIT.format(mounts="RequiresMountsFor=/var/lib/echo" if data else ""), encoding="utf-8")
        (folder / "echo.py").write_text(PROGRAM.replace("{folder}", "/var/lib/echo" if data else "/tmp"), encoding="utf-8")
        self.define(greeting="hello")

    def define(self, **settings: str) -> None:
        """Write the definition with these settings: changing them is a swap without a bake."""
        document = {
            "schema": 1,
            "service": self.name,
            "version": "1",
            "image": {"base": {"debian": "bookworm"}, "provision": {"playbook": "provision.yml"}, "verify": "verify.yml"},
            "seal": {"shell": self._shell},
            "health": {"http": {"port": 8080, "path": "/healthz"}, "deadline": "20s"},
            "fleet": {"size": self.size},
            "targets": {"local": {"provider": "qemu", "machine": {"memory": "384M"}, "settings": settings, "secrets": {"token": {"env": TOKEN}}}},
        }
        if self._data:
            document["data"] = [{"name": "words", "size": "64M", "mount": "/var/lib/echo"}]
        (self.folder / "immutable.yml").write_text(json.dumps(document), encoding="utf-8")

    def arguments(self, playbook: str) -> list[str]:
        values = {"definition": self.folder / "immutable.yml", "store": STORE, "channel": "prod"}
        return ["ansible-playbook", f"immutable.infra.{playbook}", *(word for key, value in values.items() for word in ("-e", f"immutable_{key}={value}"))]

    def play(self, playbook: str, check: bool = True) -> str:
        done = subprocess.run(self.arguments(playbook), **PIPED, check=False)
        assert not check or done.returncode == 0, done.stdout
        return done.stdout if check or done.returncode else f"{playbook} did not fail:\n{done.stdout}"

    def kill_while_playing(self, playbook: str, mark: str, tree: bool) -> str:
        """Start a playbook and kill -9 it, alone or with its whole process group, as soon as it has said ``mark``."""
        child = subprocess.Popen(self.arguments(playbook), **PIPED, start_new_session=True)
        assert child.stdout is not None
        said = ""
        for line in child.stdout:
            said += line
            if mark in line:
                if tree:
                    os.killpg(child.pid, signal.SIGKILL)
                else:
                    child.kill()
                break
        else:
            pytest.fail(f"{playbook} ended without saying {mark!r}:\n{said}")
        child.stdout.read()  # to the end of every process that still holds it
        child.wait()
        return said

    def module(self, name: str, **options: object) -> dict[str, Any]:
        """The result of one module, as JSON."""
        arguments = {"definition": str(self.folder / "immutable.yml"), "store": str(STORE), **options}
        told, file = self.folder.parent / "told.json", self.folder.parent / "module.json"
        call = {f"immutable.infra.{name}": arguments, "register": "told"}
        tell = {"ansible.builtin.copy": {"dest": str(told), "content": "{{ told | to_json }}", "mode": "0600"}}
        play = [{"hosts": "localhost", "gather_facts": False, "tasks": [call, tell]}]
        file.write_text(json.dumps(play), encoding="utf-8")
        done = subprocess.run(["ansible-playbook", str(file)], **PIPED, check=False)
        assert done.returncode == 0, done.stdout
        return json.loads(told.read_text(encoding="utf-8"))

    def instances(self) -> list[dict[str, Any]]:
        return self.module("fleet_info")["instances"]

    def machines(self) -> list[str]:
        """Names of all QEMU processes that run for this fleet, its verification and its bakes."""
        found = []
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = process.read_bytes().decode("utf-8", "replace").split("\0")
            except OSError:
                continue
            if words[0].startswith("qemu-system") and any(f"{self.name}-local" in word or str(STORE / "work") in word for word in words):
                found += [word.removeprefix("guest=") for word in words if word.startswith("guest=")]
        return sorted(found)

    def newest_record(self) -> dict[str, Any]:
        records = sorted((STORE / "fleets" / f"{self.name}-local" / "records").glob("*.json"))
        return json.loads(records[-1].read_text(encoding="utf-8"))

    def remove(self) -> None:
        self.module("fleet", state="absent", remove_volumes=["words"] if self._data else [])


def ask(instance: dict[str, Any], path: str, body: bytes | None = None) -> tuple[int, bytes]:
    """One request to an instance itself, past the balancer."""
    connection = http.client.HTTPConnection(instance["address"], instance["port"], timeout=30)
    try:
        connection.request("POST" if body is not None else "GET", path, body=body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
