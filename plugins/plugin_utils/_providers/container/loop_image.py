# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A file with an ext4 file system, mounted through a loop device. It bounds the size of a volume, and needs root.

Its space is reserved when it is created: a file system whose disk is full loses what it has already accepted.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from ....module_utils._mounts import read_mounts
from ..._core.errors import ProviderError
from ..._core.files import make_private_folder
from ..._core.programs import child_environment, find_program, run_to_end

_BLOCK = 4096  # bytes; a file system has whole ones
_SYSTEM = ("/usr/sbin", "/sbin", "/usr/bin", "/bin")
_PACKAGES = {"mount": "mount", "umount": "mount", "cp": "coreutils"}
_HEADER = re.compile(r"^(Block count|Block size):\s*([0-9]+)$", re.MULTILINE)
_FEW_BLOCKS = 2048
_CAP_SYS_RESOURCE = 24  # number of the capability
_OPTIONS = "loop,nosuid,nodev,nodiscard"  # a discard would give the reserved space back


def refuse_without_root(volume_id: str) -> None:
    """Raises ProviderError if this user cannot mount file systems."""
    if os.geteuid() != 0:
        raise ProviderError(
            f"volume {volume_id}: the type image is a mounted file system, which needs root (allowed: folder)",
            permanent=True,
        )


def create(path: Path, size: int, label: str) -> None:
    """Create the file system. What an interrupted creation left is replaced."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    _reserve(path, size)
    options = ["-m", "0", "-L", label[:16], "-b", str(_BLOCK), "-E", "nodiscard,lazy_itable_init=0"]
    run_program("mke2fs", "-q", "-F", "-t", "ext4", *options, path)
    _sync(path)


def grow(path: Path, size: int) -> None:
    """Make the file larger. The file system in it follows at its next mount."""
    if rounded(size) > path.stat().st_size:
        _reserve(path, size)
        _sync(path)


def rounded(size: int) -> int:
    """Bytes, rounded up to whole blocks."""
    return -(-size // _BLOCK) * _BLOCK


def mount(path: Path, at: Path) -> None:
    """Mount the file system, after it was checked, and let it fill its file. Has no effect if it is mounted."""
    if device(at) is not None:
        return
    make_private_folder(at)
    run_program("e2fsck", "-p", path, accepted=(0, 1))  # 1: errors were found and corrected
    grown, online = _has_grown(path), _can_resize_mounted()
    if grown and not online:
        _resize_copy(path)
    _reserve(path, path.stat().st_size)  # zeros that were written may have been given back
    run_program("mount", "-t", "ext4", "-o", _OPTIONS, "--", path, at)
    mounted = device(at)
    if mounted is None:
        raise ProviderError(f"{path} was mounted at {at}, but is not there")
    if grown and online:
        # The kernel grows a mounted file system with its journal, so it survives a crash at any moment.
        run_program("resize2fs", mounted)


def unmount(at: Path) -> None:
    """Unmount what is mounted there. Has no effect if nothing is."""
    while device(at) is not None:
        run_program("umount", "--", at)


def device(at: Path) -> str | None:
    """The device that is mounted there, or None."""
    place = os.path.realpath(at)
    return next((each.source for each in reversed(read_mounts()) if each.point == place), None)


def _has_grown(path: Path) -> bool:
    """Whether the file is larger than its file system. A few more blocks may be too few for a new block group."""
    facts = dict(_HEADER.findall(run_program("dumpe2fs", "-h", path)))
    blocks, size = int(facts.get("Block count", 0)), int(facts.get("Block size", 0))
    return size > 0 and (blocks + _FEW_BLOCKS) * size <= path.stat().st_size


def _can_resize_mounted() -> bool:
    """Whether this process has CAP_SYS_RESOURCE. Root in a container lacks it."""
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", Path("/proc/self/status").read_text(encoding="ascii"), re.MULTILINE)
    return bool(found and int(found[1], 16) >> _CAP_SYS_RESOURCE & 1)


def _resize_copy(path: Path) -> None:
    """Grow a copy, which then takes the place of the file: resize2fs cannot be interrupted without a journal."""
    copy = path.with_name(f"{path.name}.part")
    run_program("cp", "--reflink=auto", "--sparse=auto", "--", path, copy)
    _reserve(copy, path.stat().st_size)
    run_program("e2fsck", "-f", "-p", copy, accepted=(0, 1))
    run_program("resize2fs", copy)
    _sync(copy)
    copy.replace(path)


def _reserve(path: Path, size: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.posix_fallocate(handle, 0, rounded(size))
    except OSError as error:
        raise ProviderError(f"{path} cannot get its {rounded(size)} bytes: {error.strerror}") from error
    finally:
        os.close(handle)


def _sync(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def run_program(name: str, *arguments: str | Path, accepted: Sequence[int] = (0,)) -> str:
    """Run a program of the system and return its output. Raises ProviderError with its own words."""
    program = find_program(name, _SYSTEM)
    if program is None:
        raise ProviderError(f"{name} is not installed (Debian: apt install {_PACKAGES.get(name, 'e2fsprogs')})")
    done: subprocess.CompletedProcess[str] = run_to_end(
        [program, *map(str, arguments)], env=child_environment(LC_ALL="C.UTF-8")
    )
    if done.returncode not in accepted:
        raise ProviderError(f"{name} failed: {(done.stderr or done.stdout).strip()[-1000:]}")
    return done.stdout
