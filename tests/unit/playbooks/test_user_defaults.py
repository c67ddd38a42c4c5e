# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The playbooks give the same result whatever users have configured for other playbooks. Check mode changes nothing."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.builders.registry import resolve_base
from ansible_collections.immutable.infra.plugins.plugin_utils._definition import load as loading
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.digest import (
    bake_inputs,
    digest_of,
    verify_digest,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import Image
from ansible_collections.immutable.infra.plugins.plugin_utils._images.catalogue import Catalogue
from ansible_collections.immutable.infra.plugins.plugin_utils._images.channels import Channels
from ansible_collections.immutable.infra.plugins.plugin_utils._store.file import FileStore
from ansible_collections.immutable.infra.tests.support.disks import create_disk

COLLECTIONS = Path(loading.__file__).parents[6]
PLAYBOOKS = Path(loading.__file__).parents[3] / "playbooks"
ALL = sorted(path.stem for path in PLAYBOOKS.glob("*.yml"))
DEFINITION = """
schema: 1
service: shop
version: "VERSION"
image:
  base: {qcow2: base.qcow2, python: "3.11"}
  provision: {playbook: site/provision.yml}
health: {http: {port: 8080}}
targets:
  local: {provider: simulated}
"""
FIRST = {"folder": "first", "service": "first", "packages": "nginx-light", "port": "80"}  # what init writes
# What users configure for their own playbooks, by section of ansible.cfg and as an environment variable.
CONFIGURED = [
    ("privilege_escalation", "become", "true", "ANSIBLE_BECOME"),
    ("privilege_escalation", "become_method", "sudo", "ANSIBLE_BECOME_METHOD"),
    ("privilege_escalation", "become_user", "nobody", "ANSIBLE_BECOME_USER"),
    ("defaults", "strategy", "free", "ANSIBLE_STRATEGY"),
    ("defaults", "gathering", "implicit", "ANSIBLE_GATHERING"),
    ("defaults", "any_errors_fatal", "true", "ANSIBLE_ANY_ERRORS_FATAL"),
    ("defaults", "error_on_undefined_vars", "false", "ANSIBLE_ERROR_ON_UNDEFINED_VARS"),
    ("defaults", "force_handlers", "true", "ANSIBLE_FORCE_HANDLERS"),
    ("defaults", "forks", "1", "ANSIBLE_FORKS"),
    ("defaults", "hash_behaviour", "merge", "ANSIBLE_HASH_BEHAVIOUR"),
    ("defaults", "inject_facts_as_vars", "false", "ANSIBLE_INJECT_FACT_VARS"),
    ("defaults", "interpreter_python", "/nonexistent/python", "ANSIBLE_PYTHON_INTERPRETER"),
    ("defaults", "jinja2_native", "true", "ANSIBLE_JINJA2_NATIVE"),
    ("defaults", "duplicate_dict_key", "error", "ANSIBLE_DUPLICATE_YAML_DICT_KEY"),
    ("defaults", "transport", "ssh", "ANSIBLE_TRANSPORT"),
    ("inventory", "host_pattern_mismatch", "error", "ANSIBLE_HOST_PATTERN_MISMATCH"),
]
OTHERS = {"ANSIBLE_STRATEGY": "host_pinned"}  # a second value to try
# Runs ansible-playbook with a simulated fleet of two hosts, which exists in this process only.
DRIVER = """
import sys
from ansible.plugins.loader import init_plugin_loader

init_plugin_loader()
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import Evidence, Instance
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.provider import SimulatedCompute

def instance(slot):
    tags = {"shell": "restricted", "build": "qemu-x86_64"}
    return Instance(
        id=f"shop-local-{slot}", fleet="shop-local", slot=slot, image=sys.argv[1], launch="", state="running",
        purpose="fleet", created=1.0, nonce="n", endpoints={22: ("127.0.0.1", 1)},
        evidence=Evidence(sys.argv[1], "n", "ssh-ed25519 AAAA", "restricted"), tags=tags)

SimulatedCompute.list = lambda self, fleet: [instance(0), instance(1)]
from ansible.cli.playbook import PlaybookCLI

PlaybookCLI.cli_executor(["ansible-playbook", *sys.argv[2:]])
"""


class Project:
    """A user's folder with an inventory, a definition, and a store in which two images are promoted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        create_disk(folder / "base.qcow2")
        (folder / "site").mkdir()
        (folder / "site/provision.yml").write_text("[]\n")
        (folder / "group_vars").mkdir()
        (folder / "group_vars/all.yml").write_text("ansible_become: true\n")
        (folder / "hosts").write_text("localhost\nweb ansible_host=192.0.2.1\n")
        self.image = [self._image(version) for version in ("1.0", "2.0")][-1]

    def write(self, version: str) -> None:
        (self.folder / "immutable.yml").write_text(DEFINITION.replace("VERSION", version))

    def _image(self, version: str) -> Image:
        self.write(version)
        store, now = FileStore(self.folder / "store"), datetime.now(timezone.utc).isoformat()
        definition = loading.load_definition(self.folder)
        target = definition.target("local")
        base = resolve_base(target, store, definition.folder)
        assert base is not None
        inputs = bake_inputs(definition, target, base)
        image = Image(
            digest=digest_of(inputs),
            build="qemu-x86_64",
            service="shop",
            version=version,
            created=now,
            artifact={"path": str(self.folder / "base.qcow2")},
            base=base,
            inputs=inputs,
            shell=definition.shell,
            verified={"at": now, "verify": verify_digest(definition, target)},
        )
        Catalogue(store).add(image)
        store.write_blob(f"{image.key}/manifest.json.gz", gzip.compress(b'{"version": 1, "files": {}}'))
        Channels(store).promote("shop", "prod", image, by="ann")
        return image

    def play(
        self, *playbooks: str, options: Sequence[str] = (), fleet: bool = False, **environment: str
    ) -> tuple[int, str]:
        """Run playbooks of the collection in one command. Returns the exit status and the output."""
        variables = {"immutable_definition": "immutable.yml", "immutable_store": "store", "immutable_channel": "prod"}
        variables |= {f"immutable_init_{name}": text for name, text in FIRST.items()}
        variables["immutable_remove_fleet"] = "shop-local"
        start = ["-c", DRIVER, self.image.digest] if fleet else ["-m", "ansible", "playbook"]
        names = [f"immutable.infra.{name}" for name in playbooks]
        argv = [sys.executable, *start, "-i", "hosts", *names, "-e", json.dumps(variables)]
        configured = {"ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "ANSIBLE_SSH_RETRIES": "0", "COLUMNS": "999"}
        done = subprocess.run(
            [*argv, *options],
            cwd=self.folder,
            env={**os.environ, **configured, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def configure(folder: Path) -> dict[str, str]:
    sections: dict[str, list[str]] = {}
    for section, name, value, _variable in CONFIGURED:
        sections.setdefault(section, []).append(f"{name} = {value}\n")
    (folder / "ansible.cfg").write_text("".join(f"[{name}]\n{''.join(lines)}" for name, lines in sections.items()))
    return {}


def environment(_folder: Path) -> dict[str, str]:
    return {**{variable: value for _section, _name, value, variable in CONFIGURED}, **OTHERS}


def snapshot(folder: Path) -> dict[str, bytes]:
    """The documents of the store. The checksum of the base may be remembered, and keys may be made."""
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.json") if path.is_file()}
    return {name: data for name, data in found.items() if not name.startswith(("cache/", "ssh/"))}


@pytest.mark.parametrize("way", [configure, environment])
def test_the_playbooks_run_with_any_configuration(project: Project, way: Callable[[Path], dict[str, str]]) -> None:
    """In one command: most of the time of such a run is the start of ansible-playbook."""
    # A simulated target has no images to remove.
    playbooks = [name for name in ALL if name not in ("attest", "bake", "promote", "prune", "verify", "swap")]
    code, output = project.play(*playbooks, **way(project.folder))
    assert code == 0, output
    assert len(re.findall(r"localhost +: ok=[1-9]\d* .*failed=0", output)) == len(playbooks), output
    assert "\nshop-local: no instances, 1 wanted; the channel has shop-2.0-" in output and "\nNo orphans\n" in output
    assert '"instances":' not in output, "people are shown lines, not the data"


@pytest.mark.parametrize("way", [configure, environment])
def test_hosts_are_attested_with_any_configuration(project: Project, way: Callable[[Path], dict[str, str]]) -> None:
    code, output = project.play("attest", **way(project.folder))
    assert code == 0 and "skipping: no hosts matched" in output, output
    assert "\n0 of 0 hosts equal their images\n" in output
    code, output = project.play("attest", fleet=True, **way(project.folder))
    assert code == 4, output
    # ssh may end before Ansible has sent it the module, and then its own words are lost.
    refused = r"127\.0\.0\.1\b.*(?:Broken pipe|Connection refused)"
    unreachable = re.findall(rf"^fatal: \[(.+)\]: UNREACHABLE! .*{refused}", output, re.MULTILINE)
    assert sorted(unreachable) == ["shop-local-0", "shop-local-1"], output


def test_check_mode_changes_nothing_and_does_not_fail(project: Project) -> None:
    playbooks = [name for name in ALL if name not in ("bake", "promote", "prune", "verify", "swap")]
    before = snapshot(project.folder / "store")
    code, output = project.play(*playbooks, options=("--check", "--diff"))
    assert code == 0, output
    assert output.count("PLAY RECAP") == len(playbooks), output
    assert snapshot(project.folder / "store") == before


def test_check_mode_says_what_a_release_of_a_new_version_cannot_predict(project: Project) -> None:
    project.write("3.0")
    before = snapshot(project.folder / "store")
    code, output = project.play("release", options=("--check",), ANSIBLE_SHOW_CUSTOM_STATS="true")
    assert code == 0, output
    assert "A bake is due for local" in output and "would be booted and tested after the bake" in output
    assert "If it passes its tests, the channel prod would have it." in output
    assert "Then the fleet would be swapped to it (rolling, 1 instance)." in output
    assert "run the playbooks bake, verify and promote, then swap with --check" in output
    assert snapshot(project.folder / "store") == before
    reported = json.loads(output.partition("RUN: ")[2].partition("\n\n")[0].strip())
    assert [reported[f"immutable_{name}"]["changed"] for name in ("bake", "verify", "promote", "swap")] == [True] * 4


def test_a_missing_variable_is_named(project: Project) -> None:
    code, output = project.play("promote", options=("-e", "immutable_store= immutable_channel="))
    assert code == 2 and "immutable_store is not set: the store of images" in output, output
    assert "immutable_channel is not set" in output and "immutable_definition is not set" not in output


@pytest.mark.parametrize("named", ["", "shop-prod"])
def test_only_the_fleet_that_is_named_is_removed(project: Project, named: str) -> None:
    code, output = project.play("remove", options=("-e", f"immutable_remove_fleet={named}"))
    assert code == 2 and "immutable_remove_fleet must be shop-local, the name of the fleet" in output, output
    assert "Remove the fleet]" not in output
    code, output = project.play("remove", options=("-e", f"immutable_remove_fleet={named}", "--check"))
    assert code == 0 and "Remove the fleet]" in output, output


def test_people_can_choose_to_see_only_the_outcomes(project: Project) -> None:
    """As the README says."""
    readme = (Path(loading.__file__).parents[3] / "README.md").read_text(encoding="utf-8")
    [settings] = re.findall(r"^```text\n(\[defaults\]\n.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    (project.folder / "ansible.cfg").write_text(settings)
    code, output = project.play("status")
    assert code == 0, output
    shown = [line for line in output.partition("PLAY RECAP")[0].splitlines() if line.strip()]
    assert [line.split(" ")[0] for line in shown] == ["PLAY", "shop-local:"], output


def test_a_failure_ends_with_its_message_which_is_shown_once_by_the_playbook(project: Project) -> None:
    code, output = project.play("prune")  # a simulated target has no images
    assert code == 2, output
    [message] = re.findall(
        r'^fatal: \[localhost\]: FAILED! => {"changed": false, "msg": "(.+)"}$', output, re.MULTILINE
    )
    assert output.rpartition("TASK [")[2].startswith("Show the outcome]")
    others = [line for line in output.splitlines() if message in line and not line.startswith(("fatal: ", "[ERROR]: "))]
    assert others == []


def test_no_shared_task_is_shown_as_skipped() -> None:
    for tasks in PLAYBOOKS.glob("tasks/*.yml"):
        assert [name for task in yaml.safe_load(tasks.read_text()) for name in task if name == "when"] == []


STATED: Mapping[str, Any] = {
    "any_errors_fatal": False,
    "become": False,
    "gather_facts": False,
    "strategy": "ansible.builtin.linear",
    "timeout": 0,  # task_timeout of the configuration would end a bake or a swap
}


@pytest.mark.parametrize("playbook", ALL)
def test_every_play_states_what_users_can_configure(playbook: str) -> None:
    for play in yaml.safe_load((PLAYBOOKS / f"{playbook}.yml").read_text()):
        if "ansible.builtin.import_playbook" in play:
            continue
        assert {name: play.get(name) for name in STATED} == STATED, play["name"]
        assert play["vars"]["ansible_become"] is False
        if play["hosts"] == "localhost":
            assert play["connection"] == "ansible.builtin.local"
            assert play["vars"]["ansible_python_interpreter"] == "{{ ansible_playbook_python }}"
