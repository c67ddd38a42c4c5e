# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``make bench-packer``: the time that the tasks add to Packer's own, measured in pairs within one play.

It fails if a goal is missed. It compares:

- ``packer_build`` of a template with the null builder with ``packer build`` of the same template.
- ``image`` if nothing changed, by a template and by a definition. The definition's image is stored without a bake.
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
    "health": {"http": {"port": 80}},
    "targets": {"local": {"provider": "qemu"}},
}
CLOCK = "{{ lookup('ansible.builtin.file', '/proc/uptime').split()[0] | float }}"


def main() -> int:
    packer = shutil.which("packer")
    if not packer:
        print("packer is not on the search path", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="bench-packer-") as name:
        folder = Path(name)
        prepare(folder)
        began = time.monotonic()
        rows = play(folder)
        version = subprocess.run([packer, "version"], capture_output=True, text=True, check=True).stdout.split()[1]
        print(f"{PAIRS} pairs in {time.monotonic() - began:.0f} s; {version}")
    steps = {name: [row[name] for row in rows] for name in ("bare", "task", "template", "definition", "nothing")}
    # Both contain one reading of the clock, which is a task as well. The difference does not.
    steps["added"] = [row["task"] - row["bare"] for row in rows]
    print(f"\n{'seconds':<44} {'median':>7} {'least':>7} {'most':>7}")
    for name, words in (
        ("bare", "packer build of the null builder"),
        ("task", "packer_build of the same"),
        ("added", "difference, in pairs"),
        ("template", "image by a template, nothing changed"),
        ("definition", "image by a definition, nothing changed"),
        ("nothing", "a task that does nothing (a module)"),
    ):
        values = steps[name]
        print(f"{words:<44} {statistics.median(values):7.2f} {min(values):7.2f} {max(values):7.2f}")
    missed = []
    for name, goal, words in (
        ("added", ADDED, "packer_build adds"),
        ("template", UNCHANGED, "an unchanged template"),
        ("definition", UNCHANGED, "an unchanged definition"),
    ):
        median = statistics.median(steps[name])
        if median >= goal:
            missed.append(f"{words}: {median:.2f} s, the goal is under {goal} s")
    for line in missed:
        print(f"MISSED  {line}")
    print(f"\ngoals missed: {len(missed)}" if missed else "\nevery goal was reached")
    return 1 if missed else 0


def prepare(folder: Path) -> None:
    """Write a template and a definition, and a store that contains an image of the definition."""
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
    """Run the pairs in one play. Return the seconds of each step, a row for each pair. The first pair only warms up."""
    results = folder / "results.json"
    (folder / "pair.yml").write_text(json.dumps(timed(steps_of_a_pair(folder))))
    repeat = {
        "name": "Repeat the pair",
        "ansible.builtin.include_tasks": str(folder / "pair.yml"),
        "loop": list(range(PAIRS + 1)),
    }
    save = {
        "name": "Save the results",
        "ansible.builtin.copy": {"dest": str(results), "content": "{{ rows | to_json }}", "mode": "0600"},
    }
    (folder / "bench.yml").write_text(
        json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": [repeat, save]}])
    )
    environment = {**os.environ, "CHECKPOINT_DISABLE": "1"}
    done = subprocess.run(
        ["ansible-playbook", str(folder / "bench.yml")], capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode:
        raise SystemExit(f"the play failed:\n{done.stdout}{done.stderr}")
    return [{name: float(span) for name, span in row.items()} for row in json.loads(results.read_text())][1:]


def steps_of_a_pair(folder: Path) -> dict[str, dict[str, Any]]:
    """The tasks to compare, by the name of the step."""
    store, template = str(folder / "store"), str(folder / "template/null.json")
    bare = f"{{{{ lookup('ansible.builtin.pipe', 'packer build {template}') }}}}"
    by_definition = {"definition": str(folder / "immutable.yml"), "target": ["local"], "store": store}
    return {
        "bare": {"ansible.builtin.set_fact": {"output": bare}},
        "task": {"immutable.infra.packer_build": {"template": template}},
        "template": {
            "immutable.infra.image": {"template": template, "service": "null", "version": "1", "store": store}
        },
        "definition": {
            "immutable.infra.image": by_definition,
            "failed_when": "baked is changed",
            "register": "baked",
        },
        "nothing": {"ansible.builtin.ping": {}},
    }


def timed(steps: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The steps as tasks, with the clock read before and after each. The last task adds the seconds to ``rows``."""
    tasks: list[dict[str, Any]] = [{"name": "Read the clock", "ansible.builtin.set_fact": {"clock_0": CLOCK}}]
    for number, (name, task) in enumerate(steps.items(), 1):
        tasks += [
            {"name": name, **task},
            {"name": "Read the clock", "ansible.builtin.set_fact": {f"clock_{number}": CLOCK}},
        ]
    spans = {name: f"{{{{ clock_{number} - clock_{number - 1} }}}}" for number, name in enumerate(steps, 1)}
    tasks.append(
        {
            "name": "Add the seconds of this pair",
            "ansible.builtin.set_fact": {"rows": "{{ rows | default([]) + [row] }}"},
            "vars": {"row": spans},
        }
    )
    return tasks


if __name__ == "__main__":
    sys.exit(main())
