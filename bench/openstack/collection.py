# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""This collection does the same work, and also handles a load balancer."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from ..measuring import OWN, Case, Step, command
from .lab import CLOUD, FLAVOR, IMAGES, Lab

PLUGINS = Path(__file__).parent / "action_plugins"
OLD, NEW = IMAGES


def cases(lab: Lab, batch: int) -> list[Case]:
    rolling = {"strategy": "rolling", "surge": batch}
    return [
        _case(lab, f"rolling, surge {batch}", rolling),
        _case(lab, f"rolling, surge {batch}, draining not counted", {**rolling, "count_draining": False}),
        _case(lab, "blue_green", {"strategy": "blue_green"}),
    ]


def _case(lab: Lab, name: str, intent: dict[str, Any]) -> Case:
    folder = lab.folder / re.sub(r"[^a-z0-9]+", "-", name)

    def prepare(cloud: Any, size: int) -> Step:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        wanted = {"surge": size, **intent, "size": size}
        _swap(lab, folder, OLD, {**wanted, "strategy": "rolling", "surge": size}).run(cloud)
        return _swap(lab, folder, NEW, wanted)

    return Case(f"{OWN} {name}", prepare, again=True)


def _swap(lab: Lab, folder: Path, image: str, intent: dict[str, Any]) -> Step:
    options = {
        "folder": str(folder),
        "glance": lab.images[image],
        "cloud": CLOUD,
        "flavor": FLAVOR,
        "intent": intent,
    }
    play = {"hosts": "localhost", "gather_facts": False, "tasks": [{"bench_swap": options}]}
    playbook = folder / f"{image}.yml"
    playbook.write_text(json.dumps([play]), encoding="utf-8")
    environment = {**lab.own_environment(), "ANSIBLE_ACTION_PLUGINS": str(PLUGINS)}
    argv = ["ansible-playbook", "-i", "localhost,", str(playbook)]
    return command(argv, folder, environment, lambda _cloud: lab.running(image, int(intent["size"])))
