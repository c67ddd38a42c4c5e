# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The inventory of a simulated fleet, as Ansible loads it, and the variables that connections use."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import (
    Base,
    Definition,
    FleetSpec,
    Provision,
    Target,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.probes import Health, TcpProbe
from ansible_collections.immutable.infra.plugins.plugin_utils._hosts import ssh as connection
from ansible_collections.immutable.infra.plugins.plugin_utils._hosts.connection import host_vars
from ansible_collections.immutable.infra.plugins.plugin_utils._hosts.inventory import HostContext, hosts_of
from ansible_collections.immutable.infra.plugins.plugin_utils._hosts.ssh import write_known_hosts
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container_address import ContainerAddress
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import (
    FLEET,
    PENDING,
    RUNNING,
    STOPPED,
    VERIFY,
    Evidence,
    Instance,
)
from ansible_collections.immutable.infra.tests.support import traps

# the folder of ansible_collections, as imported: a symbolic link in the path stays one
ROOT = Path(connection.__file__).parents[6]
OLD, NEW = "sha256:" + "a" * 64, "sha256:" + "b" * 64
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGNgFyoQ1ufyCXbVvgEEXVAgQpBw6eUj1pEYtGmbb0Vh"
CHANNELS = [{"channel": "prod", "image": NEW}, {"channel": "staging", "image": NEW}, {"channel": "lts", "image": OLD}]


def instance(slot: int, image: str = NEW, **changes: Any) -> Instance:
    made = Instance(
        id=f"shop-local-{slot}-{image[7:10]}-0",
        fleet="shop-local",
        slot=slot,
        image=image,
        launch="f00",
        state=RUNNING,
        purpose=FLEET,
        created=100.0 if image == OLD else 200.0,
        nonce="n",
        endpoints={22: ("127.0.0.1", 40022), 8080: ("127.0.0.1", 48080)},
        evidence=Evidence(image, "n", KEY, "restricted"),
        tags={"image_name": f"shop-{image[7:9]}", "version": "1.0", "build": "qemu-x86_64", "shell": "restricted"},
    )
    return replace(made, **changes)


@pytest.fixture
def context(tmp_path: Path) -> HostContext:
    base = Base("debian", "bookworm")
    local = Target("local", "qemu", fleet=FleetSpec(), health=Health(tcp=TcpProbe(80)), base=base)
    definition = Definition(
        path=tmp_path / "immutable.yml",
        service="shop",
        version="1.0",
        provision=Provision("p.yml"),
        verify=None,
        data=(),
        writable=(),
        shell="restricted",
        targets={"local": local},
        base=base,
    )
    return HostContext(
        definition=definition,
        target="local",
        store=str(tmp_path),
        private_key=tmp_path / "key",
        known_hosts=tmp_path / "known_hosts",
    )


def test_hosts_are_grouped_by_what_they_are(context: HostContext) -> None:
    [old, new] = hosts_of(context, [instance(1), instance(0, OLD)], CHANNELS, NEW)
    assert (old.name, new.name) == ("shop-local-0", "shop-local-1")
    assert set(old.groups) == {"service_shop", "target_local", "image_shop-aa", "channel_lts", "sealed", "outdated"}
    assert set(new.groups) == {
        "service_shop",
        "target_local",
        "image_shop-bb",
        "channel_prod",
        "channel_staging",
        "sealed",
    }
    assert new.variables["immutable_endpoints"] == {"22": ["127.0.0.1", 40022], "8080": ["127.0.0.1", 48080]}
    assert new.variables["immutable_image"] == NEW


def test_during_a_swap_the_older_instance_keeps_the_name(context: HostContext) -> None:
    present = [
        instance(0),
        instance(0, OLD),
        instance(1, state=STOPPED),
        instance(2, purpose=VERIFY),
        instance(3, evidence=None, state=PENDING),
    ]
    hosts = hosts_of(context, present, CHANNELS, NEW)
    assert [(host.name, host.variables["immutable_image"]) for host in hosts] == [
        ("shop-local-0", OLD),
        ("shop-local-0-2", NEW),
        ("shop-local-3", NEW),
    ]
    assert "sealed" not in hosts[2].groups


def test_evidence_of_another_launch_does_not_make_a_host_sealed(context: HostContext) -> None:
    [host] = hosts_of(context, [instance(0, evidence=Evidence(NEW, "another", KEY, "restricted"))], CHANNELS, None)
    assert "sealed" not in host.groups
    assert "outdated" not in host.groups


def test_the_output_of_a_guest_does_not_reach_variables(context: HostContext) -> None:
    [host] = hosts_of(
        context, [instance(0, evidence=Evidence(NEW, "n", KEY, "{{ lookup('pipe', 'id') }}"))], CHANNELS, NEW
    )
    assert host.variables["immutable_shell"] == "restricted"


