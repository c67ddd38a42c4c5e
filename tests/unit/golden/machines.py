# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A fleet of the qemu provider as 0.1.0 left it, without virtual machines: small programs replace QEMU and HAProxy.

``ENTRIES`` is as in ``produced``.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest import mock

from ansible_collections.immutable.infra.tests.unit.golden import adapter, adapter_store, plain, produced

HERE = Path(__file__).parent
PROGRAMS = {"qemu-system-x86_64": "fake_guest.py", "haproxy": "fake_haproxy.py"}
# Results that depend on this machine, and texts for people.
ELSEWHERE = ("qemu", "accelerator", "accelerator_reason", "warnings", "timeline", "downtime")
DEFINITION = f"""\
schema: 1
service: shop
version: "1.0"
image: {{base: {{debian: bookworm}}, provision: {{playbook: provision.yml}}}}
data: [{{name: uploads, size: 1G, mount: /var/lib/shop}}]
health: {{http: {{port: 8080, path: /healthz}}}}
fleet: {{size: 2}}
targets:
  prod:
    provider: qemu
    settings: {{color: red}}
    secrets: {{db: {{env: GOLDEN_DB}}}}
    traffic: {{port: 18080}}
    authorized_key: {produced.AUTHORIZED_KEY}
"""


@contextmanager
def programs(folder: Path) -> Iterator[None]:
    """Put the replacements for QEMU and HAProxy first on the search path, and end their processes afterwards."""
    path = folder / "bin"
    path.mkdir(exist_ok=True)
    for name, file in PROGRAMS.items():
        (path / name).write_text(
            f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(str(HERE / file))} "$@"\n'
        )
    (path / "qemu-img").write_text(
        '#!/bin/sh\n[ "$1" = map ] && echo "[]" && exit\nfor path; do case $path in /*) : > "$path";; esac; done\n'
    )
    for each in path.iterdir():
        each.chmod(0o755)
    with mock.patch.dict(os.environ, {"PATH": f"{path}:{os.environ['PATH']}"}), produced.steady():
        try:
            yield
        finally:
            for file in [*folder.rglob("qemu.pid"), *folder.rglob("haproxy.pid")]:
                with suppress(ProcessLookupError, ValueError):
                    os.kill(int(file.read_text(encoding="ascii")), signal.SIGKILL)


def fleet_on_qemu(folder: Path) -> Any:
    """Create a fleet with data volumes and protect one host."""
    (folder / "immutable.yml").write_text(DEFINITION, encoding="utf-8")
    (folder / "provision.yml").write_text("- hosts: all\n  tasks: []\n", encoding="utf-8")
    store = produced.store_in(folder)
    digest = "sha256:" + "1" * 64
    record = {
        **plain.golden("given/images")["qemu"],
        "version": "1.0",
        "name": "shop-1.0-111111111111",
        "shell": "restricted",
    }
    disk = folder / f"store/images/{digest[7:]}/qemu-x86_64/disk.qcow2"
    disk.parent.mkdir(parents=True)
    disk.write_bytes(b"")
    store.write(f"images/{digest[7:]}/qemu-x86_64/record.json", {**record, "artifact": {"path": str(disk)}})
    adapter.promoted(store, record, "prod")
    with programs(folder):
        told = adapter.run_action("fleet", folder, target="prod")
        assert told["changed"] and "failed" not in told, told
        adapter.run_action("host_mark", folder, target="prod", hosts=["0"], mark="protected", reason="a long job")
        documents = documents_of(store)
        launches = {
            key: adapter.members_of(store.read_blob(key)) for key in store.list("qemu/") if key.endswith("launch.tar")
        }
        consoles = {key: store.read_blob(key).decode() for key in store.list("qemu/") if key.endswith("console.log")}
    for key in [key for key in documents if key.startswith("leases/")]:
        documents[key]["holder"].update({"boot": "", "pids": "", "pid": 1, "start": ""})
    kept = plain.plain(
        {"documents": documents, "launches": launches, "consoles": consoles}, {str(folder): "<folder>"}, "fixed"
    )
    kept["documents"] = portless(kept["documents"], ports_of(kept["documents"]))
    return {**kept, "definition": DEFINITION.splitlines()}


def captured(folder: Path) -> Any:
    """Create the fleet and add the results of the next run."""
    for name in ("made", "again"):
        (folder / name).mkdir()
    kept = fleet_on_qemu(folder / "made")
    return {**kept, "results": replayed(kept, folder / "again")["results"]}


