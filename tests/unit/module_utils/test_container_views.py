# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What explains the mounts and the rights of a container, from tables that podman's containers have."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.module_utils._container_mounts import (
    Expected,
    lacking_options,
    unexplained,
    writable_kernel,
)
from ansible_collections.immutable.infra.plugins.module_utils._container_processes import confinement_problems
from ansible_collections.immutable.infra.plugins.module_utils._mounts import Mount, parse_mounts

TABLES = Path(__file__).parent / "mountinfo"
APP = {"/var/lib/app": ["nosuid", "nodev", "noexec"]}
SYSTEMD = Expected(
    pid=1, id="99779bbe6da111e3d6b6634e91bd2dd0b38ea89dac605ed745855044b27bc648", tmpfs=APP, systemd=True
)
COMMAND = Expected(pid=1, id="5c0dceafb279abdd9c3ac3589f213a0ee8d78efb91aa4b0f58a004bdd4f24fc0", tmpfs=APP)
CASES = {"container-systemd": SYSTEMD, "container-command": COMMAND}
DISK = Mount("/srv", "ext4", "/dev/vda", writable=True, device="254:0", options=frozenset(("rw",)))
STATUS = """\
CapInh:\t0
CapPrm:\t{caps}
CapEff:\t{caps}
CapBnd:\t{caps}
CapAmb:\t0
NoNewPrivs:\t{new}
Seccomp:\t{filter}
"""


def table(name: str) -> list[Mount]:
    return parse_mounts((TABLES / name).read_bytes())


@pytest.mark.parametrize("name", CASES)
def test_what_the_engine_mounts_is_explained(name: str) -> None:
    assert list(unexplained(table(name), CASES[name])) == []
    assert list(lacking_options(table(name), CASES[name])) == []
    assert list(writable_kernel(table(name))) == []


@pytest.mark.parametrize(
    "mount",
    [
        DISK,
        replace(DISK, point="/proc/version"),
        replace(DISK, point="/run/immutable2"),
        replace(DISK, point="/var/lib/app"),
        replace(DISK, point="/var/lib/app/below"),
        replace(DISK, point="/etc/hosts", inside="/tmp/hosts"),
        replace(DISK, point="/etc/hosts", inside="/containers/another/hosts"),
        replace(DISK, point="/etc/shadow", inside=f"/containers/{COMMAND.id}/shadow"),
        replace(DISK, point="/tmp", type="tmpfs"),
    ],
    ids=lambda mount: f"{mount.point}-{mount.inside}",
)
def test_anything_else_came_from_outside(mount: Mount) -> None:
    assert [path for path, _what in unexplained([*table("container-command"), mount], COMMAND)] == [mount.point]


def test_a_second_mount_at_a_place_is_named() -> None:
    again = replace(DISK, point="/var/lib/app", type="tmpfs")
    found = list(unexplained([*table("container-command"), again], COMMAND))
    assert [path for path, what in found if "a second mount" in what] == ["/var/lib/app"]


def test_docker_keeps_its_files_elsewhere() -> None:
    hosts = replace(DISK, point="/etc/resolv.conf", inside=f"/docker/containers/{COMMAND.id}/resolv.conf")
    assert list(unexplained([hosts], COMMAND)) == []


def test_missing_options_and_writable_settings_are_named() -> None:
    careless = replace(DISK, point="/var/lib/app", type="tmpfs", options=frozenset(("rw", "nodev")))
    assert list(lacking_options([careless], COMMAND)) == [("/var/lib/app", APP["/var/lib/app"], ["nodev"])]
    opened = replace(DISK, point="/proc/sys", type="proc")
    assert list(writable_kernel([opened])) == ["/proc/sys"]


def test_data_volumes_are_expected_where_they_belong() -> None:
    volume = replace(DISK, point="/var/lib/db", options=frozenset(("rw", "nosuid", "nodev")))
    assert [path for path, _what in unexplained([volume], COMMAND)] == ["/var/lib/db"]
    assert list(unexplained([volume], replace(COMMAND, data=["/var/lib/db"]))) == []


@pytest.mark.parametrize(
    ("caps", "new", "seccomp", "kinds"),
    [
        ("0000000000000000", "1", "2", []),
        ("0000000000000401", "1", "2", []),
        ("00000000002004fb", "1", "2", ["capabilities"]),
        ("0000000000000000", "0", "2", ["confinement"]),
        ("0000000000000000", "1", "0", ["confinement"]),
        ("ffffffffffffffff", "0", "0", ["capabilities", "confinement", "confinement"]),
        ("nonsense", "1", "2", ["capabilities"]),
    ],
)
def test_more_rights_than_launched_are_named(caps: str, new: str, seccomp: str, kinds: list[str]) -> None:
    status = STATUS.format(caps=caps, new=new, filter=seccomp)
    found = confinement_problems(status, ["CHOWN", "NET_BIND_SERVICE"])
    assert [kind for kind, _what in found] == kinds


def test_the_capabilities_are_named() -> None:
    status = STATUS.format(caps="0000000000200000", new="1", filter="2")
    assert confinement_problems(status, []) == [("capabilities", "SYS_ADMIN")]


def test_a_file_that_says_nothing_proves_nothing() -> None:
    assert [kind for kind, _what in confinement_problems("", [])] == ["capabilities", "confinement", "confinement"]
