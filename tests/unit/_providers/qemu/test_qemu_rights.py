# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What QEMU's processes may do, and what ends them. Real processes without a system."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core import unprivileged
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._providers import confinement
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.accel import Accel
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import VolumeRequest
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.qemu import process
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.qemu.machine import MachineFolder
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.qemu.volumes import QemuVolumes
from ansible_collections.immutable.infra.tests.support.disks import create_disk
from ansible_collections.immutable.infra.tests.support.waiting import until

QEMU = shutil.which("qemu-system-x86_64")
pytestmark = pytest.mark.skipif(not (QEMU and shutil.which("qemu-img")), reason="needs QEMU")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change its user")
MIB = 1 << 20
EMULATION = Accel("tcg", "nothing boots here")
FLEET = "shop-local"
VERIFIER = """
import sys
from pathlib import Path
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.accel import Accel
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.qemu.machine import MachineFolder

for name in sys.argv[1:]:
    MachineFolder(Path(name)).start(Accel("tcg", "nothing boots here"), [])
print("started", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Callable[..., MachineFolder]]:
    """Return a function that describes a machine in a folder."""
    create_disk(tmp_path / "root.qcow2")
    created = []

    def create(name: str, **facts: Any) -> MachineFolder:
        folder = MachineFolder(tmp_path / "machines" / FLEET / name)
        basic = {"fleet": FLEET, "slot": 0, "disk": str(tmp_path / "root.qcow2"), "ports": [], "endpoints": {}}
        folder.save({**basic, "memory": 64 * MIB, "cpus": 1, **facts})
        (folder.folder / "launch.tar").write_bytes(b"a secret")
        created.append(folder)
        return folder

    yield create
    for each in created:
        each.power_off()


def status(machine: MachineFolder) -> dict[str, list[str]]:
    """Fields of QEMU's ``/proc/PID/status``."""
    lines = Path(f"/proc/{machine.pid()}/status").read_text().splitlines()
    return {name: value.split() for name, _colon, value in (line.partition(":") for line in lines)}


def ended(pid: int) -> bool:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], 60)[0])
    finally:
        os.close(handle)


def test_qemu_filters_its_system_calls_and_regains_no_rights(machine: Callable[..., MachineFolder]) -> None:
    one = machine("m1")
    one.start(EMULATION, [])
    assert status(one)["Seccomp"] == ["2"]
    assert status(one)["NoNewPrivs"] == ["1"]