def test_marked_hosts_are_in_the_group_of_the_mark(context: HostContext) -> None:
    [bare, marked] = hosts_of(
        context,
        [instance(0), instance(1, tags={"tainted": "{{ lookup('pipe', 'id') }}", "standby": "ann"})],
        CHANNELS,
        NEW,
    )
    assert not {"tainted", "protected", "standby"} & set(bare.groups) and {"tainted", "standby"} <= set(marked.groups)
    assert [marked.variables[f"immutable_{mark}"] for mark in ("tainted", "protected", "standby")] == [
        True,
        False,
        True,
    ]
    assert "lookup" not in str(marked.variables), "what users write is not taken for a template"


def test_a_host_key_of_several_lines_is_ignored(tmp_path: Path) -> None:
    write_known_hosts(
        tmp_path / "known_hosts", [instance(0, evidence=Evidence(NEW, "n", f"{KEY}\n* {KEY}", "restricted"))]
    )
    assert (tmp_path / "known_hosts").read_text() == ""


def test_a_host_without_a_shell_has_no_connection_variables(context: HostContext) -> None:
    closed = instance(
        0, endpoints={8080: ("127.0.0.1", 48080)}, evidence=Evidence(NEW, "n", "", "off"), tags={"shell": "off"}
    )
    [host] = hosts_of(context, [closed], CHANNELS, NEW)
    assert not [name for name in host.variables if name.startswith("ansible_")]
    assert host.variables["immutable_shell"] == "off"


def test_ssh_reads_the_options_with_any_name_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "my 100% \"own\" 'store'"
    write_known_hosts(folder / "known_hosts", [instance(0), instance(1, evidence=None)])
    assert (folder / "known_hosts").read_text() == f"{instance(0).id} {KEY}\n"
    variables = host_vars(instance(0), None, folder / "known_hosts")
    options = shlex.split(variables["ansible_ssh_common_args"])
    output = subprocess.run(
        ["ssh", "-G", "-F", "none", *options, "127.0.0.1"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert f"hostkeyalias {instance(0).id}" in output
    assert "stricthostkeychecking true" in output
    [files] = [line for line in output if line.startswith("userknownhostsfile ")]
    assert files.endswith("""/my 100%% "own" 'store'/known_hosts""") or files.endswith(
        """/my 100% "own" 'store'/known_hosts"""
    )
    assert variables["ansible_host_key_checking"] is True


DEFINITION = """
schema: 1
service: shop
version: "1.0"
image:
  base: {debian: bookworm}
  provision: {playbook: provision.yml}
health: {http: {port: 8080, path: /healthz}}
targets:
  local: {provider: simulated}
"""

# A simulated fleet exists in one process, so ansible-inventory runs in the process that fills it.
DRIVER = """
import json, sys
from ansible.plugins.loader import init_plugin_loader

init_plugin_loader()
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container_address import ContainerAddress
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import Evidence, Instance
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.provider import SimulatedCompute

def instance(facts):
    endpoints = {int(port): tuple(address) for port, address in facts["endpoints"].items()}
    return Instance(**{**facts, "endpoints": endpoints, "evidence": Evidence(**facts["evidence"])})

SimulatedCompute.list = lambda self, fleet: [instance(facts) for facts in json.loads(sys.argv[2])]
from ansible.cli.inventory import InventoryCLI
from ansible.cli.playbook import PlaybookCLI

if sys.argv[3:]:
    PlaybookCLI.cli_executor(["ansible-playbook", "-i", sys.argv[1], sys.argv[3]])
InventoryCLI.cli_executor(["ansible-inventory", "-i", sys.argv[1], "--list"])
"""


@pytest.fixture
def listed(tmp_path: Path) -> Callable[..., tuple[dict[str, Any], str]]:
    """Return what ansible-inventory lists, and its standard error."""
    (tmp_path / "immutable.yml").write_text(DEFINITION)
    (tmp_path / "provision.yml").write_text("- hosts: all\n  tasks: []\n")

    def run(*instances: Instance, playbook: str = "", **changes: Any) -> tuple[dict[str, Any], str]:
        source = tmp_path / "shop.immutable_fleet.yml"
        source.write_text(
            json.dumps({"plugin": "immutable.infra.fleet", "definitions": ["."], "store": "store", **changes})
        )
        environment = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT),
            "ANSIBLE_INVENTORY_ENABLED": "immutable.infra.fleet",
            "COLUMNS": "999",
        }
        environment["ANSIBLE_INVENTORY_CACHE_CONNECTION"] = str(tmp_path / "cache")
        argv = [sys.executable, "-c", DRIVER, str(source), json.dumps([asdict(each) for each in instances])]
        argv += [playbook] if playbook else []
        done = subprocess.run(argv, capture_output=True, text=True, env=environment, check=False)
        # ansible-core 2.19 and later wrap text that must not be taken for a template.
        if playbook:
            return {"output": done.stdout}, done.stderr
        return (
            json.loads(done.stdout, object_hook=lambda each: each.get("__ansible_unsafe", each)) if done.stdout else {}
        ), done.stderr

    return run


