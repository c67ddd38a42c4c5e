# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Evidence from outside, on what podman 4.3 and the kernel said of real containers."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container import command, facts, observed
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container.machine import MachineFolder

ENGINES = ("docker", "podman")  # those of docker are everybody's
CAPTURED = Path(__file__).parent / "captured"
SYSTEMD = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
]
SIGTERM = 15


def process(init):
    return facts.ProcessFacts(*((CAPTURED / f"{init}-{name}.txt").read_text() for name in ("mountinfo", "status")))


def inspected():
    return json.loads((CAPTURED / "inspect.json").read_text())


def changed(init, **lines):
    """The facts of a process with other lines in its status."""
    status = process(init).status
    for name, value in lines.items():
        status = re.sub(rf"^{name}:.*$", f"{name}:\t{value}", status, flags=re.MULTILINE)
    return facts.ProcessFacts(process(init).mountinfo, status)


def test_containers_as_they_are_launched_are_sealed():
    assert facts.running_problems(process("command"), []) == []
    assert facts.running_problems(process("systemd"), SYSTEMD) == []
    for row in inspected():
        found = facts.engine_facts(row)
        assert found is not None
        assert facts.created_problems(found, found.image) == []
        assert found.running
        assert found.pid > 0
    assert [facts.engine_facts(row).name for row in inspected()] == ["tok-a", "tok-s"]


def test_a_container_of_somebody_else_is_not_ours_by_its_name(tmp_path):
    (row, *_others) = inspected()
    folder = tmp_path / "machines/shop-local/tok-a"
    machine = MachineFolder(folder)
    engines = [SimpleNamespace(name=name, run=lambda *_arguments, **_options: json.dumps([row])) for name in ENGINES]
    for labels, own in [({}, [False, True]), ({command.OWNER: "x"}, [False, False]), (None, [False, True])]:
        row["Config"]["Labels"] = labels
        assert [bool(observed.own_containers(engine, [machine])) for engine in engines] == own
    row["Config"]["Labels"] = {command.OWNER: command.owner_of(folder)}
    assert [list(observed.own_containers(engine, [machine])) for engine in engines] == [["tok-a"], ["tok-a"]]


def test_a_capability_that_is_not_allowed_breaks_the_seal():
    assert facts.running_problems(process("systemd"), SYSTEMD[1:])[-1].startswith("it has the capabilities CHOWN")
    more = changed("command", CapBnd="0000000000200000")
    assert facts.running_problems(more, []) == ["it has the capabilities SYS_ADMIN (CapBnd)"]
    assert facts.running_problems(changed("command", CapEff="8000000000000000"), SYSTEMD) == [
        "it has the capabilities UNKNOWN (CapEff)"
    ]


@pytest.mark.parametrize(("line", "value"), [("NoNewPrivs", "0"), ("Seccomp", "0"), ("Seccomp", "1"), ("CapBnd", "x")])
def test_a_process_with_more_rights_is_not_sealed(line, value):
    assert len(facts.running_problems(changed("command", **{line: value}), SYSTEMD)) == 1


def test_missing_facts_are_no_proof():
    assert len(facts.running_problems(facts.ProcessFacts("", ""), [])) == 8


def test_a_writable_root_is_found_wherever_it_is_in_the_list():
    sealed = process("command")
    for old, new in ((" / / ro,", " / / rw,"), ("\n", "\n99 98 0:1 / / rw,relatime - tmpfs tmpfs rw\n")):
        mountinfo = sealed.mountinfo.replace(old, new, 1)
        assert mountinfo != sealed.mountinfo
        problems = facts.running_problems(facts.ProcessFacts(mountinfo, sealed.status), [])
        assert problems == ["its root file system is writable"]


def test_another_configuration_is_not_what_was_launched():
    row = inspected()[0]
    image = facts.engine_facts(row).image

    def problems(**host):
        other = copy.deepcopy(row)
        other["HostConfig"].update(host)
        return facts.created_problems(facts.engine_facts(other), image)

    assert problems() == []
    assert problems(ReadonlyRootfs=False) == ["its root file system is not read-only by its configuration"]
    assert problems(Privileged=True) == ["it is privileged"]
    assert facts.created_problems(facts.engine_facts(row), "sha256:" + "0" * 64)[0].startswith("it runs image sha256:")


@pytest.mark.parametrize("row", [None, [], "x", {}, {"State": None}, {"State": {}, "HostConfig": {}, "Image": "x"}])
def test_what_is_not_from_an_engine_is_ignored(row):
    assert facts.engine_facts(row) is None


def test_published_ports_are_read():
    row = inspected()[0]
    row["NetworkSettings"]["Ports"] = {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "40123"}], "9/tcp": None}
    assert facts.engine_facts(row).published == {8080: 40123}


def test_a_first_process_without_a_handler_ignores_the_signal():
    assert facts.ignores(process("command").status, SIGTERM)
    assert not facts.ignores(process("systemd").status, SIGTERM)
    assert not facts.ignores("", SIGTERM)


def test_files_of_several_processes_are_told_apart():
    text = "".join(
        f"==> /proc/{pid}/{name} <==\n{getattr(process(init), name)}"
        for pid, init in ((12, "command"), (345, "systemd"))
        for name in ("mountinfo", "status")
    )
    assert observed.split_files(text) == {12: process("command"), 345: process("systemd")}
    assert observed.split_files("head: cannot open '/proc/7/status'\n==> /proc/7/mountinfo <==\n") == {}
