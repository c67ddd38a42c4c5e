#!/usr/bin/env python3
# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Release a service to a sealed fleet on one machine, swap it to a new version under load, and try a bad version.

Every step runs the commands that a user of the collection would type. ``make quickstart`` installs the dependencies
and runs this file.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tour.engine import no_systemd, remove_storage
from tour.fleet import Fleet, get, post
from tour.load import Load
from tour.report import Report
from tour.service import BROKEN, CONTAINER, CONTAINER_ALONE, FIRST, NAME, PLACES, SECOND, SIZE, Place
from tour.shell import Background, Failure, Shell

ROOT = Path(__file__).resolve().parents[1]
MARKER = "written under version 1 in slot {slot}"


class Quickstart:
    """The story that the quickstart tells, step by step."""

    def __init__(self, work: Path, place: Place, before: float = 0.0) -> None:
        work.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.shell = Shell(work)
        self.fleet = Fleet(self.shell, place)
        self.fleet.write_settings()
        self.report = Report(before)
        self.loads: list[Load] = []
        self.definitions: dict[str, str] = {}

    def run(self) -> None:
        step = self.report.step
        print(f"$ cd {shlex.quote(str(self.shell.folder))}", flush=True)
        packages = self.shell.start(ROOT / "tests/tools/install", self.fleet.place.packages, log="packages.log")
        base = self.fleet.build_base()
        if (self.fleet.store / "fleets").exists():
            step("remove the fleet of an earlier run", self.remove)
        step("install the other packages, while the base is built", lambda: self.wait(packages))
        self.choose_form()
        for version in (FIRST, SECOND, BROKEN):
            self.definitions[version] = self.fleet.write(version)
        self.fleet.write_inventory(self.definitions[FIRST])
        step("build the base: a small Debian", lambda: self.wait(base))
        second = self.bake_ahead(SECOND)
        step(f"release {FIRST}: bake, boot and test the image, launch {SIZE} hosts", self.first_release)
        third = self.bake_ahead(BROKEN)
        step("store data in each slot", self.write_markers)
        step(f"bake {SECOND}, begun with the release of {FIRST}", lambda: self.wait(second))
        step(f"release {SECOND} under load: test the image, swap slot by slot", self.release_under_load)
        step(f"check that {SECOND} serves the data of each slot", self.read_markers)
        again = self.fleet.start("release", self.definitions[SECOND], log="again.log")
        step("attest: every host matches its image, and root cannot write", self.attest)
        step(f"release {SECOND} again, begun with the attestation: nothing changes", lambda: self.unchanged(again))
        step(f"bake {BROKEN}, begun before the release of {SECOND}", lambda: self.wait(third))
        step(f"release {BROKEN} under load: it cannot read existing data", self.bad_release)
        step(f"check that {SECOND} serves the data of each slot again", self.read_markers)

    # Steps

    def wait(self, started: Background) -> str:
        """Wait for a command that began in an earlier step. The seconds are those that were left of it."""
        if started.ended():
            return "ok, had ended before"
        started.wait()
        return "ok"

    def choose_form(self) -> None:
        """Run the service without systemd where a user's containers cannot have it."""
        if self.fleet.place is CONTAINER and os.geteuid() != 0:
            reason = no_systemd(self.fleet.store)
            if reason:
                print(f"{reason}. The quickstart does the latter: each container runs the service alone.", flush=True)
                self.fleet.place = CONTAINER_ALONE

    def bake_ahead(self, version: str) -> Background:
        """Bake a version in the background, as a build server would before the release."""
        return self.fleet.start("bake", self.definitions[version], log=f"bake-{version}.log")

    def remove(self) -> str:
        self.fleet.remove(self.fleet.write(FIRST))
        return "ok"

    def first_release(self) -> str:
        self.fleet.playbook("release", self.definitions[FIRST])
        return f"the fleet serves at {self.fleet.endpoint()}"

    def write_markers(self) -> str:
        addresses = self.fleet.addresses()
        for slot, address in addresses.items():
            post(f"{address}/notes", MARKER.format(slot=slot))
        return f"{len(addresses)} sealed hosts"

    def read_markers(self) -> str:
        addresses = self.fleet.addresses()
        for slot, address in addresses.items():
            if get(f"{address}/notes/1") != MARKER.format(slot=slot):
                raise Failure(f"slot {slot} lost its data")
            version = get(f"{address}/healthz")["version"]
            if version != SECOND:
                raise Failure(f"slot {slot} runs version {version}")
        return f"{len(addresses)} hosts"

    def release_under_load(self) -> str:
        load = self.new_load()
        with load.running_against(self.fleet.endpoint()):
            self.fleet.playbook("release", self.definitions[SECOND])
        return self.judge(load)

    def bad_release(self) -> str:
        """Version 3 passes its tests, which know only an empty volume. The fleet finds out and goes back by itself."""
        load = self.new_load()
        with load.running_against(self.fleet.endpoint()):
            done = self.fleet.playbook("release", self.definitions[BROKEN], check=False)
        if done.returncode == 0:
            raise Failure(f"the fleet accepted version {BROKEN}, which cannot read its data")
        intent = self.fleet.newest_record()["intent"]
        if not intent["image_name"].startswith(f"{NAME}-{BROKEN}-") or intent["stage"] != "rollback":
            raise Failure(f"version {BROKEN} failed before it reached the fleet; see the output above")
        return f"taken back by itself: {self.judge(load)}"

    def new_load(self) -> Load:
        self.loads.append(Load(self.fleet.place.requests))
        return self.loads[-1]

    def judge(self, load: Load) -> str:
        load.check()
        lowest = self.fleet.newest_record()["lowest_in_service"]
        if lowest < SIZE - 1:
            raise Failure(f"only {lowest} of {SIZE} hosts were in service during the swap")
        return f"{load.sent} requests, {load.failed} failed, at least {lowest} hosts in service"

    def attest(self) -> str:
        self.fleet.playbook("attest", self.definitions[SECOND])
        shown = self.fleet.on_sealed_hosts("touch", "/usr/bin/intruder")
        refused = re.findall(r"^(\S+) \| .*\n(.*Read-only file system)", shown, re.MULTILINE)
        if len(refused) != SIZE:
            raise Failure(f"the write as root failed on only {len(refused)} of {SIZE} hosts:\n{shown}")
        for host, answer in refused:
            print(f"{host}: {answer}", flush=True)
        return f"{SIZE} hosts match the manifest of their image and refuse writes as root"

    def unchanged(self, again: Background) -> str:
        again.wait()
        shown = again.log.read_text(encoding="utf-8")
        print(f"the end of {again.log.name}:\n{shown[shown.rfind('PLAY RECAP') :].rstrip()}")
        if not re.search(r"^localhost\s.*\bchanged=0\s.*\bfailed=0\s", shown, re.MULTILINE):
            raise Failure(f"the second release reported a change; see {again.log}")
        return "changed=0"


