# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Compares processes with the image, from tables of mounts as a Debian 12 host shows them, and real namespaces."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.module_utils import _process_views
from ansible_collections.immutable.infra.plugins.module_utils._mounts import parse_mounts
from ansible_collections.immutable.infra.plugins.module_utils._process_views import Image, Views, compare_processes

# The host's own mounts.
HOST = """\
21 28 0:19 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
22 28 0:20 / /proc rw,nosuid,nodev,noexec,relatime shared:14 - proc proc rw
23 28 0:5 / /dev rw,nosuid,relatime shared:2 - devtmpfs udev rw,size=158372k,nr_inodes=39593,mode=755
25 28 0:22 / /run rw,nosuid,nodev,noexec,relatime shared:5 - tmpfs tmpfs rw,size=36056k,mode=755
28 1 254:2 / / ro,relatime shared:1 - ext4 /dev/vda2 ro
33 28 0:28 / /tmp rw,nosuid,nodev,relatime shared:17 - tmpfs tmpfs rw
34 28 0:29 / /var/log rw,nosuid,nodev,relatime shared:19 - tmpfs tmpfs rw
35 28 254:16 / /var/lib/shop rw,nosuid,nodev,noatime shared:21 - ext4 /dev/vdb rw
"""
# A service with ProtectSystem=strict, PrivateTmp, PrivateDevices, ProtectHome, ProtectKernelTunables and
# InaccessiblePaths.
SANDBOXED = """\
128 127 254:2 / / ro,relatime shared:129 master:1 - ext4 /dev/vda2 ro
129 128 0:36 / /dev ro,nosuid,noexec shared:130 - tmpfs tmpfs rw,size=4096k,nr_inodes=1048576,mode=755
130 129 0:26 / /dev/mqueue rw,nosuid,nodev,noexec shared:131 master:14 - mqueue mqueue rw
135 128 0:22 / /run ro,nosuid,nodev,noexec shared:140 master:5 - tmpfs tmpfs rw,size=36056k,mode=755
136 128 0:22 /systemd/inaccessible/dir /home ro,nosuid,nodev,noexec shared:141 master:5 - tmpfs tmpfs rw,size=36056k
137 128 0:22 /systemd/inaccessible/reg /etc/hosts.deny ro,nosuid,nodev shared:142 master:5 - tmpfs tmpfs rw,size=36056k
140 128 0:20 / /proc ro,nosuid,nodev,noexec,relatime shared:145 master:14 - proc proc rw
141 140 0:20 /sys /proc/sys ro,nosuid,nodev,noexec,relatime shared:145 master:14 - proc proc rw
145 128 0:28 /systemd-private-0f-shop.service-x/tmp /tmp rw,nosuid,nodev shared:160 master:17 - tmpfs tmpfs rw
146 128 254:16 / /var/lib/shop rw,nosuid,nodev,noatime shared:161 master:21 - ext4 /dev/vdb rw
147 128 254:2 /usr /usr ro,relatime shared:162 master:1 - ext4 /dev/vda2 ro
"""
DECLARED = (
    "/etc/machine-id",
    "/var/tmp",
    "/var/lib/systemd",
    "/dev",
    "/proc",
    "/run",
    "/sys",
    "/tmp",
    "/var/log",
    "/var/lib/shop",
    "/var/cache/shop",
)
OWN = ("/var/lib/shop", "/var/cache/shop")


def within(folders: tuple[str, ...]) -> Callable[[str], bool]:
    return lambda path: (path + "/").startswith(tuple(folder + "/" for folder in folders))


