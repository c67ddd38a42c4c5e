# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Seals a folder that looks like a root file system and checks the result."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.immutable.infra.plugins.module_utils._seal import Spec, seal
from ansible_collections.immutable.infra.plugins.module_utils._seal_accounts import UnknownOwner
from ansible_collections.immutable.infra.plugins.plugin_utils._inspection.filesystem import Entry
from ansible_collections.immutable.infra.plugins.plugin_utils._inspection.residue import residue_by_files
from ansible_collections.immutable.infra.tests.support.file_trees import put

ROLE = Path(__file__).parents[3] / "roles/seal/files"
FILES = [str(ROLE / "launch"), str(ROLE / "seal")]
SPEC = Spec("shop", "1.4.2", "sha256:abc", writable=("/var/cache/shop",), data=(("my-uploads", "/var/lib/shop"),))


@pytest.fixture
def system(tmp_path: Path) -> Path:
    put(
        tmp_path,
        "/etc/fstab",
        "# a comment\n/dev/vda2 / ext4 rw,noatime 0 1\n/dev/vda1 /boot/efi vfat defaults 0 2\n"
        "nas:/x /mnt nfs defaults 0 0\n",
    )
    put(
        tmp_path,
        "/etc/shadow",
        "root:$6$salt$hash:19000:0:99999:7:::\ndaemon:*:19000::::::\nshop:!:19000::::::\n",
        0o600,
    )
    put(tmp_path, "/etc/machine-id", "0123456789abcdef0123456789abcdef\n")
    put(tmp_path, "/etc/ssh/ssh_host_rsa_key", "secret")
    put(tmp_path, "/root/.ssh/authorized_keys", "ssh-ed25519 AAAA")
    put(tmp_path, "/root/.bash_history", "ls")
    put(tmp_path, "/var/log/nginx/access.log", "a line")
    put(tmp_path, "/var/log/dpkg.log", "a line")
    put(tmp_path, "/var/cache/apt/archives/x.deb", "x")
    put(tmp_path, "/usr/bin/apt-get", "", 0o755)
    put(tmp_path, "/var/cache/shop/kept/by/tmpfiles", "")
    return tmp_path


def fields(root: Path, mount: str) -> list[str]:
    rows = [line.split() for line in (root / "etc/fstab").read_text().splitlines()]
    return next(row for row in rows if row[1] == mount)


