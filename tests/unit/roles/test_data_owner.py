# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whose files a data volume holds, when an image gives the service's user or group another number."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.tests.support.data_volume import LIBRARY, SEARCH_PATH, Guest

pytestmark = pytest.mark.skipif(
    not all(shutil.which(tool, path=SEARCH_PATH) for tool in ("mke2fs", "debugfs", "blkid")), reason="needs e2fsprogs"
)
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root changes owners")
IMAGE = f"{os.getuid()}:{os.getgid()}"  # the owner of the service's directory in these tests
OTHER = "4294:4295"


def test_a_new_volume_records_its_owner(guest: Guest) -> None:
    assert guest.attributes() == {"owner": IMAGE}


def test_a_volume_of_an_earlier_release_records_its_owner_if_it_is_known(unused: Guest) -> None:
    unused.run("mke2fs", "-q", "-t", "ext4", "-E", f"root_owner={OTHER}", unused.disk)
    unused.prepare()
    assert unused.attributes() == {}, "it is unknown whose files they are"
    unused.run("mke2fs", "-q", "-F", "-t", "ext4", "-E", f"root_owner={IMAGE}", unused.disk)
    unused.prepare()
    assert unused.attributes() == {"owner": IMAGE}


def test_a_volume_with_another_owner_is_refused_with_the_way_out(guest: Guest) -> None:
    guest.record(owner=OTHER)
    reason = guest.fail()
    assert OTHER in reason and IMAGE in reason and "reown" in reason


@pytest.fixture
def mounted(guest: Guest, tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    guest.mount_instead(folder)
    return folder


def _reowned(folder: Path) -> list[str]:
    done = folder.parent / "reowned"
    return done.read_text().splitlines() if done.exists() else []


@pytest.fixture
def allowed(guest: Guest, tmp_path: Path) -> Guest:
    """A volume of another owner, which the image may change."""
    guest.record(owner=OTHER)
    (tmp_path / "reown-volumes").write_text("logs\nuploads\n")
    return guest


def test_no_change_of_the_owner_begins_unless_the_volume_can_be_mounted(allowed: Guest, mounted: Path) -> None:
    os.rmdir(mounted)  # as if it could not be mounted
    with pytest.raises(subprocess.CalledProcessError):
        allowed.prepare()
    assert allowed.attributes() == {"owner": OTHER}, "nothing began"


@needs_root
def test_files_change_their_owner_once_if_the_image_allows_it(allowed: Guest, mounted: Path) -> None:
    os.chown(mounted, *map(int, OTHER.split(":")))
    allowed.prepare()
    assert allowed.attributes() == {"owner": IMAGE, "previous": OTHER}
    assert (mounted.stat().st_uid, mounted.stat().st_gid) == (os.getuid(), os.getgid())
    done = _reowned(mounted)
    assert done == [f"check {OTHER} {IMAGE}", f"change {OTHER} {IMAGE}"]
    allowed.prepare()
    assert _reowned(mounted) == done, "once"


@pytest.mark.parametrize(
    ("recorded", "change"),
    [
        pytest.param({"owner": OTHER, "previous": IMAGE}, f"{OTHER} {IMAGE}", id="a rollback"),
        pytest.param({"owner": OTHER, "change": f"{OTHER} {IMAGE}"}, f"{OTHER} {IMAGE}", id="an interrupted change"),
        pytest.param(
            {"owner": IMAGE, "change": f"{IMAGE} {OTHER}"}, f"{OTHER} {IMAGE}", id="back from an interrupted change"
        ),
    ],
)
def test_a_change_is_completed_or_undone(guest: Guest, mounted: Path, recorded: dict[str, str], change: str) -> None:
    guest.record(**recorded)
    guest.prepare()
    assert _reowned(mounted) == [f"change {change}"]
    assert guest.attributes() == {"owner": IMAGE, "previous": OTHER}


class _Device:
    """A guest whose volume is a real device with a file system that is really mounted."""

    def __init__(self, guest: Guest, folder: Path) -> None:
        self.guest = guest
        file = guest.disk.rename(folder / "disk.raw")
        try:
            self.device = guest.run("losetup", "--find", "--show", file).strip()
            guest.disk.symlink_to(self.device)
            guest.run("unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", guest.mount)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"needs loop devices and mounts: {error.stderr.strip()}")
        (folder / "bin/blockdev").unlink()

    def boot(self, uid: int) -> None:
        """Start an image in which the service has this uid and gid."""
        os.chown(self.guest.mount, uid, uid)

    def run_as(self, uid: int, command: str) -> str:
        service = f"setpriv --reuid={uid} --regid={uid} --clear-groups sh -c '{command}'"
        script = f'mount -t ext4 "$1" "$2" && cd "$2" && {service}'
        return self.guest.run("unshare", "--mount", "sh", "-c", script, "sh", self.guest.disk, self.guest.mount)


@pytest.fixture
def volume(unused: Guest, tmp_path: Path) -> Iterator[_Device]:
    volume = _Device(unused, tmp_path)
    yield volume
    unused.run("losetup", "--detach", volume.device)


@needs_root
def test_the_service_reads_its_data_after_its_numbers_changed(volume: _Device, tmp_path: Path) -> None:
    guest, first, second = volume.guest, 4711, 4712
    volume.boot(first)
    guest.report("blank")
    guest.prepare()
    guest.report_nothing()
    volume.run_as(first, "umask 077; echo first > words")

    volume.boot(second)
    reason = guest.fail()
    assert f"{first}:{first}" in reason and f"{second}:{second}" in reason
    assert volume.run_as(first, "cat words") == "first\n"

    (tmp_path / "reown-volumes").write_text("uploads\n")
    guest.prepare()
    assert volume.run_as(second, "echo second >> words; cat words") == "first\nsecond\n"

    (tmp_path / "reown-volumes").unlink()  # the first image does not know of it
    volume.boot(first)
    guest.prepare()
    assert volume.run_as(first, "cat words") == "first\nsecond\n"


def test_an_interrupted_change_between_other_images_is_left_alone(guest: Guest) -> None:
    guest.record(owner="1:1", change="1:1 2:2")
    assert "interrupted" in guest.fail()


def _reown(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(LIBRARY / "reown"), *map(str, arguments)], capture_output=True, text=True, check=False
    )


@needs_root
def test_only_files_of_the_old_user_and_group_change(tmp_path: Path) -> None:
    root = tmp_path / "data"
    (root / "deep/er").mkdir(parents=True)
    (root / "lost+found").mkdir()
    (root / "link").symlink_to("/etc/passwd")
    owners = {"deep": (5000, 5001), "deep/er": (5000, 0), "link": (5000, 5001), "other": (7, 5001), "tool": (5000, 8)}
    for name, (uid, gid) in owners.items():
        if name in ("other", "tool"):
            (root / name).write_text(name)
        os.lchown(root / name, uid, gid)
    (root / "tool").chmod(0o4755)
    assert _reown(root, "check", "5000:5001", "6000:6001").returncode == 0
    assert _reown(root, "change", "5000:5001", "6000:6001").returncode == 0
    found = {name: ((root / name).lstat().st_uid, (root / name).lstat().st_gid) for name in owners}
    assert found == {
        "deep": (6000, 6001), "deep/er": (6000, 0), "link": (6000, 6001), "other": (7, 6001), "tool": (6000, 8)
    }  # fmt: skip
    assert (root / "tool").stat().st_mode & 0o7777 == 0o4755
    assert Path("/etc/passwd").stat().st_uid == 0
    again = _reown(root, "check", "5000:5001", "6000:6001")
    assert again.returncode == 1 and "belongs to the new user or group already" in again.stderr
