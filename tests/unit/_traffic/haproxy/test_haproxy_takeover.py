# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""While a new HAProxy takes over from an old one, commands reach the new one."""

from __future__ import annotations

import itertools
import os
import select
import socket
import subprocess
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import TrafficError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.probes import Health, HttpProbe
from ansible_collections.immutable.infra.plugins.plugin_utils._traffic.haproxy import process, runtime
from ansible_collections.immutable.infra.plugins.plugin_utils._traffic.haproxy.balancer import HAProxy
from ansible_collections.immutable.infra.plugins.plugin_utils._traffic.haproxy.runtime import run_commands
from ansible_collections.immutable.infra.tests.support.backends import Backend
from ansible_collections.immutable.infra.tests.support.balancers import states


def test_commands_reach_the_new_process_while_the_old_one_still_accepts(
    balancer: Callable[..., HAProxy],
    backend: Callable[[str], Backend],
    stack: ExitStack,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The old process is not told to stop, so it goes on accepting connections at the shared socket."""
    run = subprocess.run

    def unsignaled(argv: list[str], check: bool = False, **options: object) -> subprocess.CompletedProcess[str]:
        return run(argv[: argv.index("-sf")] if "-sf" in argv else argv, check=check, **options)

    proxy = balancer()
    proxy.ensure()
    service = backend("shop-0")
    proxy.register({"shop-0": service.address})
    old = proxy.describe()["pid"]
    handle = os.pidfd_open(old)
    stack.callback(os.close, handle)
    monkeypatch.setattr(process.subprocess, "run", unsignaled)
    changed = balancer(Health(http=HttpProbe(8080, "/other")))
    assert changed.ensure() is True
    assert changed.describe()["pid"] != old
    for number in range(20):
        name = f"shop-{number + 1}"
        changed.register({name: service.address}, staged=number % 2 == 0)
        assert [member.id for member in changed.members()] == ["shop-0", name]
        changed.drain([name], 30.0)
        assert states(changed)[name] == "drain"
        changed.deregister([name])
    assert [member.id for member in changed.members()] == ["shop-0"]
    changed.remove()
    assert select.select([handle], [], [], 0)[0], "the old process ends with the balancer"


def test_a_process_that_is_not_the_balancer_gets_no_command(
    tmp_path: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers with another pid, or ends the connection, until the deadline."""
    now = iter(range(100))
    monkeypatch.setattr(
        runtime, "time", SimpleNamespace(monotonic=lambda: float(next(now)), sleep=lambda _seconds: None)
    )
    path = tmp_path / "admin.sock"
    listening = stack.enter_context(socket.socket(socket.AF_UNIX))
    listening.bind(str(path))
    listening.listen()
    received: list[bytes] = []

    def answer() -> None:
        with suppress(OSError):
            for number in itertools.count():
                connection, _peer = listening.accept()
                with connection:
                    asked = b""
                    while number % 2 == 0 and b"show info\n" not in asked:
                        asked += connection.recv(4096)
                    connection.sendall(b"\n> Pid: 12\n\n> " if number % 2 == 0 else b"")
                    while more := connection.recv(4096) if number % 2 == 0 else b"":
                        asked += more
                    received.append(asked)

    threading.Thread(target=answer, daemon=True).start()
    with pytest.raises(TrafficError, match="^Another process than HAProxy's process 34 answers at "):
        run_commands(path, ["set server members/shop-0 state drain"], 34)
    assert received
    assert set(received) <= {b"", b"prompt\nshow info\n"}
