# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Commands for virtual machines that tests start themselves."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.immutable.infra.plugins.plugin_utils._providers.accel import Accel
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.confinement import QEMU


def run(argv: Sequence[object]) -> None:
    """Run a command. Raises CalledProcessError if it fails."""
    subprocess.run([str(word) for word in argv], check=True)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def make_key(private: Path) -> str:
    """Create an SSH key pair. Returns the public key."""
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", private])
    return private.with_suffix(".pub").read_text(encoding="utf-8")


def qemu_command(disk: Path, overlay: Path, accel: Accel, memory: int) -> list[str]:
    """The start of a QEMU command for a machine that boots from a new overlay of ``disk``.

    Args:
        memory: in MiB.
    """
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", disk, overlay])
    machine = ["-nodefaults", "-no-user-config", "-machine", "pc", *accel.options, "-m", str(memory)]
    return [QEMU, *machine, "-display", "none", "-drive", f"file={overlay},if=virtio,format=qcow2"]


def ssh(
    port: int,
    key: Path,
    command: str,
    *,
    options: Mapping[str, str],
    stdin: Any = subprocess.DEVNULL,
    user: str = "root",
) -> subprocess.CompletedProcess[str]:
    """Run a command in a machine whose SSH port is forwarded to loopback."""
    flags = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    argv = ["ssh", "-F", "none", "-o", "BatchMode=yes", *flags, "-i", str(key), "-p", str(port)]
    return subprocess.run(
        [*argv, f"{user}@127.0.0.1", command], capture_output=True, text=True, check=False, stdin=stdin
    )


def ssh_known(
    folder: Path, port: int, host_key: str, command: str, *, user: str = "root"
) -> subprocess.CompletedProcess[str]:
    """As ``ssh``, with the private key ``key`` in the folder, and only to a machine with this host key."""
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}\n", encoding="utf-8")
    options = {"UserKnownHostsFile": f"{folder}/known_hosts", "StrictHostKeyChecking": "yes"}
    return ssh(port, folder / "key", command, options=options, user=user)
