# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The files of data volumes, as root of the engine's user namespace handles them.

Without root, files in a container belong to numbers of the user that only that namespace may use.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ..._core.errors import ProviderError
from ..._core.programs import run_to_end
from ..container_engine import ContainerEngine

# What virtual machines do with their own volumes. It is a program of its own, so that it runs in the namespace.
_REOWN = Path(__file__).parents[4] / "roles/seal/files/seal/usr/lib/immutable/reown"


class DataFiles:
    """Files that belong to users of containers. Raises ProviderError with the program's own words."""

    def __init__(self, engine: ContainerEngine) -> None:
        self._engine = engine

    def make(self, folder: Path) -> None:
        """Create a folder that only root of the namespace may enter. Has no effect if it exists."""
        self._run("mkdir", "-p", "-m", "0700", "--", folder)

    def is_empty(self, folder: Path) -> bool:
        """Whether the folder holds nothing, or does not exist."""
        return not folder.exists() or not self._run(
            "find", folder, "-mindepth", "1", "-maxdepth", "1", "-printf", ".", "-quit"
        )

    def owner(self, folder: Path) -> str:
        """Return ``uid:gid`` of a folder."""
        return self._run("stat", "-c", "%u:%g", "--", folder).strip()

    def give(self, folder: Path, owner: str, mode: str) -> None:
        """Set owner and mode of a folder, not of what is in it."""
        self._run("chown", "--no-dereference", owner, "--", folder)
        self._run("chmod", mode, "--", folder)

    def reown(self, folder: Path, task: Literal["check", "change"], old: str, new: str) -> None:
        """Give the files of one owner to another one, or check that it could be undone."""
        self._run(sys.executable, "-IS", _REOWN, folder, task, old, new)

    def copy(self, source: Path, target: Path) -> None:
        """Copy a folder with all that is known of its files, and wait until the copy is on the disk."""
        preserved = "--preserve=mode,ownership,timestamps,links,xattr"
        self._run("cp", "--recursive", "--no-dereference", "--sparse=auto", preserved, "-T", "--", source, target)
        self._run("sync", "--file-system", target)

    def remove(self, path: Path) -> None:
        """Remove a file or a folder with everything in it, but nothing of another file system."""
        self._run("rm", "--recursive", "--force", "--one-file-system", "--", path)

    def _run(self, *argv: str | Path) -> str:
        return run_program(self._engine.inside([str(each) for each in argv]), str(argv[0]), self._engine)


def run_program(argv: Sequence[str], name: str, engine: ContainerEngine) -> str:
    """Run a program that may take long, and return its output. It ends with this process."""
    try:
        done = run_to_end(argv, env=engine.environment)
    except FileNotFoundError:
        raise ProviderError(f"{name} is not installed", permanent=True) from None
    if done.returncode:
        words = done.stderr.strip()[-1000:] or f"exit code {done.returncode}"
        raise ProviderError(f"{Path(name).name} failed: {words}{_hint(words, engine)}")
    return done.stdout


def _hint(words: str, engine: ContainerEngine) -> str:
    denied = "Permission denied" in words or "Operation not permitted" in words
    if engine.name == "docker" and denied:
        return " (with docker, data volumes need root: their files belong to users of the containers)"
    return ""
