# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A replacement for qemu-system-x86_64: it prints a line of evidence and answers on its forwarded ports."""

from __future__ import annotations

import http.server
import json
import os
import re
import signal
import socket
import sys
import threading
from pathlib import Path

LONGEST = 300  # seconds until the process ends in any case
PRINTED = threading.Event()


class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        pass


def main(argv: list[str]) -> None:
    if "--version" in argv:
        print("QEMU emulator version 9.0.0 (golden)")
        return
    words = " ".join(argv)
    ports = re.findall(r"hostfwd=tcp:127\.0\.0\.1:(\d+)-", words)
    control, console = re.search(r"id=qmp,fd=(\d+)", words), re.search(r"id=console,path=/dev/fdset/(\d+)", words)
    if "-pidfile" not in argv and not (control and console):
        sys.exit(1)  # a probe for what this machine can do
    servers = [http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Healthy) for port in ports]
    if control and console:
        file = Path(os.readlink(f"/proc/self/fd/{console[1]}"))
        threading.Thread(target=answer, args=(socket.socket(fileno=int(control[1])),), daemon=True).start()
    else:
        file = Path("console.log").absolute()
        become_daemon(Path(argv[argv.index("-pidfile") + 1]))
    signal.alarm(LONGEST)
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    facts = json.loads(file.with_name("machine.json").read_text(encoding="utf-8"))
    said = {
        "digest": facts["image"],
        "nonce": facts["nonce"],
        "host_key": "ssh-ed25519 AAAAGolden",
        "shell": "restricted",
    }
    file.write_text(f"IMMUTABLE-LAUNCHED\n\nIMMUTABLE-SEALED {json.dumps(said)}\n", encoding="utf-8")
    PRINTED.set()
    signal.pause()


def become_daemon(pid_file: Path) -> None:
    """As a QEMU of earlier releases did."""
    reader, writer = os.pipe()
    if os.fork():
        os.close(writer)
        os.read(reader, 1)
        sys.exit(0)
    os.setsid()
    pid_file.write_text(f"{os.getpid()}\n", encoding="ascii")
    for number in range(3):
        os.dup2(os.open(os.devnull, os.O_RDWR), number)
    os.close(reader)
    os.close(writer)


def answer(listening: socket.socket) -> None:
    """Take every command for done, once the guest has printed its evidence."""
    while True:
        with listening.accept()[0] as connection, connection.makefile("rw", encoding="utf-8") as lines:
            lines.write('{"QMP": {}}\n')
            lines.flush()
            for _command in lines:
                PRINTED.wait()
                lines.write('{"return": {}}\n')
                lines.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
