# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The modules of openstack.cloud do the same work, by playbooks as a user would write them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..measuring import Case, Step, command
from .lab import CLOUD, FLAVOR, IMAGES, Lab

TIMEOUT, POLL = 900, 1  # seconds for one server, and between two looks at tasks in the background
SERVER = "openstack.cloud.server"
OLD, NEW = IMAGES


def cases(lab: Lab, batch: int) -> list[Case]:
    return [_case(lab, batch, at_once=False), _case(lab, batch, at_once=True)]


def _case(lab: Lab, batch: int, *, at_once: bool) -> Case:
    how = f"a batch of {batch} at once" if at_once else f"batch {batch}"
    folder = lab.folder / f"openstack-cloud-{'at-once' if at_once else 'loop'}-{batch}"

    def prepare(_cloud: Any, size: int) -> Step:
        _launch_old(lab, size)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        write_playbooks(folder, size, batch, at_once=at_once)
        argv = [str(lab.peers / "bin/ansible-playbook"), "-i", "localhost,", "replace.yml"]
        return command(argv, folder, lab.environment(), lambda _cloud: lab.running(NEW, size))

    return Case(f"openstack.cloud, server in a loop, {how}", prepare)


def _launch_old(lab: Lab, size: int) -> None:
    """One request launches all: they get the names shop-1-1, shop-1-2, and so on."""
    wanted = lab.project.wanted(image_id=lab.images[OLD], name=OLD, min_count=size, max_count=size)
    lab.project.cloud.compute.create_server(**wanted)
    for each in list(lab.project.cloud.compute.servers()):
        lab.project.wait(each, "ACTIVE")
        if size == 1:  # a single one gets no number
            lab.project.cloud.compute.update_server(each, name=f"{OLD}-1")


def write_playbooks(folder: Path, size: int, batch: int, *, at_once: bool) -> None:
    """Write ``replace.yml``, which includes ``batch.yml`` for each batch.

    Args:
        at_once: whether the servers of a batch are created, and then deleted, by tasks in the background.
    """
    numbers = [str(number) for number in range(1, size + 1)]
    batches = [numbers[first : first + batch] for first in range(0, size, batch)]
    include = {
        "name": "Replace a batch",
        "ansible.builtin.include_tasks": "batch.yml",
        "loop": batches,
        "loop_control": {"loop_var": "slots"},
    }
    local = {"connection": "local", "vars": {"ansible_python_interpreter": "{{ ansible_playbook_python }}"}}
    play = {"name": "Replace", "hosts": "localhost", "gather_facts": False, **local, "tasks": [include]}
    create = {
        "cloud": CLOUD,
        "name": f"{NEW}-{{{{ item }}}}",
        "image": NEW,
        "flavor": FLAVOR,
        "auto_ip": False,
        "wait": False,  # with it, the module fails for a server without an address
    }
    delete = {"cloud": CLOUD, "name": f"{OLD}-{{{{ item }}}}", "state": "absent", "timeout": TIMEOUT}
    tasks = [
        *_tasks("Create the new servers", create, at_once),
        _until_active(),
        *_tasks("Delete the old servers", delete, at_once),
    ]
    (folder / "replace.yml").write_text(json.dumps([play], indent=1), encoding="utf-8")
    (folder / "batch.yml").write_text(json.dumps(tasks, indent=1), encoding="utf-8")


def _until_active() -> dict[str, Any]:
    """A task that looks at all servers of the new image until those of the batch are active."""
    active = "selectattr('status', 'eq', 'ACTIVE') | map(attribute='name')"
    return {
        "name": "Wait until the new servers are active",
        "openstack.cloud.server_info": {"cloud": CLOUD, "name": f"{NEW}-*"},
        "register": "found",
        "until": f"wanted | difference(found.servers | {active}) | length == 0",
        "retries": TIMEOUT // POLL,
        "delay": POLL,
        "vars": {"wanted": f"{{{{ slots | map('regex_replace', '^', '{NEW}-') | list }}}}"},
    }


def _tasks(name: str, options: dict[str, Any], at_once: bool) -> Sequence[dict[str, Any]]:
    task = {"name": name, SERVER: options, "loop": "{{ slots }}"}
    if not at_once:
        return [task]
    wait = {
        "name": f"{name}: wait",
        "ansible.builtin.async_status": {"jid": "{{ item.ansible_job_id }}"},
        "loop": "{{ begun.results }}",
        "loop_control": {"label": "{{ item.ansible_job_id }}"},
        "register": "ended",
        "until": "ended is finished",
        "retries": TIMEOUT // POLL,
        "delay": POLL,
    }
    return [{**task, "async": TIMEOUT, "poll": 0, "register": "begun"}, wait]
