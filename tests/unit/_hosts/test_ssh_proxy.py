# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a real ssh reaches a host through the program of a definition."""

from __future__ import annotations

import json
import shlex
import socket
import subprocess
import sys
from pathlib import Path

from ansible_collections.immutable.infra.plugins.plugin_utils._hosts.ssh import host_vars
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import FLEET, RUNNING, Instance
from ansible_collections.immutable.infra.tests.support import proxy_program


def test_ssh_connects_through_the_program_of_the_definition(tmp_path: Path) -> None:
    """A real ssh starts the program with its arguments as they are written, and talks through it."""
    seen = tmp_path / "arguments"
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        port = server.getsockname()[1]
        odd = ["--id={instance_id}", "a b", "it's", "%h", "$HOME", '{"portNumber": ["{port}"]}']
        proxy = [sys.executable, proxy_program.__file__, str(seen), "{host}", "{port}", *odd]
        instance = Instance(
            id="i-0123",
            fleet="shop-prod",
            slot=0,
            image="sha256:1",
            launch="l",
            state=RUNNING,
            purpose=FLEET,
            created=0.0,
            nonce="n",
            endpoints={22: ("127.0.0.1", port)},
        )
        arguments = host_vars(instance, None, tmp_path / "known_hosts", proxy)["ansible_ssh_args"]
        command = ["ssh", "-F", "/dev/null", *shlex.split(arguments), "-p", "9", "root@192.0.2.1", "true"]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as client:
            peer, _address = server.accept()
            with peer:
                assert peer.recv(100).startswith(b"SSH-2.0-")
            client.communicate(timeout=60)
    assert json.loads(seen.read_text()) == [
        "127.0.0.1", str(port), "--id=i-0123", "a b", "it's", "%h", "$HOME", f'{{"portNumber": ["{port}"]}}'
    ]  # fmt: skip