@dataclass
class Host:
    """A root file system with a folder of processes."""

    root: Path

    def __post_init__(self) -> None:
        self.proc = self.root / "proc"
        self.proc.mkdir()
        (self.root / "usr/bin").mkdir(parents=True)
        (self.root / "usr/bin/app").touch()
        (self.root / "usr/lib/systemd/system").mkdir(parents=True)
        (self.root / "run/systemd/inaccessible/dir").mkdir(parents=True)
        (self.root / "run/systemd/inaccessible/reg").touch()
        self.add(1, HOST, name="systemd", unit="init.scope")

    def add(self, pid: int, mountinfo: str, name: str = "app", unit: str = "shop.service") -> Path:
        """Add a process, and return its folder."""
        folder = self.proc / str(pid)
        (folder / "ns").mkdir(parents=True)
        (folder / "ns/mnt").symlink_to(f"mnt:[{hash(mountinfo)}]")
        (folder / "exe").symlink_to(self.root / "usr/bin/app")
        (folder / "root").symlink_to("/")
        (folder / "mountinfo").write_text(mountinfo)
        (folder / "comm").write_text(name + "\n")
        (folder / "cgroup").write_text(f"0::/system.slice/{unit}\n")
        self.map(pid, self.root / "usr/bin/app")
        return folder

    def map(self, pid: int, path: Path, shown: str = "", flags: str = "r-xp") -> None:
        info = path.stat()
        device = f"{os.major(info.st_dev):02x}:{os.minor(info.st_dev):02x}"
        with (self.proc / str(pid) / "maps").open("a") as maps:
            maps.write("7fffa1b2d000-7fffa1b2f000 r-xp 00000000 00:00 0                          [vdso]\n")
            maps.write(f"563a1e2b4000-563a1e2b6000 {flags} 00000000 {device} {info.st_ino}    {shown or path}\n")

    def unit(self, name: str, text: str) -> None:
        (self.root / "usr/lib/systemd/system" / name).write_text(text)

    def compare(self, table: str = HOST) -> Views:
        app = (self.root / "usr/bin/app").stat()
        root = (str(self.root / "var/lib/shop"), str(self.root / "var/cache/shop"))
        mounts = parse_mounts(table.encode())
        image = Image(
            device=app.st_dev,
            inodes={app.st_ino},
            is_declared=within(DECLARED),
            is_own=within(root),
            mounts=mounts,
        )
        return compare_processes(image, str(self.proc), str(self.root))


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_host_whose_services_are_sandboxed_has_no_differences(host: Host) -> None:
    host.add(200, SANDBOXED)
    assert host.compare() == Views()


CAPTURED = Path(__file__).parent / "mountinfo"
CAPTURED_UNIT = """[Service]
InaccessiblePaths=-/opt -/etc/hosts.deny
BindReadOnlyPaths=/usr/share/doc:/srv
TemporaryFileSystem=/mnt
BindPaths=/usr/share/common-licenses:/mnt/licenses
"""


@pytest.mark.parametrize(("unit", "found"), [(CAPTURED_UNIT, []), ("", ["/mnt/licenses", "/srv"])])
def test_the_units_of_a_real_host_are_normal(host: Host, unit: str, found: list[str]) -> None:
    """Captured on a sealed Debian 12: udevd, logind, and a service that uses most of what systemd offers."""
    for pid, (name, of) in enumerate(
        (("service", "shop.service"), ("logind", "systemd-logind.service"), ("udevd", "systemd-udevd.service")), 200
    ):
        folder = host.add(pid, (CAPTURED / name).read_text(), unit=of)
        (folder / "root").unlink()
        (folder / "root").mkdir()  # its own file systems in memory, which are empty
        for path in ("home", "root", "mnt/licenses"):
            (folder / "root" / path).mkdir(parents=True)
    host.unit("shop.service", unit)
    assert [path for path, _what in host.compare((CAPTURED / "host").read_text()).mounts] == found


def test_what_makes_paths_inaccessible_must_be_empty(host: Host) -> None:
    host.add(200, SANDBOXED)
    (host.root / "run/systemd/inaccessible/dir/evil").touch()
    (host.root / "run/systemd/inaccessible/reg").write_text("ALL: ALL")
    assert [path for path, _what in host.compare().mounts] == ["/etc/hosts.deny"]
    (host.root / "run/systemd/inaccessible/dir/evil").write_text("evil")
    assert [path for path, _what in host.compare().mounts] == ["/home", "/etc/hosts.deny"]


@pytest.mark.parametrize(
    ("mount", "found"),
    [
        # A drop-in with BindReadOnlyPaths=/run/evil:/usr/bin/app
        ("254 128 0:22 /evil /usr/bin/app ro - tmpfs tmpfs rw", "tmpfs of tmpfs (/evil)"),
        ("254 128 254:2 /usr/bin/other /usr/bin/app ro - ext4 /dev/vda2 ro", "ext4 of /dev/vda2 (/usr/bin/other)"),
        ("254 128 254:16 /bin /usr/bin rw - ext4 /dev/vdb rw", "ext4 of /dev/vdb (/bin)"),
        ("254 128 0:22 /a//deleted /etc/passwd ro - tmpfs tmpfs rw", "tmpfs of tmpfs (/a//deleted)"),
        ("254 128 0:22 /systemd/inaccessible /opt ro - tmpfs tmpfs rw", "tmpfs of tmpfs (/systemd/inaccessible)"),
        ("254 128 0:77 / /usr ro - overlay overlay rw,lowerdir=/usr", "overlay of overlay (/)"),
        ("254 128 0:20 / /opt/proc ro - proc proc rw", "proc of proc (/)"),
    ],
)
def test_a_mount_of_one_process_over_the_image_is_found(host: Host, mount: str, found: str) -> None:
    host.add(200, SANDBOXED.partition("136 128")[0] + mount + "\n")
    point = mount.split(" ")[4]
    assert host.compare().mounts == [(point, f"{found}, only for process 200 (app) of shop.service")]


