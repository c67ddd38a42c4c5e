#!/usr/bin/env python3
# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Release a service to a sealed fleet on one machine, then swap the fleet to the next version under load.

Every step runs the commands that a user of the collection would type. ``make quickstart`` installs the dependencies
and runs this file.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
SERVICE, TARGET, CHANNEL, SIZE = "notes", "local", "prod", 3
FLEET = f"{SERVICE}-{TARGET}"
MARKER = "written under version 1 in slot {slot}"


class Failure(Exception):
    """A step failed. The message says why."""


class Quickstart:
    """The steps of the quickstart, with the time and the result of each."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.store = work / "store"
        self.definition = work / SERVICE / "immutable.yml"
        self.inventory = work / "notes.immutable_fleet.yml"
        self.rows: list[tuple[str, float, str]] = []
        self.load = Load()

    def run(self) -> None:
        self.work.mkdir(mode=0o700, exist_ok=True)
        self.prepare()
        self.step("build the base: a small bootable Debian", self.base)
        self.release("1.0.0")
        self.step("store data in each slot", self.write_markers)
        self.bake("2.0.0")
        self.step("swap to 2.0.0 slot by slot, under load", self.swap_under_load)
        self.step("check that version 2.0.0 serves the data of each slot", self.read_markers)
        self.step("attest: every host matches its image, and root cannot write", self.attest)
        self.step("bake and swap again: nothing changes", self.again)

    def prepare(self) -> None:
        source = f"definitions: [{self.definition}]\nstore: {self.store}\nchannel: {CHANNEL}\n"
        self.inventory.write_text(f"plugin: immutable.infra.fleet\n{source}", encoding="utf-8")
        self.write_version("1.0.0")
        if (self.store / "qemu").exists():
            self.step("remove the fleet of an earlier run", self.remove_fleet)

    def write_version(self, version: str) -> None:
        """Write the definition with a new version, as a developer would by editing and committing it."""
        shutil.copytree(HERE / SERVICE, self.definition.parent, dirs_exist_ok=True)
        text = self.definition.read_text(encoding="utf-8")
        self.definition.write_text(text.replace('version: "1.0.0"', f'version: "{version}"'), encoding="utf-8")

    def step(self, name: str, work: Callable[[], str]) -> None:
        print(f"\n=== {name}", flush=True)
        began = time.monotonic()
        try:
            result = work()
        except Failure as failure:
            self.rows.append((name, time.monotonic() - began, f"FAILED: {failure}"))
            raise
        self.rows.append((name, time.monotonic() - began, result))

    def release(self, version: str) -> None:
        self.bake(version)
        self.step(f"swap to {version}: launch {SIZE} hosts", self.first_swap)

    def bake(self, version: str) -> None:
        self.write_version(version)
        self.step(f"bake {version}", lambda: self.playbook("bake"))
        self.step(f"verify {version}: boot the image and test it", lambda: self.playbook("verify"))
        self.step(f"promote {version} to {CHANNEL}", lambda: self.playbook("promote"))

    # Steps

    def base(self) -> str:
        role = ("-m", "include_role", "-a", "name=immutable.infra.base_image", "-e", f"base_image_store={self.store}")
        self.command("ansible", "localhost", *role)
        return "ok"

    def first_swap(self) -> str:
        self.playbook("swap")
        return f"{self.expect_hosts()} sealed hosts serve at {self.endpoint()}"

    def write_markers(self) -> str:
        for slot, address in self.addresses().items():
            post(f"{address}/notes", MARKER.format(slot=slot))
        return "ok"

    def swap_under_load(self) -> str:
        with self.load.running_against(self.endpoint()):
            self.playbook("swap")
        record = self.newest_record()
        lowest = record["lowest_in_service"]
        if lowest < SIZE - 1:
            raise Failure(f"only {lowest} of {SIZE} hosts were in service during the swap")
        if self.load.failed:
            raise Failure(f"{self.load.failed} of {self.load.sent} requests failed: {self.load.failures}")
        if self.load.sent == 0:
            raise Failure("no request was sent during the swap")
        return f"{self.load.sent} requests, {self.load.failed} failed, at least {lowest} hosts in service"

    def read_markers(self) -> str:
        for slot, address in self.addresses().items():
            if get(f"{address}/notes/1") != MARKER.format(slot=slot):
                raise Failure(f"slot {slot} lost its data")
            version = get(f"{address}/healthz")["version"]
            if version != "2.0.0":
                raise Failure(f"slot {slot} runs version {version}")
        return f"{self.expect_hosts()} hosts"

    def attest(self) -> str:
        self.playbook("attest")
        write = ("-m", "command", "-a", "touch /usr/bin/intruder")
        done = self.command("ansible", "-i", self.inventory, "sealed", *write, check=False, show=False)
        refused = done.stdout.count("Read-only file system")
        if refused != SIZE:
            raise Failure(f"the write as root failed on only {refused} of {SIZE} hosts:\n{done.stdout}")
        return f"{SIZE} hosts match the manifest of their image and refuse writes as root"

    def again(self) -> str:
        for name in ("bake", "swap"):
            done = self.command("ansible-playbook", f"immutable.infra.{name}", *self.variables(), show=False)
            print(done.stdout, end="")
            if not re.search(r"^localhost\s.*\bchanged=0\s.*\bfailed=0\s", done.stdout, re.MULTILINE):
                raise Failure(f"the second {name} reported a change")
        return "changed=0"

    def remove_fleet(self) -> str:
        arguments = {
            "definition": str(self.definition),
            "target": TARGET,
            "store": str(self.store),
            "state": "absent",
            "remove_volumes": [SERVICE],
        }
        self.command("ansible", "localhost", "-m", "immutable.infra.fleet", "-a", json.dumps(arguments))
        return "ok"

    # Helpers of the steps

    def playbook(self, name: str) -> str:
        self.command("ansible-playbook", f"immutable.infra.{name}", *self.variables())
        return "ok"

    def variables(self) -> list[str]:
        values = {"definition": self.definition, "target": TARGET, "store": self.store, "channel": CHANNEL}
        return [argument for name, value in values.items() for argument in ("-e", f"immutable_{name}={value}")]

    def command(self, *argv: object, check: bool = True, show: bool = True) -> subprocess.CompletedProcess[str]:
        words = [str(word) for word in argv]
        print("$ " + " ".join(words), flush=True)
        stdout = None if show else subprocess.PIPE
        done = subprocess.run(words, text=True, cwd=self.work, stdin=subprocess.DEVNULL, stdout=stdout, check=False)
        if check and done.returncode != 0:
            if not show:
                print(done.stdout)
            raise Failure(f"{words[0]} {words[1]} failed with exit code {done.returncode}; see its output above")
        return done

    def hosts(self) -> dict[str, dict]:
        """Return the variables of each sealed host, from the inventory of the collection."""
        done = self.command("ansible-inventory", "-i", self.inventory, "--list", show=False)
        listed = json.loads(done.stdout, object_hook=_plain)
        sealed = set(listed.get("sealed", {}).get("hosts", []))
        return {name: values for name, values in listed["_meta"]["hostvars"].items() if name in sealed}

    def addresses(self) -> dict[int, str]:
        found = {}
        for values in self.hosts().values():
            host, port = values["immutable_endpoints"]["80"]
            found[values["immutable_slot"]] = f"http://{host}:{port}"
        return dict(sorted(found.items()))

    def expect_hosts(self) -> int:
        hosts = self.hosts()
        if len(hosts) != SIZE:
            raise Failure(f"expected {SIZE} sealed hosts; got {len(hosts)}: {sorted(hosts)}")
        return len(hosts)

    def newest_record(self) -> dict:
        records = sorted((self.store / "fleets" / FLEET / "records").glob("*.json"))
        return json.loads(records[-1].read_text(encoding="utf-8"))

    def endpoint(self) -> str:
        return self.newest_record()["endpoint"]

    def table(self) -> str:
        width = max(len(name) for name, _seconds, _result in self.rows)
        lines = [f"{'step':<{width}}  seconds  result", f"{'-' * width}  -------  ------"]
        lines += [f"{name:<{width}}  {seconds:7.1f}  {result}" for name, seconds, result in self.rows]
        lines.append(f"{'total':<{width}}  {sum(seconds for _n, seconds, _r in self.rows):7.1f}")
        return "\n".join(lines)


class Load:
    """Read and write at a steady rate. A status outside 2xx and a socket error count as failed requests."""

    def __init__(self) -> None:
        self.sent = 0
        self.failed = 0
        self.failures: dict[str, int] = {}

    @contextmanager
    def running_against(self, endpoint: str) -> Iterator[None]:
        common = ["hey", "-z", "1h", "-t", "20"]
        readers = [*common, "-c", "2", "-q", "2", f"{endpoint}/notes/count"]
        writers = [*common, "-c", "1", "-q", "2", "-m", "POST", "-d", "written under load", f"{endpoint}/notes"]
        running = [
            subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, start_new_session=True)
            for argv in (readers, writers)
        ]
        try:
            yield
        finally:
            for process in running:
                process.send_signal(signal.SIGINT)
            for process in running:
                self.count(process.communicate(timeout=60)[0])

    def count(self, summary: str) -> None:
        """Add the numbers of a summary printed by hey, which lists responses by status and errors by text."""
        part = ""
        for line in summary.splitlines():
            if line.endswith(":") or line.startswith(("Status code", "Error")):
                part = line
            found = re.match(r"\s+\[(\d+)\]\s+(.*)", line)
            if found and part.startswith("Status code"):
                number = int(found[2].split()[0])
                self.sent += number
                if not found[1].startswith("2"):
                    self.fail(f"status {found[1]}", number)
            elif found and part.startswith("Error"):
                self.sent += int(found[1])
                self.fail(found[2], int(found[1]))

    def fail(self, what: str, number: int) -> None:
        self.failed += number
        self.failures[what] = self.failures.get(what, 0) + number


def _plain(value: dict) -> object:
    """Unwrap a string that the JSON of the inventory marks as unsafe for templating."""
    return value["__ansible_unsafe"] if list(value) == ["__ansible_unsafe"] else value


def get(url: str) -> object:
    return _ask(urllib.request.Request(url))


def post(url: str, text: str) -> object:
    return _ask(urllib.request.Request(url, data=text.encode(), method="POST"))


def _ask(request: urllib.request.Request) -> object:
    try:
        # Connect directly: the hosts are on this machine, and the environment may name a proxy.
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20) as answer:
            return json.load(answer)
    except (urllib.error.URLError, ValueError) as error:
        raise Failure(f"{request.full_url}: {error}") from error


def clean(quickstart: Quickstart) -> None:
    """Remove everything that a quickstart created: first machines and load balancer, then files."""
    if (quickstart.store / "qemu").exists():
        quickstart.remove_fleet()
    shutil.rmtree(quickstart.work, ignore_errors=True)
    print("clean-quickstart: ok")


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    work = HERE.parent / ".quickstart"
    parser.add_argument("--work", type=Path, default=work, help="folder for the store and the definition")
    parser.add_argument("--clean", action="store_true", help="remove everything that a quickstart created")
    arguments = parser.parse_args(argv)
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    quickstart = Quickstart(arguments.work.absolute())
    try:
        if arguments.clean:
            clean(quickstart)
            return 0
        quickstart.run()
    except Failure as failure:
        message = f"quickstart: failed: {failure}"
        print(f"\n{quickstart.table()}\n\n{message}" if quickstart.rows else message)
        return 1
    load = quickstart.load
    print(f"\n{quickstart.table()}\n\nrequests during the swap: {load.sent} sent, {load.failed} failed")
    print("quickstart: ok")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
