# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A fleet's load balancer on this machine: HAProxy, controlled through its runtime API.

Members are added and removed while it runs. A restarted HAProxy has no members, so the engine registers them again.
"""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from ..._core.documents import mismatch, parse_json
from ..._core.errors import TrafficError
from ..._core.files import make_private_folder, remove_documented, write_atomically
from ..._core.unprivileged import user_for
from ..._definition.model import TrafficSpec
from ..._definition.probes import Health
from ..._providers.contract import Member
from .config import (
    AUTHORITIES,
    BACKEND,
    ROOT,
    TakenOver,
    bracketed,
    check_options,
    confined,
    render,
    speaks_http,
)
from .process import CONFIG, Process, version
from .runtime import run_commands
from .state import Server, parse_servers

STATE = "state.json"
_NAME = re.compile(r"[A-Za-z0-9_.:-]+")
_START_TRIES = 3  # another process may take a free port before HAProxy binds it
_DELETE_TIMEOUT = 10.0  # seconds for a member's last connections to be closed
_POLL = 0.05  # seconds


class _State(TypedDict):
    port: int
    settings: str


class HAProxy:
    """See ``contract.Traffic``.

    Args:
        directory: belongs to this balancer alone and is removed with it.
        health: what its checks ask for.
    """

    kind = "haproxy"
    shared = False

    def __init__(self, directory: Path, fleet: str, spec: TrafficSpec, health: Health) -> None:
        self._folder = directory.absolute()
        self._fleet = fleet
        self._spec = spec
        self._health = health
        self._process = Process(self._folder)

    def ensure(self) -> bool:
        port = self._spec.port or self._saved_port()
        running = self._process.pid() is not None
        if running and port is not None and self._settings(port) == self._saved().get("settings"):
            return False
        make_private_folder(self._folder)
        members = [server.taken_over() for server in self._servers()] if running else []
        if port is not None:
            self._start(port, members)
            return True
        for attempt in range(_START_TRIES):
            try:
                self._start(_free_port(self._spec.bind), members)
                break
            except TrafficError as error:
                if attempt == _START_TRIES - 1 or "cannot bind" not in error.message:
                    raise
        return True

    def check_deadline(self, deadline: float) -> None:
        """Accepts every deadline: HAProxy checks a new member every second."""

    def members(self) -> list[Member]:
        servers = self._servers()
        now = time.time()  # after the answer: a drain must not seem older than it is if HAProxy answers late
        return [server.member(now) for server in servers]

    def register(self, endpoints: Mapping[str, tuple[str, int]], staged: bool = False) -> None:
        if not endpoints:
            return
        present = {server.id: server for server in self._query_servers()}
        commands, checks = [], check_options(self._health)
        for name, (address, port) in endpoints.items():
            path, server = _path(name), present.get(name)
            if server is None:
                commands.append(f"add server {path} {bracketed(address)}:{port} {checks}")
            elif server.address != (address, port):
                commands.append(f"set server {path} addr {address} port {port}")
            if server is None or server.checked:
                commands.append(f"enable health {path}")
            if server is None or (server.checked and server.address != (address, port)):
                # HAProxy takes a server for healthy until its first check fails. This one is down until it passes. The
                # order matters: a server that leaves maintenance is up again.
                commands += [f"set server {path} state drain", f"set server {path} health down"]
            # A staged member that is in service stays in service.
            waits = staged and (server is None or server.draining)
            commands.append(f"set server {path} state {'drain' if waits else 'ready'}")
        self._run(commands, allowed=("new server registered", "changed from", "no need to change"))

    def switch(self, on: Sequence[str], off: Sequence[str]) -> None:
        present = {server.id for server in self._servers()}
        unknown = [name for name in on if name not in present]
        if unknown:
            raise TrafficError(
                f"{', '.join(unknown)} cannot be put in service: the balancer does not know it (register it first)"
            )
        # In this order and over one connection, so that at every moment some member is in service.
        commands = [f"set server {_path(name)} state ready" for name in on]
        self._run(commands + [f"set server {_path(name)} state drain" for name in off if name in present])

    def drain(self, ids: Sequence[str], timeout: float) -> None:  # noqa: ARG002 - HAProxy keeps drained members
        present = {server.id for server in self._servers()}
        self._run([f"set server {_path(name)} state drain" for name in ids if name in present])

    def drain_time(self) -> float | None:
        return None

    def deregister(self, ids: Sequence[str]) -> None:
        present = {server.id for server in self._servers()}
        left = [name for name in ids if name in present]
        self._run([f"set server {_path(name)} state maint" for name in left])
        deadline = time.monotonic() + _DELETE_TIMEOUT
        while left := self._delete(left):
            if time.monotonic() > deadline:
                raise TrafficError(f"HAProxy cannot delete {', '.join(left)}: connections stay open")
            time.sleep(_POLL)

    def remove(self) -> None:
        self._process.stop()
        if not remove_documented(self._folder, STATE):
            remove_documented(self._folder, CONFIG)  # a start was interrupted

    def describe(self) -> dict[str, Any]:
        port = self._spec.port or self._saved_port()
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._spec.bind, self._spec.bind)
        scheme = "http" if speaks_http(self._health) else "https" if self._health.https else "tcp"
        endpoint = f"{scheme}://{bracketed(host)}:{port}" if port else None
        return {"kind": self.kind, "endpoint": endpoint, "pid": self._process.pid(), "version": version()}

    def _start(self, port: int, members: Sequence[TakenOver]) -> None:
        if self._health.https and self._health.https.ca:
            write_atomically(self._folder / AUTHORITIES, self._health.https.ca.encode())
        config = render(self._fleet, self._spec.bind, port, self._health, members=members)
        # Not in the settings that are compared, so a process that an earlier release started goes on as it is.
        user = user_for(self._folder)
        if user is not None:
            make_private_folder(self._folder / ROOT)
            config = confined(config, user)
        write_atomically(self._process.config, config.encode())
        self._process.start()
        self._run([f"set server {_path(member.id)} state drain" for member in members if member.draining])
        # Last, so that an interrupted start is repeated.
        write_atomically(self._folder / STATE, json.dumps({"port": port, "settings": self._settings(port)}).encode())

    def _settings(self, port: int) -> str:
        return render(self._fleet, self._spec.bind, port, self._health)

    def _saved(self) -> dict[str, Any]:
        try:
            saved = parse_json((self._folder / STATE).read_bytes())
        except (FileNotFoundError, ValueError):  # it is written again with the next start
            return {}
        return {} if mismatch(saved, _State) else dict(saved)

    def _saved_port(self) -> int | None:
        return self._saved().get("port")

    def _servers(self) -> list[Server]:
        if self._process.pid() is None:
            return []
        return self._query_servers()

    def _query_servers(self) -> list[Server]:
        states, stats = self._ask([f"show servers state {BACKEND}", f"show stat {BACKEND} 4 -1"])
        return parse_servers(states, stats)

    def _ask(self, commands: Sequence[str]) -> list[str]:
        """Send commands to the process of the pid file, never to one that it replaces."""
        pid = self._process.pid()
        if pid is None:
            raise TrafficError(f"HAProxy does not run (its folder: {self._folder})")
        return run_commands(self._process.socket, commands, pid)

    def _run(self, commands: Sequence[str], allowed: Sequence[str] = ()) -> None:
        """Run commands. Raises TrafficError if one answers with a text that contains none of the words ``allowed``."""
        if not commands:
            return
        for command, answer in zip(commands, self._ask(commands), strict=True):
            if answer and not any(words in answer.lower() for words in allowed):
                raise TrafficError(f"HAProxy refused '{command}': {answer}")

    def _delete(self, ids: Sequence[str]) -> list[str]:
        """Delete members in maintenance and close their open connections. Returns those that cannot be deleted yet."""
        if not ids:
            return []
        commands = [
            command
            for name in ids
            for command in (f"shutdown sessions server {_path(name)}", f"del server {_path(name)}")
        ]
        answers = self._ask(commands)[1::2]
        return [
            name
            for name, answer in zip(ids, answers, strict=True)
            if not answer.startswith(("Server deleted", "No such server"))
        ]


def _path(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise TrafficError(f"{name!r} is not a valid name of a member (allowed: letters, digits and . _ : -)")
    return f"{BACKEND}/{name}"


def _free_port(bind: str) -> int:
    with socket.socket(socket.AF_INET6 if ":" in bind else socket.AF_INET) as sock:
        sock.bind((bind, 0))
        port: int = sock.getsockname()[1]
        return port
