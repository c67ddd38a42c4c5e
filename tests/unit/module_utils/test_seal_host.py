# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What keeps a sealed host alive: logs that fit, logins that do not expire, and folders and links in memory."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.module_utils._seal import Spec, seal
from ansible_collections.immutable.infra.tests.support.file_trees import put

TMPFILES = shutil.which("systemd-tmpfiles")
FSTAB_GENERATOR = Path("/usr/lib/systemd/system-generators/systemd-fstab-generator")
PASSWD = """root:x:0:0:root:/root:/bin/bash
daemon:x:1:1::/usr/sbin:/usr/sbin/nologin
deploy:x:1000:1000::/home/deploy:/bin/sh
plain:x:1001:1001::/home/plain:
"""
SHADOW = """root:!!:0:0:60:7:::
daemon:!$6$salt$hash:19000:0:99999:7:::
deploy:!$6$salt$hash:19000:0:60:7:3:19100:
plain:$y$j9T$salt$hash:0:0:60:7:::
db:*:19000:0:60:7:3:19100:
"""


def sealed(root: Path, *writable: str, data: tuple[tuple[str, str], ...] = ()) -> None:
    spec = Spec("shop", "1", "sha256:abc", writable=writable, data=data)
    seal(str(root), [], spec)
    assert seal(str(root), [], spec) == [], "a second run changes nothing"


def mounts(root: Path) -> dict[str, list[str]]:
    rows = [line.split() for line in (root / "etc/fstab").read_text().splitlines()]
    return {row[1]: row[3].split(",") for row in rows}