def test_ansible_lists_it_with_constructed_groups(
    listed: Callable[..., tuple[dict[str, Any], str]], tmp_path: Path
) -> None:
    constructed = {
        "keyed_groups": [{"key": "immutable_version", "prefix": "version"}],
        "compose": {"url": "immutable_endpoints['8080'] | join(':')"},
    }
    found, errors = listed(instance(0), instance(1), **constructed)
    assert sorted(found["_meta"]["hostvars"]) == ["shop-local-0", "shop-local-1"], errors
    assert found["sealed"]["hosts"] == ["shop-local-0", "shop-local-1"]
    assert found["version_1_0"]["hosts"] == ["shop-local-0", "shop-local-1"]
    assert "image_shop_bb" in found
    host = found["_meta"]["hostvars"]["shop-local-0"]
    assert host["url"] == "127.0.0.1:48080"
    assert Path(host["ansible_ssh_private_key_file"]).is_file()
    assert (tmp_path / "store/known_hosts/shop-local").read_text().count(KEY) == 2


def test_a_cached_inventory_makes_no_calls(listed: Callable[..., tuple[dict[str, Any], str]]) -> None:
    cache = {"cache": True, "cache_plugin": "jsonfile"}
    assert "shop-local-0" in listed(instance(0), **cache)[0]["_meta"]["hostvars"]
    assert "shop-local-0" in listed(**cache)[0]["_meta"]["hostvars"]
    assert listed(cache=False)[0]["_meta"]["hostvars"] == {}


def test_a_playbook_takes_no_variable_for_a_template(
    listed: Callable[..., tuple[dict[str, Any], str]], tmp_path: Path
) -> None:
    hostile = traps.template(tmp_path / "ran")
    (tmp_path / "show.yml").write_text(
        "- hosts: sealed\n  gather_facts: false\n  tasks:\n"
        "    - ansible.builtin.set_fact: {copied: '{{ composed }} {{ immutable_version }}'}\n"
        "    - ansible.builtin.debug: {msg: '{{ [copied, immutable_version, hostvars[inventory_hostname]] }}'}\n"
    )
    given = instance(0, tags={"version": hostile, "image_name": hostile, "build": hostile, "shell": "restricted"})
    constructed = {
        "keyed_groups": [{"key": "immutable_version", "prefix": "version"}],
        "compose": {"composed": "'version ' ~ immutable_version", "all_of_it": "[immutable_version]"},
    }
    for cache in ({}, {"cache": True, "cache_plugin": "jsonfile"}, {"cache": True, "cache_plugin": "jsonfile"}):
        found, errors = listed(given, playbook=str(tmp_path / "show.yml"), **constructed, **cache)
        assert "shop-local-0" in found["output"] and "failed=0" in found["output"], errors
        assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": ["prod"]}, "no definition has prod (known: local)"),
        ({"definitions": ["nowhere"]}, "nowhere"),
        ({"store": "gs://bucket"}, "gs://bucket is not a supported store"),
    ],
)
def test_mistakes_become_messages(
    listed: Callable[..., tuple[dict[str, Any], str]], changes: dict[str, Any], message: str
) -> None:
    _found, errors = listed(**changes)
    assert message in errors
    assert "Traceback" not in errors


ADDRESS = ContainerAddress("podman", "/store/container", "shop-local-0-n")


def test_a_container_is_reached_through_its_engine(context: HostContext) -> None:
    [host] = hosts_of(context, [instance(0, endpoints={8080: ("127.0.0.1", 48080)}, container=ADDRESS)], CHANNELS, NEW)
    assert {name: value for name, value in host.variables.items() if "ansible_" in name or "container" in name} == {
        "ansible_connection": "immutable.infra.container",
        "ansible_host": "shop-local-0-n",
        "ansible_user": "root",
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_pipelining": True,
        "ansible_remote_tmp": "/run/ansible",
        "immutable_container": "shop-local-0-n",
        "immutable_container_engine": "podman",
        "immutable_container_folder": "/store/container",
    }


def test_a_closed_container_names_no_connection(context: HostContext) -> None:
    closed = instance(0, tags={"shell": "off"}, endpoints={}, container=ADDRESS)
    [host] = hosts_of(context, [closed], CHANNELS, NEW)
    assert not [name for name in host.variables if name.startswith("ansible_")]
    assert host.variables["immutable_container"] == "shop-local-0-n", "it can be attested from outside"
    found = host_vars(replace(closed, purpose=VERIFY), None, context.known_hosts)
    assert found["ansible_connection"] == "immutable.infra.container", "a verification tests it"
