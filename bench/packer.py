# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``make bench-packer``: compares the tasks with Packer itself, in pairs within one play. Fails if a goal is missed.

- ``packer_build`` of a template with the null builder, compared with ``packer build`` of the same template
- ``image`` if nothing changed, with a template and with a definition; for the latter, the store gets an image that was
  not baked
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ansible_collections.immutable.infra.plugins.plugin_utils._bake.builders.registry import resolve_base
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.digest import bake_inputs, digest_of
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.load import load_definition
from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import Image
from ansible_collections.immutable.infra.plugins.plugin_utils._images.catalogue import Catalogue
from ansible_collections.immutable.infra.plugins.plugin_utils._store.registry import open_store

BUILD = "qemu-x86_64"
PAIRS = int(os.environ.get("IMMUTABLE_BENCH_PAIRS", "15"))
ADDED, UNCHANGED = 0.5, 1.0  # seconds: the goals
NULL = {"builders": [{"type": "null", "communicator": "none"}]}
DEFINITION = {
    "schema": 1,
    "service": "shop",
    "version": "1",
    "image": {"base": {"qcow2": "base.qcow2", "python": "3.11"}, "provision": {"playbook": "play/provision.yml"}},
    "health": {"tcp": {"port": 80}},
    "targets": {"local": {"provider": "qemu"}},
}
CLOCK = "{{ lookup('ansible.builtin.file', '/proc/uptime').split()[0] | float }}"


# Rows of the printed table, by step of the play.
STEPS = {
    "bare": "packer build of the null builder",
    "task": "packer_build of the same",
    "added": "so the task adds, in pairs",
    "template": "image by a template, nothing changed",
    "definition": "image by a definition, nothing changed",
    "nothing": "a task that does nothing (a module)",
}
# The step, its goal in seconds, and its name in the message.
GOALS = (
    ("added", ADDED, "packer_build adds"),
    ("template", UNCHANGED, "an unchanged template"),
    ("definition", UNCHANGED, "an unchanged definition"),
)


def main() -> int:
    packer = shutil.which("packer")
    if not packer:
        print("packer is not on the search path", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="bench-packer-") as name:
        folder = Path(name)
        prepare(folder)
        start = time.monotonic()
        rows = play(folder)
        version = subprocess.run([packer, "version"], capture_output=True, text=True, check=True).stdout.split()[1]
        print(f"{PAIRS} pairs in {time.monotonic() - start:.0f} s; {version}")
    # Each step includes the task that reads the clock, so "added" is computed from pairs.
    steps = {name: [row[name] for row in rows] for name in STEPS if name != "added"}
    steps["added"] = [row["task"] - row["bare"] for row in rows]
    print(f"\n{'seconds':<44} {'median':>7} {'least':>7} {'most':>7}")
    for name, label in STEPS.items():
        values = steps[name]
        print(f"{label:<44} {statistics.median(values):7.2f} {min(values):7.2f} {max(values):7.2f}")
    medians = {name: statistics.median(values) for name, values in steps.items()}
    missed = [
        f"{label}: {medians[name]:.2f} s, the goal is under {goal} s"
        for name, goal, label in GOALS
        if medians[name] >= goal
    ]
    for line in missed:
        print(f"MISSED  {line}")
    print(f"\ngoals missed: {len(missed)}" if missed else "\nevery goal was reached")
    return 1 if missed else 0


def prepare(folder: Path) -> None:
    """Write a template, a definition, and a store with an image of the definition."""
    (folder / "template").mkdir()
    (folder / "template/null.json").write_text(json.dumps(NULL))
    (folder / "play").mkdir()
    (folder / "play/provision.yml").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": []}]))
    (folder / "base.qcow2").write_bytes(b"a base")
    (folder / "immutable.yml").write_text(json.dumps(DEFINITION))
    definition = load_definition(folder / "immutable.yml")
    store = open_store(folder / "store")
    target = definition.target("local")
    base = resolve_base(target, store, folder)
    assert base is not None
    inputs = bake_inputs(definition, target, base)
    disk = folder / "disk.qcow2"
    disk.write_bytes(b"an image")
    Catalogue(store).add(
        Image(
            digest=digest_of(inputs),
            build=BUILD,
            service=definition.service,
            version=definition.version,
            created="2026-01-01T00:00:00+00:00",
            artifact={"path": str(disk)},
            base=base,
            inputs=inputs,
            provenance={},
            shell=definition.shell,
        )
    )


def play(folder: Path) -> list[dict[str, float]]:
    """Return the seconds of each step for every pair, measured by the play itself. The first pair is a warm-up."""
    store, template = str(folder / "store"), str(folder / "template/null.json")
    steps: list[tuple[str, dict[str, Any]]] = [
        (
            "bare",
            {
                "ansible.builtin.set_fact": {
                    "output": f"{{{{ lookup('ansible.builtin.pipe', 'packer build {template}') }}}}"
                }
            },
        ),
        ("task", {"immutable.infra.packer_build": {"template": template}}),
        (
            "template",
            {"immutable.infra.image": {"template": template, "service": "null", "version": "1", "store": store}},
        ),
        (
            "definition",
            {
                "immutable.infra.image": {
                    "definition": str(folder / "immutable.yml"),
                    "target": ["local"],
                    "store": store,
                },
                "failed_when": "baked is changed",
                "register": "baked",
            },
        ),
        ("nothing", {"ansible.builtin.ping": {}}),
    ]
    tasks: list[dict[str, Any]] = [{"name": "Read the clock", "ansible.builtin.set_fact": {"clock_0": CLOCK}}]
    for number, (name, task) in enumerate(steps, 1):
        tasks += [
            {"name": name, **task},
            {"name": "Read the clock", "ansible.builtin.set_fact": {f"clock_{number}": CLOCK}},
        ]
    spans = {name: f"{{{{ clock_{number} - clock_{number - 1} }}}}" for number, (name, _task) in enumerate(steps, 1)}
    tasks.append(
        {
            "name": "Save the seconds",
            "ansible.builtin.set_fact": {"rows": "{{ rows | default([]) + [row] }}"},
            "vars": {"row": spans},
        }
    )
    (folder / "pair.yml").write_text(json.dumps(tasks))
    results = folder / "results.json"
    repeat = {
        "name": "Repeat",
        "ansible.builtin.include_tasks": str(folder / "pair.yml"),
        "loop": list(range(PAIRS + 1)),
    }
    write = {
        "name": "Write the results",
        "ansible.builtin.copy": {"dest": str(results), "content": "{{ rows | to_json }}", "mode": "0600"},
    }
    (folder / "bench.yml").write_text(
        json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": [repeat, write]}])
    )
    environment = {**os.environ, "CHECKPOINT_DISABLE": "1"}
    done = subprocess.run(
        ["ansible-playbook", str(folder / "bench.yml")], capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode:
        raise SystemExit(f"the play failed:\n{done.stdout}{done.stderr}")
    return [{name: float(span) for name, span in row.items()} for row in json.loads(results.read_text())][1:]


if __name__ == "__main__":
    sys.exit(main())
