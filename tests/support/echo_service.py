# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The service that tests bake and run: it echoes settings and secrets over HTTP, and keeps words in a file."""

from __future__ import annotations

TOKEN = "ECHO_TOKEN"  # name of the environment variable that holds the service's secret

INSTALL = """
- name: Install the echo service
  hosts: all
  gather_facts: false
  tasks:
    - name: Install its program
      ansible.builtin.copy:
        src: echo.py
        dest: /usr/local/bin/echo-service
        mode: "0755"
"""
START = """
    - name: Install its unit
      ansible.builtin.copy:
        src: echo.service
        dest: /etc/systemd/system/echo.service
        mode: "0644"
    - name: Start it at each boot
      ansible.builtin.file:
        src: /etc/systemd/system/echo.service
        path: /etc/systemd/system/multi-user.target.wants/echo.service
        state: link
"""
PROVISION = INSTALL + START.lstrip("\n")
VERIFY = """
- name: Assert what every echo host must do
  hosts: all
  gather_facts: false
  tasks:
    - name: It is sealed
      ansible.builtin.command:
        argv: [grep, -q, '"sealed":true', /etc/ansible/facts.d/immutable.fact]
      changed_when: false
"""
ROOT_IS_READ_ONLY = """\
    - name: Its root is read-only
      ansible.builtin.command:
        argv: [touch, /usr/written]
      register: written
      changed_when: false
      failed_when: "'Read-only file system' not in written.stderr"
"""
# With a command as the first process nothing in the container writes the fact.
VERIFY_COMMAND = f"""
- name: Assert what every echo host must do
  hosts: all
  gather_facts: false
  tasks:
{ROOT_IS_READ_ONLY}"""
UNIT = """
[Unit]
Description=Echo over HTTP
{mounts}
[Service]
EnvironmentFile=-/run/immutable/settings.env
ExecStart=/usr/local/bin/echo-service
[Install]
WantedBy=multi-user.target
"""
PROGRAM = """#!/usr/bin/python3
import os
import signal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FOLDER = "{folder}"
FILE = FOLDER + "/words"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        broken = self.path == "/healthz" and os.environ.get("broken") == "yes"
        answers = {
            "/words": lambda: open(FILE, "rb").read() if os.path.exists(FILE) else b"",
            "/token": lambda: open("/run/immutable/secrets/token", "rb").read(),
            "/room": lambda: str(os.statvfs(FOLDER).f_blocks * os.statvfs(FOLDER).f_frsize).encode(),
            "/version": lambda: b"{version}",
        }
        answer = answers.get(self.path, lambda: os.environ.get("greeting", "").encode())
        self.answer(500 if broken else 200, answer())

    def do_POST(self):
        with open(FILE, "ab", buffering=0) as file:  # so that fsync finds all of it in the kernel
            file.write(self.rfile.read(int(self.headers["Content-Length"])))
            os.fsync(file.fileno())
        self.answer(201, b"")

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


# The first process of a container ends by a signal only if it handles it.
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
# A client that connects and then stops for a while keeps no other one waiting.
ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""


def program(folder: str, version: str) -> str:
    """The service's program.

    Args:
        folder: of its words.
    """
    return PROGRAM.replace("{folder}", folder).replace("{version}", version)


def unit(data: bool) -> str:
    return UNIT.format(mounts="RequiresMountsFor=/var/lib/echo" if data else "")
