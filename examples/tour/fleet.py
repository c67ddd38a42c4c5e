# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The fleet of the quickstart, through the collection's own playbooks, modules and inventory."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from typing import Any

from tour.service import CHANNEL, NAME, SIZE, Place, write_version
from tour.shell import Background, Failure, Shell

SETTINGS = """\
[defaults]
callback_result_format = yaml
display_ok_hosts = false
display_skipped_hosts = false
localhost_warning = false

[inventory]
inventory_unparsed_warning = false
"""
STORE, INVENTORY = "store", f"{NAME}.immutable_fleet.yml"
TARGET = "local"


class Fleet:
    """Releases versions of the service and asks what runs. Every method runs commands that a user would type."""

    def __init__(self, shell: Shell, place: Place) -> None:
        self.shell = shell
        self.place = place
        self.store = shell.folder / STORE

    # Changes

    def write(self, version: str) -> str:
        """Write the sources of a version, and return the path of its definition in the shell's folder."""
        folder = f"{NAME}-{version}"
        write_version(version, self.place, self.shell.folder / folder)
        return f"{folder}/immutable.yml"

    def write_settings(self) -> None:
        """Write the settings that the README proposes, so that Ansible shows only what each step did."""
        (self.shell.folder / "ansible.cfg").write_text(SETTINGS, encoding="utf-8")

    def write_inventory(self, definition: str) -> None:
        source = f"definitions: [{definition}]\nstore: {STORE}\nchannel: {CHANNEL}\n"
        (self.shell.folder / INVENTORY).write_text(f"plugin: immutable.infra.fleet\n{source}", encoding="utf-8")

    def build_base(self) -> Background:
        role = ("-m", "include_role", "-a", "name=immutable.infra.base_image")
        variables = ("-e", f"base_image_store={self.store}", "-e", f"base_image_form={self.place.base}")
        return self.shell.start("ansible", "localhost", *role, *variables, log="base.log")

    def start(self, name: str, definition: str, log: str) -> Background:
        """Start one of the collection's playbooks in the background."""
        return self.shell.start("ansible-playbook", f"immutable.infra.{name}", *self._variables(definition), log=log)

    def playbook(self, name: str, definition: str, **options: bool) -> subprocess.CompletedProcess[str]:
        """Run one of the collection's playbooks. ``options`` are those of ``Shell.run``."""
        return self.shell.run("ansible-playbook", f"immutable.infra.{name}", *self._variables(definition), **options)

    def remove(self, definition: str) -> None:
        """Remove hosts, load balancer and data. The progress is shown, but not the result, which is a page of JSON."""
        arguments = {"definition": definition, "target": TARGET, "store": STORE, "state": "absent"}
        volumes = {"remove_volumes": [NAME]}
        words = ("-m", "immutable.infra.fleet", "-a", json.dumps(arguments | volumes))
        self.shell.run("ansible", "localhost", *words, show=False)

    def looks(self, definition: str) -> list[tuple[str, str]]:
        """Return commands that show the fleet, for a shell in the shell's folder, each with what it is for."""
        variables = " ".join(self._variables(definition))
        report = f"{variables} -e immutable_report={NAME}.html"
        playbook = "ansible-playbook immutable.infra"
        return [
            ("ask the service", f"curl {self.endpoint()}/healthz"),
            ("what runs in each slot", f"{playbook}.status {variables}"),
            (f"a page about the service: open {self.shell.folder / NAME}.html", f"{playbook}.report {report}"),
            ("compare every file of every host with its image", f"{playbook}.attest {variables}"),
            ("return the channel from the version that failed", f"{playbook}.rollback {variables}"),
        ]

    def _variables(self, definition: str) -> list[str]:
        values = {"definition": definition, "store": STORE, "channel": CHANNEL}
        return [argument for name, value in values.items() for argument in ("-e", f"immutable_{name}={value}")]

    # Observations

    def on_sealed_hosts(self, *command: str) -> str:
        """Run a command as root on every sealed host, and return what Ansible printed. The command may fail."""
        words = ("-m", "command", "-a", " ".join(command))
        return self.shell.run("ansible", "-i", INVENTORY, "sealed", *words, check=False, show=False).stdout

    def hosts(self) -> dict[str, dict[str, Any]]:
        """Return the variables of each sealed host, from the inventory of the collection.

        Raises Failure if there are more or fewer hosts than the fleet's size.
        """
        done = self.shell.run("ansible-inventory", "-i", INVENTORY, "--list", show=False)
        listed = json.loads(done.stdout, object_hook=_plain)
        sealed = set(listed.get("sealed", {}).get("hosts", []))
        hosts = {name: values for name, values in listed["_meta"]["hostvars"].items() if name in sealed}
        if len(hosts) != SIZE:
            raise Failure(f"expected {SIZE} sealed hosts; got {len(hosts)}: {sorted(hosts)}")
        return hosts

    def addresses(self) -> dict[int, str]:
        """Return the URL of each slot's host."""
        found = {}
        for values in self.hosts().values():
            host, port = values["immutable_endpoints"][str(self.place.port)]
            found[values["immutable_slot"]] = f"http://{host}:{port}"
        return dict(sorted(found.items()))

    def newest_record(self) -> dict[str, Any]:
        """Return the record of the last swap that ended."""
        records = sorted((self.store / "fleets" / f"{NAME}-{TARGET}" / "records").glob("*.json"))
        record: dict[str, Any] = json.loads(records[-1].read_text(encoding="utf-8"))
        return record

    def endpoint(self) -> str:
        return str(self.newest_record()["endpoint"])


def _plain(value: dict[str, Any]) -> Any:
    """Unwrap a string that the JSON of the inventory marks as unsafe for templating."""
    return value["__ansible_unsafe"] if list(value) == ["__ansible_unsafe"] else value


def get(url: str) -> Any:
    return _ask(urllib.request.Request(url))


def post(url: str, text: str) -> Any:
    return _ask(urllib.request.Request(url, data=text.encode(), method="POST"))


def _ask(request: urllib.request.Request) -> Any:
    try:
        # Connect directly: the hosts are on this machine, and the environment may name a proxy.
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20) as answer:
            return json.load(answer)
    except (urllib.error.URLError, ValueError) as error:
        raise Failure(f"{request.full_url}: {error}") from error
