# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``make bench-bake``: where the time of a bake goes, for the example service in a virtual machine.

It bakes the example and prints the seconds of each stage, and the processor time of all programs together. The
processor time depends less on what else the machine does. With ``IMMUTABLE_BENCH_AGAINST``, a folder of collections
with another release, it bakes with both in turn and prints both. Each release has a store and a base of its own.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "notes"
_EVENT = re.compile(r"\[ *(\d+\.\d) s\] (.*)")
# What begins a stage, in the progress of a bake. A later event of the same stage does not begin it again.
_BEGINNINGS = (
    (re.compile(r"Retrieving ISO"), "copy the base"),
    (re.compile(r"Starting VM"), "boot until SSH"),
    (re.compile(r"Connected to SSH"), "check and upload"),
    (re.compile(r"Uploading .*payload"), "unpack, start Ansible"),
    (re.compile(r"play: Seal"), "seal"),
    (re.compile(r"Gracefully halting"), "shut down"),
    (re.compile(r"Build '.*' finished"), "inspect and record"),
)
_TASK = re.compile(r"task: (?!Seal$|immutable\.infra\.seal)(.*)")


@dataclass(frozen=True)
class Bench:
    """One bake.

    Attributes:
        stages: seconds by name, in their order.
        wall: seconds in all.
        processor: seconds of processor time of every program together.
    """

    stages: dict[str, float]
    wall: float
    processor: float


def main() -> int:
    """Bake once with each release. Returns the exit code."""
    against = os.environ.get("IMMUTABLE_BENCH_AGAINST")
    now = os.environ["ANSIBLE_COLLECTIONS_PATH"]
    releases = {**({"before": against} if against else {}), "now": now}
    with tempfile.TemporaryDirectory(prefix="bench-bake-") as name:
        folder = Path(os.environ.get("IMMUTABLE_BENCH_FOLDER", name))
        done = {label: bake(folder / label, collections) for label, collections in releases.items()}
    print(table(done))
    return 0


def bake(folder: Path, collections: str) -> Bench:
    """Build the base and bake the example. What an earlier run left in ``folder`` is used again.

    Raises SystemExit with the output if it fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": collections, "CHECKPOINT_DISABLE": "1"}
    store = folder / "store"
    role = {"ansible.builtin.include_role": {"name": "immutable.infra.base_image"}}
    _play(folder, [{**role, "vars": {"base_image_store": str(store)}}], environment)
    definition = _for_virtual_machines(folder / "notes")
    began, before = time.monotonic(), _processor()
    image = {"definition": str(definition), "store": str(store), "force": True}
    output = _play(folder, [{"immutable.infra.image": image}], environment)
    wall = time.monotonic() - began
    return Bench(stages(output.splitlines(), wall), wall, _processor() - before)


def _for_virtual_machines(folder: Path) -> Path:
    """Copy the example, with the provider whose bakes are measured. Returns its definition."""
    shutil.copytree(EXAMPLE, folder, dirs_exist_ok=True)
    definition = folder / "immutable.yml"
    text = definition.read_text(encoding="utf-8")
    definition.write_text(re.sub(r"provider: \w+", "provider: qemu", text), encoding="utf-8")
    return definition


def _play(folder: Path, tasks: list[dict[str, object]], environment: dict[str, str]) -> str:
    play = folder / "play.json"
    play.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    # Progress is on stderr.
    done = subprocess.run(
        ["ansible-playbook", str(play)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"the play failed:\n{done.stdout}")
    return done.stdout


def _processor() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def stages(lines: Iterable[str], wall: float) -> dict[str, float]:
    """Return the seconds of each stage, from the progress of a bake that took ``wall`` seconds in all."""
    began: dict[str, float] = {}
    for line in lines:
        if event := _EVENT.search(line):
            name = _stage(event[2])
            if name and name not in began:
                began[name] = float(event[1])
    starts = [*began.values(), wall]
    return {name: round(starts[at + 1] - start, 1) for at, (name, start) in enumerate(began.items())}


def _stage(text: str) -> str | None:
    task = _TASK.match(text)
    if task:
        return f"task: {task[1]}"
    return next((name for pattern, name in _BEGINNINGS if pattern.match(text)), None)


def table(done: dict[str, Bench]) -> str:
    """Return the results as text, one column for each release."""
    names = list(dict.fromkeys(name for bench in done.values() for name in bench.stages))
    rows = [(name, [bench.stages.get(name, 0.0) for bench in done.values()]) for name in names]
    rows.append(("in all", [bench.wall for bench in done.values()]))
    rows.append(("processor time of all programs", [bench.processor for bench in done.values()]))
    head = f"{'seconds':<44}" + "".join(f"{label:>9}" for label in done)
    return "\n".join([head, *(f"{name[:44]:<44}" + "".join(f"{value:9.1f}" for value in row) for name, row in rows)])


if __name__ == "__main__":
    sys.exit(main())
