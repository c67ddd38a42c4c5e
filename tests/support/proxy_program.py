# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A proxy command: connects its input and output to a port. Its arguments are written to a file first.

python proxy_program.py FILE HOST PORT [MORE...]
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading


def main() -> None:
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        json.dump(sys.argv[2:], file)
    with socket.create_connection((sys.argv[2], int(sys.argv[3]))) as server:
        threading.Thread(target=_send, args=(server,), daemon=True).start()
        while data := server.recv(65536):
            os.write(1, data)


def _send(server: socket.socket) -> None:
    while data := os.read(0, 65536):
        server.sendall(data)
    os._exit(0)


if __name__ == "__main__":
    main()