def clean(work: Path, place: Place) -> None:
    """Remove everything that a quickstart created: first hosts and load balancer, then files."""
    quickstart = Quickstart(work, place)
    if (quickstart.fleet.store / "fleets").exists():
        quickstart.fleet.remove(quickstart.fleet.write(FIRST))
        print(f"removed the fleet in {work}")
    remove_storage(quickstart.fleet.store)
    shutil.rmtree(work, ignore_errors=True)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--provider", choices=sorted(PLACES), default="container", help="where the service runs")
    parser.add_argument("--work", type=Path, default=ROOT / ".quickstart", help="folder for definitions and stores")
    parser.add_argument("--began", type=float, default=0.0, help="when the command began, in seconds since 1970")
    parser.add_argument("--clean", action="store_true", help="remove everything that quickstarts created")
    arguments = parser.parse_args(argv)
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    work = arguments.work.absolute()
    try:
        if arguments.clean:
            for provider, place in PLACES.items():
                clean(work / provider, place)
            print("clean-quickstart: ok")
            return 0
        before = max(0.0, time.time() - arguments.began) if arguments.began else 0.0
        return tell(Quickstart(work / arguments.provider, PLACES[arguments.provider], before))
    except Failure as failure:
        print(f"quickstart: failed: {failure}")
        return 1


def tell(quickstart: Quickstart) -> int:
    """Run the steps, and print their table whatever happens."""
    try:
        quickstart.run()
    except Failure:
        if quickstart.report.rows:
            print(f"\n{quickstart.report.table()}\n")
        raise
    finally:
        quickstart.shell.stop()
    sent, failed = (sum(getattr(load, name) for load in quickstart.loads) for name in ("sent", "failed"))
    print(f"\n{quickstart.report.table()}\n\nrequests during the swaps: {sent} sent, {failed} failed")
    print(f"\nLook at the fleet, as long as you like:\n\n{indented(how_to_look(quickstart))}")
    print("\nThen write a definition of your own: docs/tutorial/first-service.md explains one, and the playbook init,")
    print("in docs/how-to/start-from-what-you-have.md, writes the first version.")
    print(f"\nRemove the fleet and its data:\n\n  make -C {shlex.quote(str(ROOT))} clean-quickstart")
    print("\nquickstart: ok")
    return 0


def indented(lines: Sequence[str]) -> str:
    return "\n".join(f"  {line}" for line in lines)


def how_to_look(quickstart: Quickstart) -> list[str]:
    """Return commands for a shell, which has neither this Ansible nor this collection yet."""
    collections = os.environ.get("ANSIBLE_COLLECTIONS_PATH", "")
    return [
        f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH",
        f"export ANSIBLE_COLLECTIONS_PATH={shlex.quote(collections)}",
        f"cd {shlex.quote(str(quickstart.shell.folder))}",
        *(
            line
            for purpose, command in quickstart.fleet.looks(quickstart.definitions[SECOND])
            for line in (f"# {purpose}", command)
        ),
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
