# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Seals a folder that looks like the root file system of a container."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.module_utils._seal import Spec, seal
from ansible_collections.immutable.infra.plugins.module_utils._seal_accounts import UnknownOwner
from ansible_collections.immutable.infra.plugins.module_utils._seal_changes import Refused
from ansible_collections.immutable.infra.plugins.module_utils._seal_container import (
    FACTS_PATH,
    MAX_FOLDERS,
    ContainerFacts,
    WritableMount,
    parse_facts,
    writable_mounts,
)
from ansible_collections.immutable.infra.tests.support.file_trees import put

ROLE = Path(__file__).parents[3] / "roles/seal/files"
FILES = [str(ROLE / "container")]
UID, GID = os.getuid(), os.getgid()  # of everything that a test creates
SYSTEMD = Spec("shop", "1.4.2", "sha256:abc", writable=("/var/cache/shop",), container=True)
COMMAND = replace(SYSTEMD, command=("/usr/bin/shop", "--port", "8080"), user="shop:web")
SYSTEM = ["/tmp", "/var/lib/systemd", "/var/log", "/var/tmp"]
ENGINES = ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf"]


@pytest.fixture
def system(tmp_path: Path) -> Path:
    put(tmp_path, "/etc/fstab", "/dev/vda2 / ext4 rw,noatime 0 1\n")
    put(tmp_path, "/etc/passwd", "root:x:0:0::/root:/bin/bash\nshop:x:990:980::/:/usr/sbin/nologin\n")
    put(tmp_path, "/etc/group", "root:x:0:\nweb:x:981:\n")
    put(tmp_path, "/etc/shadow", "root:$6$salt$hash:19000:0:99999:7:::\n", 0o600)
    put(tmp_path, "/etc/machine-id", "0123456789abcdef0123456789abcdef\n")
    put(tmp_path, "/var/log/nginx/access.log", "a line")
    put(tmp_path, "/usr/bin/apt-get", "", 0o755)
    put(tmp_path, "/usr/bin/shop", "", 0o755)
    put(tmp_path, "/usr/lib/systemd/systemd", "", 0o755)
    (tmp_path / "sbin").symlink_to("usr/sbin")
    (tmp_path / "usr/sbin").mkdir()
    (tmp_path / "usr/sbin/init").symlink_to("/usr/lib/systemd/systemd")
    (tmp_path / "var/cache/shop/pages").mkdir(parents=True)
    (tmp_path / "var/cache/shop").chmod(0o750)
    return tmp_path


def facts(root: Path) -> ContainerFacts:
    return parse_facts((root / FACTS_PATH.lstrip("/")).read_text(encoding="utf-8"))


def mounts(root: Path) -> dict[str, WritableMount]:
    return {mount.path: mount for mount in facts(root).writable}


def test_with_systemd_the_engine_mounts_what_a_machine_mounts_itself(system: Path) -> None:
    seal(str(system), FILES, replace(SYSTEMD, log_size="64M"))
    found = facts(system)
    assert (found.init, found.user, found.stop_signal) == ("systemd", "", "SIGRTMIN+3")
    assert found.command == ("/sbin/init", "systemd.condition-first-boot=false")
    assert [mount.path for mount in found.writable] == sorted(
        [*SYSTEM, "/run", "/run/lock", "/var/cache/shop", "/var/log/journal"]
    )
    assert all(mount.noexec for mount in found.writable)
    own = mounts(system)
    assert own["/var/cache/shop"] == WritableMount("/var/cache/shop", "50%", "0750", uid=UID, gid=GID)
    assert own["/tmp"] == WritableMount("/tmp", "50%", "1777", uid=0, gid=0)
    assert (own["/var/log"].size, own["/var/log/journal"].size) == ("64M", "64M")


def test_nothing_inside_mounts_anything_and_each_boot_recreates_what_belongs_in_memory(system: Path) -> None:
    seal(str(system), FILES, replace(SYSTEMD, data=(("uploads", "/srv/uploads"),)))
    lines = (system / "etc/fstab").read_text(encoding="utf-8").splitlines()
    assert all(line.startswith("#") for line in lines)
    skeleton = (system / "usr/lib/tmpfiles.d/immutable.conf").read_text(encoding="utf-8").splitlines()
    assert f"d /var/cache/shop 0750 {UID} {GID} -" in skeleton
    assert f"d /var/cache/shop/pages 0755 {UID} {GID} -" in skeleton
    assert f"d /var/log/nginx 0755 {UID} {GID} -" in skeleton
    assert (system / "srv/uploads").is_dir()


def test_units_that_make_no_sense_in_a_container_are_masked(system: Path) -> None:
    seal(str(system), FILES, SYSTEMD)
    units = system / "etc/systemd/system"
    for unit in ("ssh.service", "systemd-udevd.service", "systemd-timesyncd.service", "systemd-logind.service"):
        assert os.readlink(units / unit) == "/dev/null"
    assert os.readlink(units / "sysinit.target.wants/immutable-launch.service").endswith("immutable-launch.service")
    assert not (system / "usr/lib/immutable/data").exists() and not (system / "etc/ssh").exists()


def test_systemd_writes_its_machine_id_where_it_can(system: Path) -> None:
    seal(str(system), FILES, SYSTEMD)
    assert os.readlink(system / "etc/machine-id") == "/run/machine-id"