@needs_root
def test_each_machine_has_a_user_of_its_own_without_rights_or_files(
    machine: Callable[..., MachineFolder], tmp_path: Path
) -> None:
    first, second = machine("m1"), machine("m2")
    for each in (first, second):
        each.start(EMULATION, [])
    users = [status(each)["Uid"][0] for each in (first, second)]
    assert "0" not in users
    assert len(set(users)) == 2
    for each, user in zip((first, second), users, strict=True):
        state = status(each)
        assert (state["Uid"], state["Gid"], state["Groups"]) == ([user] * 4, [user] * 4, [])
        assert {name: int(state[name][0], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")} == dict.fromkeys(
            ("CapEff", "CapPrm", "CapInh", "CapAmb"), 0
        )
    assert {path.stat().st_uid for path in tmp_path.rglob("*")} == {0}, "no file changed its owner"
    first.power_off()
    first.start(EMULATION, [])
    assert status(first)["Uid"][0] == users[0]


def test_a_volume_is_attached_to_a_machine_of_an_earlier_release(
    machine: Callable[..., MachineFolder], tmp_path: Path
) -> None:
    """It runs as the user that started it, without a filter."""
    old = machine("m1", started=1.0)
    argv = [str(QEMU), "-name", "guest=m1", "-nodefaults", "-machine", "pc", "-accel", "tcg", "-display", "none"]
    argv += ["-daemonize", "-pidfile", "qemu.pid", "-qmp", "unix:qmp.sock,server=on,wait=off"]
    subprocess.run(argv, cwd=old.folder, check=True)
    volumes = QemuVolumes(tmp_path, tmp_path / "machines")
    [volume] = volumes.create([VolumeRequest(fleet=FLEET, slot=0, name="data", size=MIB, mount="/data")])
    for _repeated in range(2):
        volumes.attach([volume.id], "m1")
    pid = old.pid()
    assert pid is not None
    opened = [os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir()]
    assert str(tmp_path / "volumes" / volume.id / "disk.qcow2") in opened
    old.power_off()
    assert ended(pid)


def test_a_qemu_without_the_filter_is_used_and_said(
    machine: Callable[..., MachineFolder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "qemu-system-x86_64"
    script.write_text(
        '#!/bin/sh\ncase " $* " in *" -sandbox "*) echo "-sandbox support is not enabled in this QEMU binary" >&2; '
        f'exit 1;; esac\nexec {QEMU} "$@"\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    one = machine("m1")
    one.start(EMULATION, [])
    assert status(one)["Seccomp"] == ["0"] or os.geteuid() != 0
    assert "cannot filter its system calls here (-sandbox)" in confinement.confinement_warnings()[0]


def test_nothing_is_said_of_a_qemu_with_few_rights() -> None:
    assert not [each for each in confinement.confinement_warnings() if "sandbox" in each]


@needs_root
@pytest.mark.parametrize(
    ("mode", "group", "expected"), [(0o660, 108, [108]), (0o666, 0, []), (0o600, 108, None), (0o660, 0, None)]
)
def test_the_group_of_the_device_opens_hardware_virtualization(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, group: int, expected: list[int] | None
) -> None:
    device = tmp_path / "kvm"
    device.touch()
    os.chown(device, 0, group)
    device.chmod(mode)
    monkeypatch.setattr(confinement, "KVM", device)
    assert confinement.kvm_groups() == expected
    rights = confinement.rights_for(tmp_path, kvm=True, spawns=False)
    if expected is None:
        assert rights.user is None, "only root can open it"
        assert "-runas" in rights.options
    else:
        assert (rights.user, list(rights.groups)) == (unprivileged.user_for(tmp_path), expected)


@needs_root
def test_qemu_gives_up_root_where_only_root_can_open_the_device(
    machine: Callable[..., MachineFolder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = tmp_path / "kvm"
    device.touch(mode=0o600)
    monkeypatch.setattr(confinement, "KVM", device)
    one = machine("m1")
    one.start(SimpleNamespace(name="kvm", options=EMULATION.options), [])  # type: ignore[arg-type]
    assert status(one)["Uid"] == [str(unprivileged.user_for(one.folder))] * 4
    assert (status(one)["Seccomp"], status(one)["CapEff"]) == (["2"], ["0000000000000000"])


def test_only_a_machine_that_reaches_addresses_may_start_programs(tmp_path: Path) -> None:
    def rule(spawns: bool) -> str:
        options = confinement.rights_for(tmp_path, kvm=False, spawns=spawns).options
        return next(word for word in options if "spawn" in word)

    assert "spawn=deny" in rule(spawns=False)
    assert "spawn=allow" in rule(spawns=True)
    assert "elevateprivileges=allow" in rule(spawns=True), "or setsid ends the program"
    assert "elevateprivileges=deny" in rule(spawns=False)


@pytest.mark.parametrize("tags", [{"used_for": "verify"}, {}])
def test_only_the_machines_of_a_verification_end_with_a_killed_run(
    machine: Callable[..., MachineFolder], tags: dict[str, str]
) -> None:
    one, two = machine("m1", tags=tags), machine("m2", tags=tags)
    names = [str(each.folder) for each in (one, two)]
    with subprocess.Popen([sys.executable, "-c", VERIFIER, *names], stdin=-1, stdout=-1) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == b"started\n"
        pids = [each.pid() for each in (one, two)]
        assert None not in pids
        one.power_off()  # as a verification does: nothing is left of it
        assert one.pid() is None
        run.send_signal(signal.SIGKILL)
    if tags:
        assert ended(pids[1] or 0)
    assert (two.pid() is None) == bool(tags)


def test_a_qemu_that_never_answers_is_ended(
    machine: Callable[..., MachineFolder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "qemu-system-x86_64"
    silent = (
        f"import sys,time; print('a hint', file=sys.stderr, flush=True); open('{tmp_path}/runs', 'w'); time.sleep(600)"
    )
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{silent}" "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    execute = process.qmp.execute

    def once_it_runs(*arguments: Any, **options: Any) -> list[Any]:
        until((tmp_path / "runs").exists)
        return execute(*arguments, **options)

    monkeypatch.setattr(process.qmp, "execute", once_it_runs)
    monkeypatch.setattr(process, "START_TIMEOUT", 0.2)
    monkeypatch.setattr(confinement, "sandbox", lambda **_rights: [])
    one = machine("m1")
    with pytest.raises(ProviderError, match="QEMU did not start machine m1: "):
        one.start(EMULATION, [])
    assert one.pid() is None
    assert ended(int((one.folder / "qemu.pid").read_text()))


def test_errors_name_the_file(machine: Callable[..., MachineFolder], tmp_path: Path) -> None:
    one = machine("m1")
    (tmp_path / "root.qcow2").write_bytes(b"not a disk")
    with pytest.raises(ProviderError, match="QEMU did not start machine m1: .*"):
        one.start(EMULATION, [])
    (tmp_path / "root.qcow2").unlink()
    with pytest.raises(ProviderError, match=r"root.qcow2 cannot be opened: No such file or directory"):
        one.start(EMULATION, [])
    assert json.loads((one.folder / "machine.json").read_text()).get("started", 0.0) == 0.0
