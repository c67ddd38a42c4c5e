# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``make bench-report``: how large reports are, how long Chromium draws them, and how long a first look takes.

Drawing is the time of a screenshot of the page less that of an empty page, so it includes reading and layout. The first
look is the rehearsal of a swap and its report, with ansible-core, jsonschema and the collection alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from ansible_collections.immutable.infra.tests.support import report_pages
from ansible_collections.immutable.infra.tests.support.browser import Browser, find_browser

from .report import Table

RUNS = 5
MOST_BYTES, MOST_DRAWING, MOST_LOOK = 2_000_000, 1.0, 10.0  # bytes, seconds, seconds
EMPTY = b"<!DOCTYPE html><title>empty</title>"
EXAMPLE = Path(__file__).resolve().parents[1] / "examples/rehearsal"
LOOK = ("swap", "report")  # playbooks of the first look


def seconds(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def drawing(browser: Browser, folder: Path, page: bytes) -> float:
    """Return the median seconds that Chromium needs for the page beyond what it needs for an empty one."""
    file, spent = folder / "page.html", []

    def screenshot() -> None:
        browser.screenshot(file, folder / "page.png")

    for content in (EMPTY, page):
        file.write_bytes(content)
        screenshot()  # the first run fills caches
        spent.append(median(seconds(screenshot) for _run in range(RUNS)))
    return max(0.0, spent[1] - spent[0])


def first_look(folder: Path) -> float:
    """Return the seconds of the playbooks of the first look, in an environment without anything else."""
    environment = folder / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    pip = [str(environment / "bin/pip"), "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "ansible-core", "jsonschema"], check=True)
    variables = {
        "immutable_definition": str(EXAMPLE / "immutable.yml"),
        "immutable_target": "rehearsal",
        "immutable_store": str(folder / "store"),
        "immutable_channel": "prod",
        "immutable_report": str(folder / "rehearsal.html"),
    }
    options = [word for name, value in variables.items() for word in ("-e", f"{name}={value}")]

    def play() -> None:
        for playbook in LOOK:
            argv = [str(environment / "bin/ansible-playbook"), f"immutable.infra.{playbook}", *options]
            subprocess.run(
                argv, cwd=folder, env={**os.environ, "PYTHONPATH": ""}, check=True, stdout=subprocess.DEVNULL
            )

    spent = seconds(play)
    if not (folder / "rehearsal.html").is_file():
        raise RuntimeError("the first look wrote no report")
    return spent


def main() -> int:
    program = find_browser()
    if program is None:
        print("bench-report needs Chromium (apt install chromium)")
        return 2
    missed = []
    rows = []
    with tempfile.TemporaryDirectory(prefix="immutable-bench-") as temporary:
        folder = Path(temporary)
        browser = Browser(program, folder)
        for name, facts in (("3", report_pages.small()), ("1,000", report_pages.large())):
            began = time.monotonic()
            page = report_pages.page(facts)
            writing = time.monotonic() - began
            drawn = drawing(browser, folder, page)
            rows.append((name, f"{len(page) / 1000:,.0f} kB", f"{writing:.2f} s", f"{drawn:.2f} s"))
            missed += [f"{name}: {len(page)} bytes"] if len(page) > MOST_BYTES else []
            missed += [f"{name}: drawn in {drawn:.2f} s"] if drawn > MOST_DRAWING else []
        look = first_look(folder)
    missed += [f"first look: {look:.1f} s"] if look > MOST_LOOK else []
    print(Table(("instances", "page", "writing", "drawing"), rows).text())
    print(f"\nfirst look: {look:.1f} s for the rehearsal and its report")
    for line in missed:
        print(f"MISSED  {line}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
