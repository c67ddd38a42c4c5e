# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Containers that must not outlive this process: those of a verification."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress

from ..container_engine import ContainerEngine
from . import lifeline


class BoundContainers:
    """Has the containers of one engine removed if this process is killed. It starts what does that when it must."""

    def __init__(self, engine: ContainerEngine) -> None:
        self._engine = engine
        self._watcher: subprocess.Popen[bytes] | None = None
        self._names: set[str] = set()

    def add(self, name: str) -> None:
        """Bind a container to this process, before it exists."""
        if self._watcher is None:
            command = [*self._engine.argv, "rm", "--force", "--volumes"]
            self._watcher = subprocess.Popen(
                [sys.executable, "-I", "-S", lifeline.__file__, *command],
                env=self._engine.environment,
                cwd="/",
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._names.add(name)
        self._say(f"+{name}\n")

    def discard(self, name: str) -> None:
        """Forget a container that is removed."""
        if name in self._names:
            self._names.discard(name)
            self._say(f"-{name}\n")

    def _say(self, line: str) -> None:
        if self._watcher and self._watcher.stdin:
            with suppress(OSError):
                self._watcher.stdin.write(line.encode())
                self._watcher.stdin.flush()
