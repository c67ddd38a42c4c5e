# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A replacement for haproxy: its runtime API keeps members, which all pass their checks. It takes no requests."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

LONGEST = 300  # seconds until the process ends in any case
STATES = "srv_name srv_addr srv_port srv_admin_state srv_check_state srv_time_since_last_change"
DRAINED, CHECKED = "8", "2"


class Members:
    def __init__(self) -> None:
        self.known: dict[str, tuple[str, str]] = {}  # address and port
        self.drained: dict[str, str] = {}

    def answer(self, line: str) -> str:
        words = line.split()
        name = next((word.partition("/")[2] for word in words if "/" in word), "")
        if words[:2] == ["add", "server"]:
            address, _colon, port = words[3].rpartition(":")
            self.known[name], self.drained[name] = (address, port), DRAINED
            return "New server registered."
        if words[:2] == ["set", "server"]:
            self.drained[name] = "0" if words[-1] == "ready" else DRAINED
        if words[:3] == ["show", "servers", "state"]:
            rows = [
                f"{each} {address} {port} {self.drained[each]} {CHECKED} 7"
                for each, (address, port) in self.known.items()
            ]
            return "\n".join(["1", f"# {STATES}", *rows])
        if words[:2] == ["show", "info"]:
            return f"Pid: {os.getpid()}"
        if words[:2] == ["show", "stat"]:
            return "\n".join(
                ["# svname,status,check_status,scur,qcur", *(f"{each},UP,L7OK,0,0" for each in self.known)]
            )
        return ""


def serve(listening: socket.socket) -> None:
    members = Members()
    while True:
        connection, _peer = listening.accept()
        with connection, connection.makefile("r", encoding="utf-8") as lines:
            for line in lines:
                if line == "quit\n":
                    break
                connection.sendall(f"{members.answer(line)}\n\n> ".encode())


def main(argv: list[str]) -> None:
    if "-v" in argv:
        print("HAProxy version 2.6.12-golden")
        return
    folder, pid = (Path(argv[argv.index(option) + 1]) for option in ("-C", "-p"))
    os.chdir(folder)
    Path("admin.sock").unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind("admin.sock")
    listening.listen()
    child = os.fork()
    if child:
        pid.write_text(f"{child}\n", encoding="ascii")
        return
    os.setsid()
    signal.alarm(LONGEST)
    for number in range(3):
        os.dup2(os.open(os.devnull, os.O_RDWR), number)
    serve(listening)


if __name__ == "__main__":
    main(sys.argv[1:])