def booted(root: Path, writable: str) -> Path:
    """Empty a writable path, as its tmpfs does, and do what systemd does at each boot. Returns the path."""
    if TMPFILES is None:
        pytest.skip("needs systemd-tmpfiles")
    folder = root / writable.lstrip("/")
    shutil.rmtree(folder)
    folder.mkdir()
    done = subprocess.run([TMPFILES, "--create", f"--root={root}"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return folder


def test_logs_in_memory_have_a_size(tmp_path: Path) -> None:
    sealed(tmp_path)
    assert "size=20%" in mounts(tmp_path)["/var/log"]
    seal(str(tmp_path), [], Spec("shop", "1", "sha256:abc", log_size="64M"))
    assert "size=64M" in mounts(tmp_path)["/var/log"]


def test_logs_keep_their_size_inside_another_writable_path(tmp_path: Path) -> None:
    sealed(tmp_path, "/var")
    assert "size=20%" in mounts(tmp_path)["/var/log"]
    assert not any(option.startswith("size=") for option in mounts(tmp_path)["/var"])


def test_logs_are_rotated_if_the_image_has_logrotate(tmp_path: Path) -> None:
    put(tmp_path, "/usr/sbin/logrotate", mode=0o755)
    sealed(tmp_path, data=(("logs", "/srv/logs"),))
    assert not (tmp_path / "etc/systemd/system/logrotate.timer").is_symlink()
    assert "/var/lib/logrotate" in mounts(tmp_path), "it writes its state"


def test_the_state_of_logrotate_may_be_on_a_volume(tmp_path: Path) -> None:
    put(tmp_path, "/usr/sbin/logrotate", mode=0o755)
    sealed(tmp_path, data=(("state", "/var/lib/logrotate"),))
    assert "noatime" in mounts(tmp_path)["/var/lib/logrotate"]


def test_without_logrotate_nothing_is_mounted_for_it(tmp_path: Path) -> None:
    sealed(tmp_path)
    assert os.readlink(tmp_path / "etc/systemd/system/logrotate.timer") == "/dev/null"
    assert "/var/lib/logrotate" not in mounts(tmp_path)


def test_the_build_machines_journal_is_removed_with_its_name(tmp_path: Path) -> None:
    put(tmp_path, "/var/log/journal/0123456789abcdef0123456789abcdef/system.journal")
    put(tmp_path, "/var/log/journal/remote/x.journal")
    sealed(tmp_path)
    assert os.listdir(tmp_path / "var/log/journal") == ["remote"]


def test_no_account_with_a_shell_expires(tmp_path: Path) -> None:
    put(tmp_path, "/etc/passwd", PASSWD)
    put(tmp_path, "/etc/shadow", SHADOW, 0o640)
    sealed(tmp_path)
    assert (tmp_path / "etc/shadow").read_text() == (
        "root:*:::::::\ndaemon:!:::::::\ndeploy:*:::::::\nplain:*:::::::\ndb:*::::::19100:\n"
    )
    assert (tmp_path / "etc/shadow").stat().st_mode & 0o777 == 0o640


def test_no_hash_is_left_in_any_file(tmp_path: Path) -> None:
    put(
        tmp_path,
        "/etc/passwd",
        "root:x:0:0::/root:/bin/sh\nold:$6$hash:5:5::/:/bin/sh\nopen::6:6::/:/bin/sh\n+::::::\n",
    )
    put(tmp_path, "/etc/group", "root:x:0:\nold:$6$hash:5:a,b\nnone::6:\n")
    put(tmp_path, "/etc/gshadow", "root:*::\nold:$6$hash::a\nlocked:!$6$hash::\nnew:!::\n", 0o640)
    put(tmp_path, "/etc/security/opasswd", "root:0:1:$6$hash\n", 0o600)
    sealed(tmp_path)
    texts = {name: (tmp_path / "etc" / name).read_text() for name in ("passwd", "group", "gshadow")}
    assert texts == {
        "passwd": "root:x:0:0::/root:/bin/sh\nold:*:5:5::/:/bin/sh\nopen:*:6:6::/:/bin/sh\n+::::::\n",
        "group": "root:x:0:\nold:*:5:a,b\nnone::6:\n",
        "gshadow": "root:*::\nold:*::a\nlocked:*::\nnew:!::\n",
    }
    assert (tmp_path / "etc/security/opasswd").read_text() == ""


def test_links_below_a_writable_path_come_back_at_boot(tmp_path: Path) -> None:
    links = {"conf": "/etc/tomcat10", "logs": "../../log/tomcat10", "deep/work": "../../../cache/tomcat10"}
    folder = tmp_path / "var/lib/tomcat10"
    (folder / "deep").mkdir(parents=True)
    (folder / "webapps").mkdir(mode=0o750)
    put(tmp_path, "/var/lib/tomcat10/policy", "a file is not kept")
    for name, target in links.items():
        (folder / name).symlink_to(target)
    (tmp_path / "var/log").mkdir()
    (tmp_path / "var/log/shop").symlink_to("/srv/logs/shop")
    if os.getuid() == 0:
        os.chown(folder / "conf", 33, 34, follow_symlinks=False)
        os.chown(folder / "webapps", 35, 36)
    sealed(tmp_path, "/var/lib/tomcat10")
    folder = booted(tmp_path, "/var/lib/tomcat10")
    assert {name: os.readlink(folder / name) for name in links} == links
    assert (folder / "webapps").stat().st_mode & 0o7777 == 0o750
    assert not (folder / "policy").exists()
    if os.getuid() == 0:
        assert ((folder / "conf").lstat().st_uid, (folder / "conf").lstat().st_gid) == (33, 34)
        assert ((folder / "webapps").stat().st_uid, (folder / "webapps").stat().st_gid) == (35, 36)
    assert os.readlink(booted(tmp_path, "/var/log") / "shop") == "/srv/logs/shop"


NAMES = [
    *("a b", "tab\there", "100%", "%n", "back\\slash", "\\x20", 'dou"ble', "sin'gle", "#", "a#b", "é", "snow☃"),
    *("*", "[x]", "?", "$HOME", "{x}", ";", "-", "~", " lead", "trail ", "a\\", "d x 0777", "\x01\x7f", "@{x}", "`x`"),
    os.fsdecode(b"\xff\xe9"),
]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_comes_back_as_it_was(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "srv/x"
    (folder / name / "in").mkdir(parents=True)
    (folder / "link").mkdir()
    (folder / "link" / name).symlink_to(name)
    before = sorted(os.fsencode(path.relative_to(folder)) for path in folder.rglob("*"))
    sealed(tmp_path, "/srv/x")
    folder = booted(tmp_path, "/srv/x")
    assert sorted(os.fsencode(path.relative_to(folder)) for path in folder.rglob("*")) == before
    assert os.readlink(folder / "link" / name) == name


MOUNTS = [
    "/srv/a b",
    "/srv/100%",
    "/srv/%n",
    "/srv/a#b",
    "/srv/#",
    '/srv/q"u',
    "/srv/q'u",
    "/srv/é",
    "/srv/$x;",
    "/srv/,",
]


@pytest.mark.parametrize("path", MOUNTS)
def test_any_mount_arrives_as_written(path: str, tmp_path: Path) -> None:
    if not FSTAB_GENERATOR.exists():
        pytest.skip("needs systemd's generator of mount units")
    put(tmp_path, "/etc/fstab", "/dev/vda2 / ext4 defaults 0 1\n\n# a comment\n")
    sealed(tmp_path, path, data=(("words-1", path + "/data"),))
    units = tmp_path / "units"
    units.mkdir()
    environment = {**os.environ, "SYSTEMD_FSTAB": str(tmp_path / "etc/fstab"), "SYSTEMD_IN_INITRD": "0"}
    subprocess.run([FSTAB_GENERATOR, units, units, units], env=environment, check=True)
    written = [line for unit in units.glob("*.mount") for line in unit.read_text().split("\n")]
    for mount in (path, path + "/data"):
        assert f"Where={mount.replace('%', '%%')}" in written
        unit = subprocess.run(
            ["systemd-escape", "--path", "--suffix=mount", mount], capture_output=True, text=True, check=True
        )
        assert (units / unit.stdout.strip()).exists()
    assert any("immutable-data@words\\x2d1.service" in line for line in written)


@pytest.mark.parametrize(
    ("writable", "mount", "word"),
    [
        (("/srv/a b",), "/srv/a b/data", '"/srv/a b"'),
        (("/srv/100%",), "/srv/100%/data", "/srv/100%%"),
        (('/srv/q"u',), '/srv/q"u/data', '"/srv/q\\"u"'),
        (("/var",), "/var/log/shop", "/var/log"),
    ],
)
def test_a_volume_in_memory_waits_for_its_path(
    writable: tuple[str, ...], mount: str, word: str, tmp_path: Path
) -> None:
    sealed(tmp_path, *writable, data=(("words-1", mount),))
    unit = tmp_path / "usr/lib/systemd/system/immutable-data@words\\x2d1.service.d/tmpfs.conf"
    assert unit.read_text() == f"[Unit]\nRequiresMountsFor={word}\n"


@pytest.mark.parametrize(
    "path",
    ["/srv/a\nb", "/srv/a\tb", "/srv/a\\b", "/srv/a ", "srv/a", "/srv/../etc", "/srv/./a", "/srv/a/", "//srv/a", ""],
)
def test_a_path_that_systemd_cannot_mount_is_refused(path: str, tmp_path: Path) -> None:
    for kind in ({"writable": (path,)}, {"data": (("words", path),)}):
        with pytest.raises(Exception, match="cannot be mounted"):
            seal(str(tmp_path), [], Spec("shop", "1", "sha256:abc", **kind))  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == [], "nothing was changed"


@pytest.mark.parametrize("name", ["line\nend", "return\r"])
def test_a_name_that_cannot_come_back_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "srv/x" / name).mkdir(parents=True)
    with pytest.raises(Exception, match="cannot be recreated at boot, because its name has a line end"):
        seal(str(tmp_path), [], Spec("shop", "1", "sha256:abc", writable=("/srv/x",)))


def test_what_systemd_does_not_create_is_refused(tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("needs root to give a folder to another user")
    (tmp_path / "srv/x/cache/deep/er").mkdir(parents=True)
    os.chown(tmp_path / "srv/x/cache", 1000, 1000)
    with pytest.raises(Exception, match="content of '/srv/x/cache/deep' cannot be recreated at boot"):
        seal(str(tmp_path), [], Spec("shop", "1", "sha256:abc", writable=("/srv/x",)))
    os.chown(tmp_path / "srv/x/cache/deep", 1000, 1000)
    sealed(tmp_path, "/srv/x")
    assert (booted(tmp_path, "/srv/x") / "cache/deep/er").is_dir()


SYSTEM = [
    *("/", "/etc", "/etc/systemd", "/etc/systemd/system", "/etc/ssh", "/etc/ssh/sshd_config.d", "/usr", "/usr/bin"),
    *("/usr/lib", "/usr/lib/immutable", "/usr/lib/systemd/system", "/usr/lib/tmpfiles.d", "/boot", "/boot/efi", "/bin"),
    *("/sbin", "/lib", "/lib64", "/lib/modules", "/proc", "/sys/kernel", "/dev/shm", "/run", "/run/immutable"),
    *("/etc/ansible/facts.d", "/etc/pam.d", "/etc/fstab", "/var/run/shop", "/usr/lib/x86_64-linux-gnu", "/etc/rc3.d"),
]
OWN = ["/etc/shop", "/usr/share/grafana/data", "/usr/lib/shop", "/usr/local/shop", "/opt", "/home", "/root", "/var"]


@pytest.mark.parametrize("path", SYSTEM)
def test_a_folder_of_the_system_is_refused_by_its_name_or_through_a_link(path: str, tmp_path: Path) -> None:
    (tmp_path / "srv").mkdir()
    (tmp_path / "srv/there").symlink_to(path)
    (tmp_path / "srv/near").symlink_to("../srv/there")
    for each in (
        path,
        "/srv/there",
        "/srv/near",
        *(("/srv/near/x",) if path not in ("/", "/etc", "/usr", "/usr/lib") else ()),
    ):
        for kind in ({"writable": (each,)}, {"data": (("words", each),)}):
            with pytest.raises(Exception, match="belongs to the system"):
                seal(str(tmp_path), [], Spec("shop", "1", "sha256:abc", **kind))  # type: ignore[arg-type]
    assert [entry.name for entry in tmp_path.iterdir()] == ["srv"], "nothing was changed"


@pytest.mark.parametrize("path", OWN)
def test_a_folder_of_the_service_may_be_writable(path: str, tmp_path: Path) -> None:
    sealed(tmp_path, path)
    assert path in mounts(tmp_path)


def test_a_link_is_mounted_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "srv/shop").mkdir(parents=True)
    (tmp_path / "var").mkdir()
    (tmp_path / "var/shop").symlink_to("/srv/shop")
    (tmp_path / "srv/loop").symlink_to("loop")
    put(tmp_path, "/srv/file")
    sealed(tmp_path, "/var/shop/cache")
    assert "/srv/shop/cache" in mounts(tmp_path)
    for path, problem in (
        ("/srv/loop", "loop of links"),
        ("/srv/file", "not a folder"),
        ("/srv/file/x", "not a folder"),
    ):
        with pytest.raises(Exception, match=problem):
            sealed(tmp_path, path)


@pytest.mark.parametrize("value", ["it's", 'a"b', "a\\b", "a\nb", "é", ""])
def test_a_value_that_the_hosts_files_cannot_hold_is_refused(value: str, tmp_path: Path) -> None:
    for spec in (Spec(value, "1", "sha256:abc"), Spec("shop", value, "sha256:abc"), Spec("shop", "1", value)):
        with pytest.raises(Exception, match="is not a valid"):
            seal(str(tmp_path), [], spec)
    for kind in ({"log_size": value}, {"data": ((value, "/srv/x"),)}):
        with pytest.raises(Exception, match="is not a valid"):
            seal(str(tmp_path), [], Spec("shop", "1", "sha256:abc", **kind))  # type: ignore[arg-type]