def test_a_mount_that_the_image_declares_is_normal(host: Host) -> None:
    bind = "254 128 254:2 /usr/share/doc /srv ro - ext4 /dev/vda2 ro\n255 254 0:29 / /srv/log ro - tmpfs tmpfs rw\n"
    other = "254 128 254:2 /usr/share/evil /srv ro - ext4 /dev/vda2 ro\n"
    host.unit("shop.service", "[Service]\nBindReadOnlyPaths=/usr/share/doc:/srv\n")
    start = SANDBOXED.partition("136 128")[0]
    host.add(200, start + bind.splitlines()[0] + "\n")
    assert host.compare().mounts == []
    host.add(201, start + other)
    host.add(202, start + bind, unit="other.service")
    assert [path for path, _what in host.compare().mounts] == ["/srv", "/srv", "/srv/log"]


def test_a_mount_below_a_declared_source_is_normal(host: Host) -> None:
    host.unit("shop.service", "[Service]\nBindPaths=/var:/srv\n")
    binds = "254 128 254:2 /var /srv ro - ext4 /dev/vda2 ro\n255 254 0:29 / /srv/log ro - tmpfs tmpfs rw\n"
    host.add(200, SANDBOXED.partition("136 128")[0] + binds)
    assert host.compare().mounts == []


@pytest.mark.parametrize(("content", "normal"), [([], True), (["mnt/licenses"], True), (["mnt/evil"], False)])
def test_an_empty_file_system_in_memory_only_hides(host: Host, content: list[str], normal: bool) -> None:
    folder = host.add(200, SANDBOXED.partition("136 128")[0] + "254 128 0:40 / /mnt ro - tmpfs tmpfs ro\n")
    with (folder / "mountinfo").open("a") as mounts:
        mounts.write("255 254 254:2 /mnt/licenses /mnt/licenses ro - ext4 /dev/vda2 ro\n")
    (folder / "root").unlink()
    (folder / "root/mnt").mkdir(parents=True)
    for name in content:
        (folder / "root" / name).write_text("x")
    assert (host.compare().mounts == []) is normal


def test_a_process_with_another_root_is_named(host: Host) -> None:
    folder = host.add(300, "600 500 0:50 / / rw - overlay overlay rw,lowerdir=/a,upperdir=/b\n", "nginx", "web.service")
    (folder / "exe").unlink()
    (folder / "exe").symlink_to("/bin/sh")
    assert host.compare() == Views(
        unchecked=[("/", "process 300 (nginx) of web.service has another root file system, such as a container")]
    )


def test_the_mounts_of_a_namespace_are_read_from_a_process_without_chroot(host: Host) -> None:
    folder = host.add(100, "128 127 254:2 /run/sshd / ro - ext4 /dev/vda2 ro\n", "sshd", "ssh.service")
    (folder / "root").unlink()
    (folder / "root").symlink_to("/run/sshd")
    (folder / "ns/mnt").unlink()
    (folder / "ns/mnt").symlink_to(os.readlink(host.proc / "1/ns/mnt"))
    assert host.compare() == Views()


def _run(host: Host, path: str, exe: bool) -> Path:
    """Let the service execute another program, or a library."""
    program = host.root / path
    program.parent.mkdir(parents=True, exist_ok=True)
    program.touch()
    if exe:
        (host.proc / "1/exe").unlink()
        (host.proc / "1/exe").symlink_to(program)
    host.map(1, program)
    return program


def test_a_program_that_is_not_of_the_image_is_found(host: Host) -> None:
    program = _run(host, "usr/bin/intruder", exe=True)
    assert host.compare().programs == [(str(program), "executed by process 1 (systemd) of init.scope")]


def test_a_program_of_the_service_itself_is_named(host: Host) -> None:
    program = _run(host, "var/lib/shop/plugin", exe=True)
    views = host.compare()
    assert views.programs == []
    assert views.unchecked == [
        (str(program), "a program executed by process 1 (systemd) of init.scope, outside of the image")
    ]


