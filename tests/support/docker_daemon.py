# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A Docker of a test's own: its data, its socket and its containers are below one folder.

It changes no network of this machine: it has none at all, or one in a namespace of its own.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from .waiting import until


@dataclass(frozen=True)
class Daemon:
    """A running daemon.

    Attributes:
        address: for ``DOCKER_HOST``.
        prefix: the start of commands that run in its network.
    """

    address: str
    prefix: Sequence[str] = ()


@contextmanager
def docker_daemon(folder: Path, group: int | None = None) -> Iterator[Daemon]:
    """Run Docker's daemon in a new folder. The test is skipped without root or programs, and where it does not start.

    Args:
        group: number of the group that may use it. It then has a network of its own, with its usual bridge.
    """
    if os.geteuid() != 0:
        pytest.skip("docker's daemon needs root")
    for program in ("dockerd", "docker"):
        if shutil.which(program) is None:
            pytest.skip("needs docker (Debian: apt install docker.io)")
    folder.mkdir(mode=0o711)
    socket = folder / "docker.sock"
    places = {"data-root": "data", "exec-root": "exec", "pidfile": "pid"}
    command = ["dockerd", "--iptables=false", "--ip6tables=false", f"--host=unix://{socket}"]
    command += [f"--{option}={folder / name}" for option, name in places.items()]
    if group is None:
        command += ["--bridge=none"]
    else:
        command = [
            "unshare",
            "--net",
            "sh",
            "-c",
            f"ip link set lo up && exec {shlex.join([*command, f'--group={group}'])}",
        ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    daemon = Daemon(f"unix://{socket}", [] if group is None else ["nsenter", f"--net=/proc/{process.pid}/ns/net"])
    environment = {**os.environ, "DOCKER_HOST": daemon.address}
    try:
        until(lambda: process.poll() is not None or _docker(environment, "version").returncode == 0)
        if process.poll() is not None:
            pytest.skip(f"docker's daemon does not start here: {(folder / 'log').read_text()[-300:]}")
        yield daemon
        containers = _docker(environment, "ps", "--all", "--quiet").stdout.split()
        assert containers == []
    finally:
        if process.poll() is None and (containers := _docker(environment, "ps", "--all", "--quiet").stdout.split()):
            _docker(environment, "rm", "--force", "--volumes", *containers)
        process.terminate()
        process.wait(timeout=120)


def _docker(environment: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], env=environment, capture_output=True, text=True, check=False)
