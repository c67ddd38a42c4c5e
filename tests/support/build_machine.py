# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A virtual machine that stands for an instance of EC2 while Packer provisions it: it starts when EC2 is asked to, with the key pair asked for."""

from __future__ import annotations

import base64
import socket
import subprocess
import tarfile
import time
from pathlib import Path
from typing import Any

from ansible_collections.immutable.infra.plugins.module_utils._supervised import Supervised
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.accel import QEMU, choose
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.guest_document import launch_document

from .aws.answers import Answer
from .aws.calls import Call
from .aws.proxy import Proceed
from .aws.server import Cloud
from .machines import STORE

USER = "admin"
BOOT = 300.0  # seconds
SUDO = ("etc/pam.d/sudo", "etc/sudoers", "usr/bin/sudo", "usr/libexec/sudo")
# What a cloud's own image has: a user who may use sudo, and the key under its pair's name.
SETUP = """set -e
useradd -m -s /bin/bash {user}
echo '{user} ALL=(ALL) NOPASSWD:ALL' > /etc/sudoers.d/{user}
install -d -m 0700 -o {user} /home/{user}/.ssh
echo '{key} {name}' > /home/{user}/.ssh/authorized_keys
chown {user} /home/{user}/.ssh/authorized_keys
echo 'AuthorizedKeysFile /run/immutable/authorized_keys .ssh/authorized_keys' > /etc/ssh/sshd_config.d/00-cloud.conf
systemctl reload ssh
"""


class BuildMachine:
    """A context manager. ``port`` is where its SSH server will be found on loopback."""

    def __init__(self, folder: Path, cloud: Cloud, base: Path) -> None:
        self._folder = folder
        self._cloud = cloud
        self._base = base
        self._process: Any = None
        self.port = _free_port()
        cloud.proxy.layers.insert(0, self._layer)

    def __enter__(self) -> BuildMachine:
        return self

    def __exit__(self, *error: Any) -> None:
        self._cloud.proxy.layers.remove(self._layer)
        if self._process:
            self._process.__exit__(*error)

    def _layer(self, call: Call, proceed: Proceed) -> Answer:
        if call.action == "RunInstances":
            self._boot(call.parameters["KeyName"])
        return proceed(call)

    def _boot(self, name: str) -> None:
        folder, key = self._folder, self._folder / "own"
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
        launch = folder / "launch.tar"
        launch.write_bytes(
            launch_document({"authorized_keys": key.with_suffix(".pub").read_bytes(), "purpose": b"bake\n"})
        )
        disk = folder / "root.qcow2"
        _run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", self._base, disk)
        argv = [
            QEMU,
            "-nodefaults",
            "-no-user-config",
            "-machine",
            "pc",
            *choose(STORE / "qemu", self._base).options,
            "-m",
            "1024",
            "-display",
            "none",
        ]
        argv += [
            "-fw_cfg",
            f"name=opt/immutable/launch,file={launch}",
            "-drive",
            f"file={disk},if=virtio,format=qcow2",
            "-device",
            "virtio-rng-pci",
        ]
        argv += [
            "-netdev",
            f"user,id=net,hostfwd=tcp:127.0.0.1:{self.port}-:22",
            "-device",
            "virtio-net-pci,netdev=net",
            "-serial",
            "null",
        ]
        self._process = Supervised(argv, grace=1.0)
        self._process.__enter__()
        imported = next(
            call for call in self._cloud.calls("ec2", "ImportKeyPair") if call.parameters["KeyName"] == name
        )
        public = base64.b64decode(imported.parameters["PublicKeyMaterial"]).decode().split()[:2]
        self._until_up()
        self._install_sudo()
        self._root(SETUP.format(user=USER, key=" ".join(public), name=name))

    def _install_sudo(self) -> None:
        """Our own base has none, and the machine needs no network for it."""
        tree, small = self._folder / "tree.tar", self._folder / "sudo.tar"
        _run("mmdebstrap", "--quiet", "--variant=extract", "--include=sudo", "bookworm", tree)
        with tarfile.open(tree) as whole, tarfile.open(small, "w") as part:
            for entry in whole:
                if entry.name.removeprefix("./").startswith(SUDO):
                    part.addfile(entry, whole.extractfile(entry) if entry.isreg() else None)
        with small.open("rb") as files:
            self._root("tar -x -C /", stdin=files)

    def _until_up(self) -> None:
        deadline = time.monotonic() + BOOT
        while self._ssh("true").returncode != 0:
            assert time.monotonic() < deadline, "the build machine does not boot"

    def _root(self, command: str, **more: Any) -> str:
        done = self._ssh(command, **more)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def look(self, command: str) -> str:
        """What a command says in the machine, as root."""
        return self._root(command)

    def _ssh(self, command: str, stdin: Any = subprocess.DEVNULL) -> subprocess.CompletedProcess[str]:
        options = [
            "-o",
            "UserKnownHostsFile=/dev/null",
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "BatchMode=yes",
            "-o",
            "ConnectTimeout=20",
        ]
        argv = [
            "ssh",
            "-F",
            "none",
            *options,
            "-i",
            str(self._folder / "own"),
            "-p",
            str(self.port),
            "root@127.0.0.1",
            command,
        ]
        return subprocess.run(argv, capture_output=True, text=True, check=False, stdin=stdin)


def _run(*argv: object, **more: Any) -> None:
    subprocess.run([str(word) for word in argv], check=True, **more)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
