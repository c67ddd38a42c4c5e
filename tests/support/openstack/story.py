# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A small service on real guests of an OpenStack, released by the collection's playbooks as a user would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from .. import echo_service
from ..machines import ask
from .guest_image import PYTHON, USER, base_disk, copy_ansible
from .projects import Project

FLAVOR, NETWORK, ZONE = "m1.tiny", "provider", "real"
PORTS = (22, 8080)
VOLUME, MOUNT = "words", "/var/lib/echo"
# Guests run by emulation, several at a time. A boot takes a minute or more.
SLOW = {"deadline": "15m", "boot_deadline": "20m"}
LAST = 60  # lines of the output of a command that failed


class Story:
    """One service with its definition in a folder, and the cloud of a project.

    Attributes:
        times: what each step took, in seconds.
    """

    def __init__(self, folder: Path, project: Project, prepared: Path) -> None:
        self.project, self.folder, self.store = project, folder / "service", folder / "store"
        self.times: list[tuple[str, float]] = []
        self._results = folder / "results"
        self._playbook = folder / "module.json"
        self.folder.mkdir()
        self._results.mkdir()
        copy_ansible(prepared, self.store)
        self.base = self._upload(base_disk(prepared))
        self.group = self._security_group()

    def define(self, version: str) -> None:
        """Write the sources of a version."""
        data = [{"name": VOLUME, "size": "1G", "mount": MOUNT}]
        document = {
            "schema": 1,
            "service": "echo",
            "version": version,
            "image": {
                "base": {"glance": {"name": "debian-12-*", "owner": "self"}, "python": PYTHON},
                "provision": {"playbook": "provision.yml"},
                "verify": "verify.yml",
            },
            "data": data,
            "health": {"http": {"port": 8080, "path": "/healthz"}, **SLOW},
            "fleet": {"size": 2},
            "targets": {
                "live": {
                    "provider": "openstack",
                    "cloud": self.project.name,
                    "zones": [ZONE],
                    "machine": {"flavor": FLAVOR},
                    "network": {"networks": [NETWORK], "security_groups": [self.group]},
                    "build": {"ssh_username": USER, "options": {"ssh_timeout": "15m"}},
                    "settings": {"greeting": "hello"},
                }
            },
        }
        texts = {
            "immutable.yml": json.dumps(document, indent=1),
            "provision.yml": echo_service.PROVISION,
            "verify.yml": echo_service.VERIFY + echo_service.ROOT_IS_READ_ONLY,
            "echo.service": echo_service.unit(data=True),
            "echo.py": echo_service.program(MOUNT, version),
        }
        for name, text in texts.items():
            (self.folder / name).write_text(text, encoding="utf-8")

    def play(self, playbook: str, **more: object) -> str:
        """Run one of the collection's playbooks. Returns its output."""
        values = {"definition": self.folder / "immutable.yml", "target": "live", "store": self.store, "channel": "prod"}
        words = [f"immutable_{key}={value}" for key, value in {**values, **more}.items()]
        arguments = [argument for word in words for argument in ("-e", word)]
        return self._run(playbook, ["ansible-playbook", f"immutable.infra.{playbook}", *arguments])

    def module(self, name: str, **options: object) -> dict[str, Any]:
        """The result of one module."""
        output = self._results / f"{name}.json"
        common = {"definition": str(self.folder / "immutable.yml"), "target": "live", "store": str(self.store)}
        call = {f"immutable.infra.{name}": {**common, **options}, "register": "result"}
        save = {"ansible.builtin.copy": {"dest": str(output), "content": "{{ result | to_json }}", "mode": "0600"}}
        play = [{"hosts": "localhost", "gather_facts": False, "tasks": [call, save]}]
        self._playbook.write_text(json.dumps(play), encoding="utf-8")
        self._run(f"module {name}", ["ansible-playbook", str(self._playbook)])
        result: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
        return result

    def on_hosts(self, command: str) -> str:
        """Run a command as root on each host. It may fail. Returns what Ansible printed."""
        inventory = self.folder.parent / "hosts.immutable_fleet.yml"
        source = {
            "plugin": "immutable.infra.fleet",
            "definitions": [str(self.folder / "immutable.yml")],
            "store": str(self.store),
        }
        inventory.write_text(json.dumps(source), encoding="utf-8")
        argv = ["ansible", "-i", str(inventory), "sealed", "-m", "ansible.builtin.command", "-a", command]
        return self._run(command, argv, check=False)

    def instances(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.module("fleet_info")["instances"]
        return found

    def words(self) -> dict[int, bytes]:
        """What each slot's host reads from its volume."""
        return {each["slot"]: ask(each, "/words")[1] for each in self.instances()}

    def consoles(self) -> str:
        """The last lines of every server's console, for a failure."""
        compute = self.project.cloud.compute
        texts = []
        for server in compute.servers():
            output = compute.get_server_console_output(server.id, length=40)["output"]
            texts.append(f"--- {server.name} {server.status} {server.addresses}\n{output}")
        return "\n".join(texts)

    def note(self, step: str, seconds: float) -> None:
        self.times.append((step, seconds))
        print(f"[{step}: {seconds:.0f} s]", file=sys.stderr, flush=True)

    def _run(self, step: str, argv: list[str], check: bool = True) -> str:
        began = time.monotonic()
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            cwd=self.folder.parent,
            env={**os.environ, "ANSIBLE_NOCOLOR": "1"},
        )
        (self._results / f"{len(self.times):02} {step.replace('/', '_')}.log").write_text(done.stdout, encoding="utf-8")
        self.note(step, time.monotonic() - began)
        if check and done.returncode:
            raise AssertionError("\n".join([*done.stdout.splitlines()[-LAST:], self.consoles()]))
        return done.stdout

    def _upload(self, disk: Path) -> str:
        began = time.monotonic()
        image = self.project.cloud.image.create_image(
            name="debian-12-story",
            filename=str(disk),
            disk_format="qcow2",
            container_format="bare",
            validate_checksum=False,
            os_distro="debian",
        )
        self.note("upload the base", time.monotonic() - began)
        return str(image.id)

    def _security_group(self) -> str:
        network = self.project.cloud.network
        group = network.create_security_group(name="echo")
        for port in PORTS:
            network.create_security_group_rule(
                security_group_id=group.id,
                direction="ingress",
                ethertype="IPv4",
                protocol="tcp",
                port_range_min=port,
                port_range_max=port,
            )
        return str(group.id)