def test_a_library_that_is_not_of_the_image_is_found(host: Host) -> None:
    library = _run(host, "usr/lib/evil.so", exe=False)
    assert host.compare().programs == [(str(library), "code mapped by process 1 (systemd) of init.scope")]


def test_a_mapped_file_that_is_not_executable_is_normal(host: Host) -> None:
    (host.root / "data").touch()
    host.map(1, host.root / "data", flags="r--s")
    assert host.compare() == Views()


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/memfd:doublemapper (deleted)", "unchecked"), ("/tmp/jna7.tmp", "unchecked"), ("/run/evil.so", "programs")],
)
def test_code_outside_of_the_image_is_named_or_found(host: Host, path: str, kind: str) -> None:
    line = f"7f0000000000-7f0000001000 r-xp 00000000 00:01 1025                       {path}\n"
    with (host.proc / "1/maps").open("a") as maps:
        maps.write(line)
    views = host.compare()
    assert [each for each, _what in getattr(views, kind)] == [path]
    assert len(views.programs) + len(views.unchecked) == 1


def test_a_thread_of_the_kernel_and_a_process_that_ends_are_left_out(host: Host) -> None:
    thread = host.add(2, "1 1 0:5 / / rw - devtmpfs udev rw\n", "kdevtmpfs", "")
    (thread / "exe").unlink()
    (host.proc / "77").mkdir()
    assert host.compare() == Views()


def test_a_name_cannot_break_a_message(host: Host) -> None:
    host.add(200, "2 1 254:2 / / ro - ext4 a ro\n3 2 0:7 / /usr ro - ext4 x ro\n", name="a\x1b[2J\nb", unit="")
    [(_path, what)] = host.compare().mounts
    assert what == "ext4 of x (/), only for process 200 (a?[2J?b)"


def test_work_is_bounded_and_the_rest_is_named(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    for pid in range(2, 6):
        host.add(pid, f"{HOST}4{pid} 28 0:28 /{pid} /tmp rw - tmpfs tmpfs rw\n")
    monkeypatch.setattr(_process_views, "MAX_PROCESSES", 4)
    monkeypatch.setattr(_process_views, "MAX_NAMESPACES", 3)
    assert [what for _path, what in host.compare().unchecked] == [
        "only 4 of 5 processes",
        "only 3 of 4 mount namespaces",
    ]
    monkeypatch.setattr(_process_views, "MAX_MOUNTS", 8)
    assert "process 2 (app) of shop.service has more than 8 mounts" in [
        what for _path, what in host.compare().unchecked
    ]
    monkeypatch.setattr(_process_views, "MAX_BYTES", 100)
    assert any("cannot be read" in what for _path, what in host.compare().unchecked)


def test_a_process_that_must_not_be_inspected_is_named(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.readlink

    def refuse(path: str) -> str:
        if "/1/" in path:
            raise PermissionError
        return real(path)

    monkeypatch.setattr(os, "readlink", refuse)
    assert host.compare().unchecked == [("/", "1 processes cannot be inspected")]


LIVE = """
import json, os, sys
from ansible_collections.immutable.infra.plugins.module_utils._mounts import read_mounts
from ansible_collections.immutable.infra.plugins.module_utils._process_views import Image, compare_processes

image = Image(os.stat("/").st_dev, set(), lambda path: path.startswith(("/dev", "/proc", "/run", "/sys")),
    lambda path: True, read_mounts())
views = compare_processes(image)
print(json.dumps([each for each in views.mounts if f"process {sys.argv[1]} " in each[1]]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can inspect other processes")
def test_a_real_namespace_is_compared(tmp_path: Path) -> None:
    (tmp_path / "program").write_text("#!/bin/sh\n")
    (tmp_path / "target").write_text("#!/bin/sh\n")
    script = 'mount --bind "$0/program" "$0/target" && mount --bind /usr /usr && echo ready && exec cat'
    with subprocess.Popen(
        ["unshare", "-m", "sh", "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdin is not None and child.stdout is not None
        if child.stdout.readline() != b"ready\n":
            pytest.skip("mounts are not allowed here")
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        argv = [sys.executable, "-c", LIVE, str(child.pid)]
        done = subprocess.run(argv, capture_output=True, text=True, env=environment, check=False)
        child.stdin.close()
    assert done.returncode == 0, done.stderr
    [(path, _what)] = json.loads(done.stdout)
    assert path == str(tmp_path / "target")
