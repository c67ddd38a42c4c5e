# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs commands as a user would type them, one after the other or in the background, and prints each of them."""

from __future__ import annotations

import shlex
import subprocess
from contextlib import suppress
from pathlib import Path

LAST_LINES = 30  # of the log of a background command that failed
# A process in the background ends with this one, also if this one is killed.
BOUND = ("setpriv", "--pdeathsig", "TERM", "--")


class Failure(Exception):
    """A step failed. The message says why."""


class Background:
    """A command that runs while other steps go on. Its output goes to a log."""

    def __init__(self, words: list[str], folder: Path, log: Path) -> None:
        self.name = f"{words[0]} {words[1]}"
        self.log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [*BOUND, *words], cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )

    def ended(self) -> bool:
        """Whether the command has ended well. Of one that failed, ``wait`` says so."""
        return self._process.poll() == 0

    def wait(self) -> None:
        """Wait for the end. Raises Failure with the last lines of the log if the command failed."""
        code = self._process.wait()
        if code != 0:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
            print("\n".join(lines), flush=True)
            raise Failure(f"{self.name} failed with exit code {code}; its whole output is in {self.log}")

    def stop(self) -> None:
        """End the command if it still runs."""
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=60)


class Shell:
    """Runs commands in one folder. Background commands that still run are stopped by ``stop``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._background: list[Background] = []

    def run(self, *argv: object, check: bool = True, show: bool = True) -> subprocess.CompletedProcess[str]:
        """Print and run a command. Its output is shown as it comes, or returned if ``show`` is false.

        Raises Failure if the command fails and ``check`` is true.
        """
        words = [str(word) for word in argv]
        print(f"$ {shlex.join(words)}", flush=True)
        stdout = None if show else subprocess.PIPE
        done = subprocess.run(words, text=True, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=stdout, check=False)
        if check and done.returncode != 0:
            if not show:
                print(done.stdout)
            raise Failure(f"{words[0]} {words[1]} failed with exit code {done.returncode}; see its output above")
        return done

    def start(self, *argv: object, log: str) -> Background:
        """Print a command and start it in the background, with its output in the file ``log``."""
        words = [str(word) for word in argv]
        print(f"$ {shlex.join(words)} > {log} &", flush=True)
        started = Background(words, self.folder, self.folder / log)
        self._background.append(started)
        return started

    def stop(self) -> None:
        for started in self._background:
            started.stop()
