# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Chromium without a window and without the network, for pages in files."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-sandbox",  # root has none, and the pages are ours
    "--disable-dev-shm-usage",  # a container has little of it
    "--hide-scrollbars",
)
TIMEOUT = 300.0  # seconds, on a busy machine


def find_browser() -> str | None:
    """Return the path of Chromium, or None."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Browser:
    """Runs Chromium once for each call, with a profile in ``folder``."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self._folder = folder

    def dom(self, page: Path, fragment: str = "") -> str:
        """Return the document after its scripts ran."""
        return self._run(["--dump-dom"], page, fragment).decode("utf-8")

    def screenshot(self, page: Path, image: Path, *flags: str, fragment: str = "") -> None:
        """Draw the page and write it as PNG. ``flags``: such as ``--window-size=1200,900``."""
        self._run([f"--screenshot={image}", *flags], page, fragment)

    def _run(self, flags: list[str], page: Path, fragment: str) -> bytes:
        address = page.absolute().as_uri() + (f"#{fragment}" if fragment else "")
        argv = [self._program, *FLAGS, f"--user-data-dir={self._folder / 'profile'}", *flags, address]
        done = subprocess.run(argv, capture_output=True, timeout=TIMEOUT, check=False)
        if done.returncode:
            raise RuntimeError(f"{self._program} failed: {done.stderr.decode('utf-8', 'replace')[-2000:]}")
        return done.stdout
