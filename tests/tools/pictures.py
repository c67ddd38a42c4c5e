#!/usr/bin/env python3
# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Record the quickstart in a terminal of its own, and draw it and its report: ``make pictures``.

Writes docs/pictures/quickstart.cast, which asciinema can play, docs/pictures/quickstart.svg, and, by Chromium,
docs/pictures/report.png. The names of this machine and its folders are replaced. An argument names a recording to draw
again. The argument ``report`` draws only the report, of the quickstart that is there.
"""

from __future__ import annotations

import fcntl
import getpass
import os
import pty
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))

from browser import Browser, find_browser  # noqa: E402
from terminal_picture import cast_of, picture, without_names  # noqa: E402  of a folder that is no package here

CAST, PICTURE = ROOT / "docs/pictures/quickstart.cast", ROOT / "docs/pictures/quickstart.svg"
COLUMNS, ROWS = 110, 30
TITLE = "make quickstart: bake, verify, promote and swap a fleet of three sealed hosts"
MOST = 150_000  # bytes of the drawing
REPORT = ROOT / "docs/pictures/report.png"
REPORTED = ROOT / ".quickstart/container"  # the folder of the quickstart
VERSION = "2.0.0"  # that its fleet runs
WINDOW = ("--window-size=960,1330", "--force-device-scale-factor=0.75", "--disable-lcd-text")  # in light mode
COMMAND = [sys.executable, str(ROOT / "examples/quickstart.py")]


def record(argv: list[str]) -> list[tuple[float, str]]:
    """Run a command in a pseudo-terminal. Returns its output with the seconds since its start. Raises SystemExit.

    An event ends with a line, so that no name, character or escape sequence is in two of them.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HH4x", ROWS, COLUMNS))
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "PYTHONUNBUFFERED": "1"}
    began, events, rest = time.monotonic(), [], b""
    with subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
    ) as process:
        os.close(theirs)
        while True:
            try:
                data = os.read(ours, 65536)
            except OSError:  # on Linux, once the other end is closed
                data = b""
            if not data:
                break
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            whole, end, rest = (rest + data).rpartition(b"\n")
            if end:
                events.append((time.monotonic() - began, (whole + end).decode("utf-8", "replace")))
    os.close(ours)
    if process.returncode:
        raise SystemExit(f"{argv[-1]} failed with exit code {process.returncode}; no picture was written")
    return events


def names() -> dict[str, str]:
    """Words of this machine, with what stands for them."""
    return {
        str(ROOT / ".quickstart"): "/srv/quickstart",
        str(ROOT): "/srv/immutable.infra",
        str(Path.home()): "/home/user",
        socket.gethostname(): "controller",
        **({getpass.getuser(): "user"} if getpass.getuser() != "root" else {}),
    }


def report_page(folder: Path) -> str:
    """Return the report of the quickstart's fleet, with the table of instances closed. Raises SystemExit."""
    values = {
        "definition": f"notes-{VERSION}/immutable.yml",
        "store": "store",
        "channel": "prod",
        "report": str(folder / "report.html"),
        "report_predict": "false",
    }
    options = [word for name, value in values.items() for word in ("-e", f"immutable_{name}={value}")]
    done = subprocess.run(["ansible-playbook", "immutable.infra.report", *options], cwd=REPORTED, check=False)
    if done.returncode:
        raise SystemExit("the report failed; no picture was drawn")
    page = without_names((folder / "report.html").read_text(encoding="utf-8"), names())
    return page.replace("<details open>", "<details>")


def draw_report() -> None:
    """Write the picture of the report. Raises SystemExit if there is no Chromium, or the picture is too large."""
    program = find_browser()
    if program is None:
        raise SystemExit("Chromium draws the report: install the package chromium")
    with tempfile.TemporaryDirectory() as name:
        page = Path(name) / "page.html"
        page.write_text(report_page(Path(name)), encoding="utf-8")
        Browser(program, Path(name)).screenshot(page, REPORT, *WINDOW)
    size = REPORT.stat().st_size
    if size > MOST:
        raise SystemExit(f"{REPORT} has {size} bytes (allowed: {MOST})")
    print(f"{REPORT.relative_to(ROOT)}: {size} bytes")


def main(argv: list[str]) -> int:
    if argv == ["report"]:
        draw_report()
        return 0
    if argv:
        cast = Path(argv[0]).read_text(encoding="utf-8")
    else:
        cast = without_names(cast_of(record(COMMAND), COLUMNS, ROWS, TITLE), names())
    drawn = picture(cast)
    if len(drawn.encode("utf-8")) > MOST:
        raise SystemExit(f"the picture has {len(drawn)} bytes (allowed: {MOST})")
    CAST.parent.mkdir(exist_ok=True)
    CAST.write_text(cast, encoding="utf-8")
    PICTURE.write_text(drawn, encoding="utf-8")
    print(f"{PICTURE.relative_to(ROOT)}: {len(drawn)} bytes")
    if not argv:
        draw_report()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