def test_a_volumes_mount_belongs_to_its_owner(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(system, "/etc/passwd", "root:x:0:0::/root:/bin/sh\ndb:x:998:997::/:/bin/sh\n")
    put(system, "/etc/group", "root:x:0:\ndb:x:997:\nbackup:x:34:db\n")
    done = []
    monkeypatch.setattr(os, "chown", lambda path, uid, gid: done.append((Path(path).name, uid, gid)))
    for owner in ("db", "db:backup"):
        seal(str(system), FILES, replace(SPEC, owners=(("my-uploads", owner),)))
    assert [each for each in done if each[0] == "shop"] == [("shop", 998, 997), ("shop", 998, 34)]
    assert not (system / "usr/lib/immutable/reown-volumes").exists()
    seal(str(system), FILES, replace(SPEC, reowned=("my-uploads",)))
    assert (system / "usr/lib/immutable/reown-volumes").read_text() == "my-uploads\n"
    for owner, what in (("nobody", "no user 'nobody'"), ("db:staff", "no group 'staff'")):
        with pytest.raises(UnknownOwner, match=f"data volume my-uploads: the image has {what}"):
            seal(str(system), FILES, replace(SPEC, owners=(("my-uploads", owner),)))


def test_the_images_own_mounts_become_read_only(system: Path) -> None:
    seal(str(system), FILES, SPEC)
    assert fields(system, "/")[3] == "ro,noatime"
    assert fields(system, "/boot/efi") == ["/dev/vda1", "/boot/efi", "vfat", "ro", "0", "0"]
    assert fields(system, "/mnt") == ["nas:/x", "/mnt", "nfs", "defaults", "0", "0"]


def test_declared_and_required_paths_are_tmpfs(system: Path) -> None:
    seal(str(system), FILES, SPEC)
    for path in ("/tmp", "/var/log", "/var/cache/shop"):
        assert fields(system, path)[2] == "tmpfs"


def test_directories_below_a_tmpfs_are_recreated_at_boot(system: Path) -> None:
    (system / "var/log/nginx").chmod(0o750)
    seal(str(system), FILES, SPEC)
    lines = (system / "usr/lib/tmpfiles.d/immutable.conf").read_text().splitlines()
    uid, gid = os.getuid(), os.getgid()
    assert f"d /var/log/nginx 0750 {uid} {gid} -" in lines
    assert f"d /var/cache/shop/kept/by 0755 {uid} {gid} -" in lines


def test_a_data_volume_has_no_timeout(system: Path) -> None:
    seal(str(system), FILES, SPEC)
    device, _mount, kind, options, *_rest = fields(system, "/var/lib/shop")
    assert (device, kind) == ("/dev/disk/immutable/my-uploads", "ext4")
    assert {
        "nofail",
        "x-systemd.device-timeout=0",
        "x-systemd.requires=immutable-data@my\\\\x2duploads.service",
    } <= set(options.split(","))


def test_a_volume_inside_a_tmpfs_is_prepared_after_it(system: Path) -> None:
    put(system, "/var/log/shop/kept", "")
    data = (("my-logs", "/var/log/shop"), ("uploads", "/var/lib/shop"))
    seal(str(system), FILES, replace(SPEC, data=data))
    units = system / "usr/lib/systemd/system"
    drop_ins = {each.relative_to(units).as_posix(): each.read_text() for each in units.glob("immutable-data@*.d/*")}
    assert drop_ins == {
        "immutable-data@my\\x2dlogs.service.d/tmpfs.conf": "[Unit]\nRequiresMountsFor=/var/log\n",
    }
    assert "d /var/log/shop " in (system / "usr/lib/tmpfiles.d/immutable.conf").read_text()


@pytest.mark.parametrize("noexec", [False, True])
def test_nothing_on_a_mount_gains_rights(system: Path, noexec: bool) -> None:
    seal(str(system), FILES, replace(SPEC, noexec=("my-uploads",) if noexec else ()))
    assert {"nosuid", "nodev"} <= set(fields(system, "/var/cache/shop")[3].split(","))
    options = fields(system, "/var/lib/shop")[3].split(",")
    assert {"nosuid", "nodev"} <= set(options)
    assert ("noexec" in options) is noexec


def test_the_machine_id_of_dbus_is_a_link_to_that_of_the_boot(system: Path) -> None:
    put(system, "/var/lib/dbus/machine-id", "0123456789abcdef0123456789abcdef\n")
    seal(str(system), FILES, SPEC)
    assert os.readlink(system / "var/lib/dbus/machine-id") == "/etc/machine-id"
    assert seal(str(system), FILES, SPEC) == []


def test_the_state_of_time_and_network_services_is_in_memory(system: Path) -> None:
    for path in ("/var/lib/chrony/chrony.drift", "/var/lib/private/of-a-unit/x", "/var/lib/ntpsec/x", "/srv/dhcp/x"):
        put(system, path, "")
    (system / "var/lib/dhcp").symlink_to("/srv/dhcp")
    (system / "var/lib/chrony").chmod(0o750)
    seal(str(system), FILES, replace(SPEC, data=(("time", "/var/lib/ntpsec"),)))
    assert fields(system, "/var/lib/chrony")[2:4] == [
        "tmpfs",
        f"rw,nosuid,nodev,mode=0750,uid={os.getuid()},gid={os.getgid()}",
    ]
    assert fields(system, "/var/lib/private")[2] == "tmpfs"
    assert fields(system, "/var/lib/ntpsec")[2] == "ext4", "its volume keeps it"
    mounts = [line.split()[1] for line in (system / "etc/fstab").read_text().splitlines() if not line.startswith("#")]
    assert not {"/var/lib/dhcp", "/var/lib/NetworkManager", "/srv/dhcp"} & set(mounts)
    facts = json.loads((system / "usr/lib/immutable/seal.json").read_text())
    assert "/var/lib/chrony" in facts["covers"] and facts["writable"] == ["/var/cache/shop"]


@pytest.mark.parametrize("program", ["", "/usr/sbin/dhclient", "/sbin/dhclient"])
def test_dhclient_writes_the_name_servers_in_memory(system: Path, program: str) -> None:
    file = put(system, "/etc/resolv.conf", "nameserver 192.0.2.1\nsearch example.com\n")
    if not program:
        seal(str(system), FILES, SPEC)
        assert not file.is_symlink()
        return
    put(system, program, "", 0o755)
    seal(str(system), FILES, SPEC)
    assert os.readlink(file) == "/run/immutable/resolv.conf"
    [line] = (system / "usr/lib/tmpfiles.d/immutable-resolver.conf").read_text().splitlines()
    kind, path, *_mode, baked = line.split()
    assert (kind, path) == ("C", "/run/immutable/resolv.conf")
    assert (system / baked.lstrip("/")).read_text() == "nameserver 192.0.2.1\nsearch example.com\n"
    assert seal(str(system), FILES, SPEC) == []


def test_the_resolver_of_another_program_stays(system: Path) -> None:
    put(system, "/usr/sbin/dhclient", "", 0o755)
    (system / "etc/resolv.conf").symlink_to("/run/resolvconf/resolv.conf")
    seal(str(system), FILES, SPEC)
    assert os.readlink(system / "etc/resolv.conf") == "/run/resolvconf/resolv.conf"


@pytest.mark.parametrize("baked", ["", "LANG=de_DE.UTF-8\n"])
def test_logins_find_a_locale(system: Path, baked: str) -> None:
    file = put(system, "/etc/default/locale", baked) if baked else system / "etc/default/locale"
    file.parent.mkdir(exist_ok=True)
    seal(str(system), FILES, SPEC)
    assert file.read_text() == baked
    assert seal(str(system), FILES, SPEC) == []


def test_residue_of_the_build_is_removed(system: Path) -> None:
    seal(str(system), FILES, SPEC)
    removed = [
        "etc/ssh/ssh_host_rsa_key",
        "root/.ssh/authorized_keys",
        "root/.bash_history",
        "var/log/nginx/access.log",
        "var/log/dpkg.log",
    ]
    assert [path for path in [*removed, "var/cache/apt/archives/x.deb"] if (system / path).exists()] == []
    assert (system / "var/log/nginx").is_dir(), "a service needs its log folder"
    assert (system / "etc/machine-id").read_text() == ""


def test_passwords_are_disabled(system: Path) -> None:
    seal(str(system), FILES, SPEC)
    hashes = [line.split(":")[1] for line in (system / "etc/shadow").read_text().splitlines()]
    assert hashes == ["*", "*", "!"]
    assert (system / "etc/shadow").stat().st_mode & 0o777 == 0o600


def test_package_managers_and_console_logins_are_disabled(system: Path) -> None:
    seal(str(system), FILES, SPEC)
    assert not os.access(system / "usr/bin/apt-get", os.X_OK)
    assert os.readlink(system / "etc/systemd/system/serial-getty@.service") == "/dev/null"


def test_the_image_contains_the_facts_of_the_seal(system: Path) -> None:
    seal(str(system), FILES, SPEC)
    facts = json.loads((system / "usr/lib/immutable/seal.json").read_text())
    assert (facts["service"], facts["version"], facts["digest"], facts["shell"]) == (
        "shop",
        "1.4.2",
        "sha256:abc",
        "restricted",
    )
    assert {"/var/cache/shop", "/run", "/etc/machine-id"} <= set(facts["covers"])
    assert facts["data"] == ["/var/lib/shop"]
    assert os.access(system / "usr/lib/immutable/seal", os.X_OK)


@pytest.mark.parametrize(("allowed", "line"), [(False, ""), (True, "user_namespaces='on'")])
def test_the_boot_knows_whether_user_namespaces_are_allowed(system: Path, allowed: bool, line: str) -> None:
    seal(str(system), FILES, Spec("shop", "1", "sha256:abc", user_namespaces=allowed))
    lines = (system / "usr/lib/immutable/seal.env").read_text().splitlines()
    assert [each for each in lines if "namespaces" in each] == ([line] if line else [])


def test_a_second_run_changes_nothing(system: Path) -> None:
    assert seal(str(system), FILES, SPEC)
    assert seal(str(system), FILES, SPEC) == []


def test_a_path_inside_another_is_mounted_once(system: Path) -> None:
    seal(
        str(system), FILES, Spec("shop", "1", "sha256:abc", writable=("/var/log/shop", "/srv/a", "/srv/a/b", "/srv/ab"))
    )
    mounts = [line.split()[1] for line in (system / "etc/fstab").read_text().splitlines() if line.startswith("tmpfs")]
    assert mounts == sorted(["/srv/a", "/srv/ab", "/tmp", "/var/lib/systemd", "/var/log", "/var/tmp"])


@pytest.fixture
def cloud(system: Path) -> Path:
    put(system, "/etc/cloud/cloud.cfg", "users: [default]\n")
    put(system, "/etc/fstab", "PARTUUID=1-2 / ext4 rw,discard,errors=remount-ro,x-systemd.growfs 0 1\n")
    put(system, "/etc/netplan/50-cloud-init.yaml", "network: {}\n")
    put(system, "/etc/netplan/60-custom.yaml", "network: {}\n")
    put(system, "/etc/hostname", "ip-10-0-0-1\n")
    seal(str(system), FILES, SPEC)
    return system


def test_cloud_init_and_the_build_machines_network_are_disabled(cloud: Path) -> None:
    assert (cloud / "etc/cloud/cloud-init.disabled").exists()
    assert sorted(os.listdir(cloud / "etc/netplan")) == ["60-custom.yaml"]
    assert (cloud / "etc/hostname").read_text() == "localhost\n"


def test_the_network_in_a_cloud_uses_dhcp(cloud: Path) -> None:
    assert "DHCP=yes" in (cloud / "etc/systemd/network/80-immutable.network").read_text()
    assert os.path.islink(cloud / "etc/systemd/system/multi-user.target.wants/systemd-networkd.service")
    assert os.readlink(cloud / "etc/systemd/system/networking.service") == "/dev/null"


def test_the_root_is_mounted_without_options_for_writable_file_systems(cloud: Path) -> None:
    assert fields(cloud, "/") == ["PARTUUID=1-2", "/", "ext4", "ro", "0", "0"]


def test_the_network_is_unchanged_without_cloud_init(system: Path) -> None:
    seal(str(system), FILES, SPEC)
    assert not (system / "etc/systemd/network").exists()


def test_the_seal_removes_the_residue_that_an_inspection_looks_for(system: Path) -> None:
    residue = [
        *(
            "etc/ssh/ssh_host_ed25519_key",
            "home/ann/.ssh/authorized_keys2",
            "home/ann/.python_history",
            "root/.viminfo",
        ),
        *(
            "root/.ansible/tmp/x",
            "tmp/ansible-tmp-1/x",
            "var/cache/apt/pkgcache.bin",
            "var/lib/apt/lists/mirror_InRelease",
        ),
        *("var/lib/cloud/instances/i-0/user-data.txt", "var/lib/dbus/machine-id"),
    ]
    for path in residue:
        put(system, path, "x")
    entries = {f"/{path}": Entry(inode=1, type="file", mode=0o644, uid=0, gid=0, size=1) for path in residue}
    for path in residue:
        for folder in [*(system / path).relative_to(system).parents][:-1]:
            entries[f"/{folder}"] = Entry(inode=1, type="dir", mode=0o755, uid=0, gid=0, size=0)

    def found() -> set[str]:
        existing = {
            path: entry
            for path, entry in entries.items()
            if (system / path.lstrip("/")).exists() and not (system / path.lstrip("/")).is_symlink()
        }
        contents = dict.fromkeys(existing, b"x")
        files = SimpleNamespace(entries=existing, read=lambda paths: {p: contents[p] for p in paths if p in contents})
        return {finding.what for finding in residue_by_files(files)}  # type: ignore[arg-type]

    assert len(found()) == 8
    seal(str(system), FILES, SPEC)
    assert found() == set()