def test_a_command_needs_nothing_of_the_seal_in_the_image(system: Path) -> None:
    seal(str(system), FILES, COMMAND)
    found = facts(system)
    assert (found.init, found.user, found.stop_signal) == ("command", "990:981", "SIGTERM")
    assert found.command == ("/usr/bin/shop", "--port", "8080")
    assert sorted(path.name for path in (system / "usr/lib/immutable").iterdir()) == ["container.json", "seal.json"]
    assert not (system / "etc/systemd").exists() and not (system / "usr/lib/tmpfiles.d").exists()
    assert (system / "etc/machine-id").read_text(encoding="utf-8") == ""
    assert (system / "etc/shadow").read_text(encoding="utf-8").startswith("root:*:")
    assert not os.access(system / "usr/bin/apt-get", os.X_OK) or UID == 0
    assert not (system / "usr/bin/apt-get").stat().st_mode & 0o111
    assert not os.path.lexists(system / "etc/ansible/facts.d")


def test_without_systemd_folders_in_memory_are_mounts_of_their_own(system: Path) -> None:
    (system / "run/shop").mkdir(parents=True)
    seal(str(system), FILES, COMMAND)
    service = [] if (UID, GID) == (0, 0) else ["/run/shop"]  # root creates its own
    assert list(mounts(system)) == sorted(
        [*service, "/run", "/tmp", "/var/cache/shop", "/var/cache/shop/pages", "/var/tmp"]
    )


def test_too_many_folders_in_memory_are_refused(system: Path) -> None:
    for number in range(MAX_FOLDERS):
        (system / f"var/cache/shop/{number}").mkdir()
    with pytest.raises(Refused, match=f"more than {MAX_FOLDERS} folders"):
        seal(str(system), FILES, COMMAND)


def test_without_a_group_a_command_has_the_one_of_its_user(system: Path) -> None:
    seal(str(system), FILES, replace(COMMAND, user="shop"))
    assert facts(system).user == "990:980"
    seal(str(system), FILES, replace(COMMAND, user=""))
    assert facts(system).user == ""


def test_a_command_is_looked_up_like_a_shell_does(system: Path) -> None:
    put(system, "/usr/local/bin/serve", "", 0o755)
    seal(str(system), FILES, replace(COMMAND, command=("serve",)))
    assert facts(system).command == ("/usr/local/bin/serve",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"command": ("/usr/bin/missing",)}, "the image has no program '/usr/bin/missing' that can be executed"),
        ({"command": ("/etc/passwd",)}, "the image has no program '/etc/passwd' that can be executed"),
        ({"command": ("/var/log",)}, "the image has no program '/var/log' that can be executed"),
        ({"command": ("serve",)}, "the image has no program 'serve' in /usr/local/sbin, /usr/local/bin, "),
        ({"user": "nobody"}, "image.user: the image has no user 'nobody'"),
        ({"user": "shop:shop"}, "image.user: the image has no group 'shop'"),
    ],
)
def test_what_the_image_lacks_is_reported(system: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused) as failed:
        seal(str(system), FILES, replace(COMMAND, **changes))
    assert message in str(failed.value)
    assert isinstance(failed.value, UnknownOwner) is ("user" in changes)


def test_an_image_without_systemd_needs_a_command(system: Path) -> None:
    (system / "usr/lib/systemd/systemd").unlink()
    with pytest.raises(Refused, match="the image has no systemd, which starts the services in a container"):
        seal(str(system), FILES, SYSTEMD)


@pytest.mark.parametrize("spec", [SYSTEMD, COMMAND], ids=["systemd", "command"])
def test_a_second_seal_changes_nothing(system: Path, spec: Spec) -> None:
    assert seal(str(system), FILES, spec)
    assert seal(str(system), FILES, spec) == []


def test_an_attestation_leaves_out_what_the_engine_mounts(system: Path) -> None:
    seal(str(system), FILES, SYSTEMD)
    covers = json.loads((system / "usr/lib/immutable/seal.json").read_text(encoding="utf-8"))["covers"]
    assert {*ENGINES, *SYSTEM, "/run", "/var/cache/shop"} <= set(covers)


def test_mounts_are_in_the_order_in_which_they_nest() -> None:
    found = writable_mounts(["/srv/a/b", "/srv/a"], lambda path: (0o700, 5, 6), systemd=False)
    assert [mount.path for mount in found] == ["/run", "/srv/a", "/srv/a/b", "/tmp", "/var/tmp"]
    assert found[1] == WritableMount("/srv/a", "50%", "0700", uid=5, gid=6)


GOOD: dict[str, Any] = {
    "init": "command",
    "command": ["/usr/bin/shop"],
    "user": "",
    "writable": [{"path": "/run", "size": "50%", "mode": "0755", "uid": 0, "gid": 0, "noexec": True}],
}


def mount(**changes: object) -> dict[str, Any]:
    return {"writable": [{**GOOD["writable"][0], **changes}]}


@pytest.mark.parametrize(
    "changes",
    [
        {"init": "runit"},
        {"init": ["systemd"]},
        {"command": []},
        {"command": "/usr/bin/shop"},
        {"command": ["shop"]},
        {"command": ["/usr/bin/shop", 1]},
        {"command": ["/usr/bin/shop", "a\0b"]},
        {"user": "shop"},
        {"user": "990:981 --privileged"},
        {"user": 0},
        {"writable": {}},
        {"more": 1},
        mount(path="run"),
        mount(path="/srv/../etc"),
        mount(path="/srv,exec"),
        mount(path="/srv\n"),
        mount(size="50%,exec"),
        mount(size=50),
        mount(mode="755"),
        mount(uid=-1),
        mount(gid=True),
        mount(gid=2**32),
        mount(noexec="yes"),
        mount(extra=1),
    ],
)
def test_damaged_facts_are_refused(changes: dict[str, Any]) -> None:
    parse_facts(json.dumps(GOOD))
    with pytest.raises(ValueError):  # noqa: PT011
        parse_facts(json.dumps({**GOOD, **changes}))


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", "[" * 100_000])
def test_text_that_holds_no_facts_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        parse_facts(text)
