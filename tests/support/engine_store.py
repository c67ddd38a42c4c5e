# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The folder of one test run with containers: everything in it, and every container, is removed however the run ends.

All workers of a run share the folder. This file, run as a program, waits until the run ends, kills the processes that
it started, and then removes their containers and the folder: containers do not end with the process that started them.
If this program is killed as well, that of the next run removes what is left.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from ansible_collections.immutable.infra.plugins.plugin_utils._bake.memory import remove_private_memory
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ImmutableError
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container_engine import open_engine
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container_runtime import MEMORY, state_folder
from ansible_collections.immutable.infra.tests.support import reaper

ENGINE = "container"  # the folder of the engine in a store
PREFIX = "ic-"
LOCK = "guardian"  # held as long as the program runs that removes the folder
ROUNDS = 20  # what podman runs after a container's end mounts its storage once more


def run_folder(name: str, run: int, mark: str) -> Path:
    """Return the folder of a run. The first call creates it and starts the process that removes it.

    Its path is short, because podman's sockets are below it.

    Args:
        name: of the run. Every worker knows it.
        run: the process that ends when the run ends.
        mark: of the run's processes, see ``reaper``.
    """
    folder = Path(tempfile.gettempdir(), f"{PREFIX}{name[:10]}")
    if folder.exists():
        return folder
    # It appears with its lock held, so that no other run takes it for abandoned.
    fresh = Path(tempfile.mkdtemp(prefix="ic."))
    fresh.chmod(0o711)  # some tests are another user's, whose folder is in it
    lock = os.open(fresh / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        fresh.rename(folder)
        _start_guardian(folder, run, mark, lock)
    except OSError as error:
        shutil.rmtree(fresh, ignore_errors=True)
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
    finally:
        os.close(lock)
    return folder


def _start_guardian(folder: Path, run: int, mark: str, lock: int) -> None:
    """Start what removes the folder. It holds the lock until it ends."""
    command = [sys.executable, "-m", __spec__.name, str(folder), str(run), mark]
    # Without the mark of the run, and in a session of its own: what ends the run must not end this process.
    variables = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    quiet = subprocess.DEVNULL
    subprocess.Popen(
        command,
        stdin=quiet,
        stdout=quiet,
        stderr=quiet,
        env=variables,
        cwd="/",
        start_new_session=True,
        pass_fds=[lock],
    )


def remove_abandoned(parent: Path) -> None:
    """Remove the folders of earlier runs that nothing else removes any more."""
    for folder in parent.glob(f"{PREFIX}*"):
        try:
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue  # it belongs to another user, or it is removed
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove(folder)
        except BlockingIOError:
            continue
        finally:
            os.close(lock)


def engines(folder: Path) -> list[Path]:
    """The folders of engines in the stores below a folder."""
    return sorted({path.parent for depth in (".", "*", "*/*") for path in folder.glob(f"{depth}/{ENGINE}/storage")})


def remove(folder: Path) -> None:
    """Remove the stores below a folder with their containers, the folder, and what bakes left in memory."""
    for work in (path for depth in ("*", "*/*") for path in folder.glob(f"{depth}/work/bake-*")):
        with suppress(OSError):
            remove_private_memory(work.name, work)
    for each in engines(folder):
        engine = open_engine("podman", each)
        with suppress(ImmutableError):
            engine.run("rm", "--all", "--force", "--time", "0")
        unmount(each)
        # Files of a rootless container belong to other users.
        with suppress(ImmutableError):
            subprocess.run(engine.inside(["rm", "-rf", str(each / "storage")]), env=engine.environment, check=False)
        # Of any user: some tests run as one that is not this one.
        with suppress(ImmutableError):
            for state in MEMORY.glob(f"immutable-*-{state_folder(each).name.rpartition('-')[2]}"):
                shutil.rmtree(state, ignore_errors=True)
    kill_inside(folder)
    for _round in range(ROUNDS):
        unmount(folder)
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return


def kill_inside(folder: Path) -> None:
    """Kill the processes whose root is below a folder: containers of another user's Podman, or of a killed Docker."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            mounts = [line.split() for line in (process / "mountinfo").read_text(encoding="utf-8").splitlines()]
        except OSError:
            continue
        if any(words[4] == "/" and f"{folder}/" in " ".join(words) for words in mounts):
            reaper.kill(int(process.name))


def unmount(folder: Path) -> None:
    """Unmount what is mounted below a folder, the deepest first."""
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    found = sorted((line.split()[4] for line in lines if line.split()[4].startswith(f"{folder}/")), reverse=True)
    if found:
        subprocess.run(["umount", "--lazy", *found], check=False)


if __name__ == "__main__":
    remove_abandoned(Path(sys.argv[1]).parent)
    reaper.main(int(sys.argv[2]), sys.argv[3], child=False)
    remove(Path(sys.argv[1]))