def documents_of(store: Any) -> dict[str, Any]:
    """Return all documents except the one about the hardware of this machine."""
    return {key: store.read(key)[0] for key in store.list("") if key.endswith(".json") and key != "qemu/accel.json"}


def ports_of(documents: Mapping[str, Any]) -> dict[int, str]:
    """Return a text for each forwarded port of this machine."""
    machines = {key: document for key, document in documents.items() if key.endswith("/machine.json")}
    return {
        host: f"<{key.split('/')[3]} {guest}>"
        for key, each in machines.items()
        for guest, host in each["endpoints"].items()
    }


def portless(value: Any, ports: Mapping[int, str]) -> Any:
    if isinstance(value, dict):
        return {key: portless(part, ports) for key, part in value.items()}
    if isinstance(value, list):
        return [portless(part, ports) for part in value]
    return ports.get(value, value) if isinstance(value, int) and not isinstance(value, bool) else value


def restored(kept: Mapping[str, Any], folder: Path) -> Any:
    """Restore the definition and the store, and start processes for the machines and the balancer.

    Call it within ``programs``.
    """
    text = json.dumps(kept["documents"]).replace("<folder>", str(folder))
    names = r'"<[^<>"]* \d+>"'
    ports = map(str, _free_ports(len(re.findall(names, text))))
    documents = json.loads(re.sub(names, lambda _found: next(ports), text))
    (folder / "immutable.yml").write_text("\n".join(kept["definition"]) + "\n", encoding="utf-8")
    (folder / "provision.yml").write_text("- hosts: all\n  tasks: []\n", encoding="utf-8")
    store = adapter_store.store_at(str(folder / "store"))
    store.write_blob("keys/secret", produced.KEY)
    for key, document in documents.items():
        store.write(key, document)
    members = []
    for key, machine in documents.items():
        if key.endswith("/machine.json"):
            place = (folder / "store" / key).parent
            forwards = "".join(
                f",hostfwd=tcp:127.0.0.1:{host}-:{guest}" for guest, host in machine["endpoints"].items()
            )
            argv = [
                "qemu-system-x86_64",
                "-name",
                f"guest={place.name}",
                "-pidfile",
                "qemu.pid",
                "-netdev",
                f"user,id=net{forwards}",
            ]
            subprocess.run(argv, cwd=place, check=True)
            members.append((place.name, machine["endpoints"][machine["tags"]["port"]]))
        if key.startswith("traffic/"):
            balancer = (folder / "store" / key).parent
            argv = [
                "haproxy",
                "-D",
                "-C",
                str(balancer),
                "-f",
                str(balancer / "haproxy.cfg"),
                "-p",
                str(balancer / "haproxy.pid"),
            ]
            subprocess.run(argv, check=True)
    for key, console in kept["consoles"].items():
        store.write_blob(key, console.encode())
    with socket.socket(socket.AF_UNIX) as connection:
        os.chdir(balancer)  # the path of a socket must be short
        connection.connect("admin.sock")
        lines = [
            f"add server members/{name} 127.0.0.1:{port}\nset server members/{name} state ready\n"
            for name, port in members
        ]
        connection.sendall("".join([*lines, "quit\n"]).encode())
        while connection.recv(4096):
            pass
    return store


def replayed(
    kept: Mapping[str, Any], folder: Path, tasks: tuple[str, ...] = ("fleet", "check", "info")
) -> dict[str, Any]:
    """Run tasks on a captured fleet. Return their results and the documents afterwards."""
    given = {"fleet": ("fleet", {}), "check": ("fleet", {"check_mode": True}), "info": ("fleet_info", {})}
    here = Path.cwd()
    with programs(folder):
        try:
            store = restored(kept, folder)
        finally:
            os.chdir(here)
        results = {task: adapter.run_action(given[task][0], folder, target="prod", **given[task][1]) for task in tasks}
        documents = documents_of(store)
    for each in results.values():
        for name in ELSEWHERE:
            each.pop(name, None)
        each.get("traffic", {}).pop("pid", None)
    ports, texts = ports_of(documents), {str(folder): "<folder>"}
    return {
        "results": plain.plain(portless(results, ports), texts),
        "documents": plain.plain(portless(documents, ports), texts),
    }


def _free_ports(count: int) -> list[int]:
    """Different ones, which are all free at the same time."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _number in range(count)]
        return [each.getsockname()[1] for each in sockets]


ENTRIES: dict[str, Callable[[Path], Any]] = {"fleets/qemu": captured}
