# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The folder of one test run with containers: everything in it, and every container, is removed however the run ends.

All workers of a run share the folder. This file, run as a program, waits until the run ends, kills the processes that
it started, and then removes their containers and the folder: containers do not end with the process that started them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ImmutableError
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container_engine import open_engine
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container_runtime import state_folder
from ansible_collections.immutable.infra.tests.support import reaper

ENGINE = "container"  # the folder of the engine in a store
ROUNDS = 20  # what podman runs after a container's end mounts its storage once more


def run_folder(name: str, run: int, mark: str) -> Path:
    """Return the folder of a run. The first call creates it and starts the process that removes it.

    Its path is short, because podman's sockets are below it.

    Args:
        name: of the run. Every worker knows it.
        run: the process that ends when the run ends.
        mark: of the run's processes, see ``reaper``.
    """
    folder = Path(tempfile.gettempdir(), f"ic-{name[:10]}")
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        return folder
    command = [sys.executable, "-m", __spec__.name, str(folder), str(run), mark]
    # Without the mark of the run, and in a session of its own: what ends the run must not end this process.
    variables = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    quiet = subprocess.DEVNULL
    subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, env=variables, cwd="/", start_new_session=True)
    return folder


def engines(folder: Path) -> list[Path]:
    """The folders of engines in the stores below a folder."""
    return sorted({path.parent for depth in (".", "*", "*/*") for path in folder.glob(f"{depth}/{ENGINE}/storage")})


def remove(folder: Path) -> None:
    """Remove the stores below a folder with their containers, and the folder."""
    for each in engines(folder):
        engine = open_engine("podman", each)
        with suppress(ImmutableError):
            engine.run("rm", "--all", "--force", "--time", "0")
        unmount(each)
        # Files of a rootless container belong to other users.
        with suppress(ImmutableError):
            subprocess.run(engine.inside(["rm", "-rf", str(each / "storage")]), env=engine.environment, check=False)
        with suppress(ImmutableError):
            shutil.rmtree(state_folder(each), ignore_errors=True)
    for _round in range(ROUNDS):
        unmount(folder)
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return


def unmount(folder: Path) -> None:
    """Unmount what is mounted below a folder, the deepest first."""
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    found = sorted((line.split()[4] for line in lines if line.split()[4].startswith(f"{folder}/")), reverse=True)
    if found:
        subprocess.run(["umount", "--lazy", *found], check=False)


if __name__ == "__main__":
    reaper.main(int(sys.argv[2]), sys.argv[3], child=False)
    remove(Path(sys.argv[1]))
