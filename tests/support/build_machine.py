# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A virtual machine that acts as an EC2 instance while Packer provisions it.

It starts when EC2 gets the launch, with the key pair that the launch names. It is shut down when EC2 stops it, and the
AMI has the data of its disk.
"""

from __future__ import annotations

import base64
import subprocess
import tarfile
import time
from pathlib import Path
from typing import Any

from ansible_collections.immutable.infra.plugins.module_utils._supervised import Supervised
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.accel import choose
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.guest_document import launch_document

from .aws import seeds
from .aws.answers import Answer
from .aws.calls import Call
from .aws.proxy import Proceed
from .aws.server import Cloud
from .guests import free_port, make_key, qemu_command, run, ssh
from .machines import STORE

USER = "admin"
BOOT = 900.0  # seconds, under emulation on a busy machine
SUDO = ("etc/pam.d/sudo", "etc/sudoers", "usr/bin/sudo", "usr/libexec/sudo")
# What a cloud's own image has: a user with sudo, and the public key of the launch.
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
    """A context manager. ``port`` is the port of its SSH server on loopback."""

    def __init__(self, folder: Path, cloud: Cloud, base: Path) -> None:
        self._folder = folder
        self._cloud = cloud
        self._base = base
        self._process: Any = None
        self.port = free_port()
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
        if call.action == "StopInstances":
            self._shut_down()
        if call.action == "CreateImage":
            self._cloud.set(disk=self._snapshot())
        return proceed(call)

    def _shut_down(self) -> None:
        self._ssh("systemctl poweroff")
        for _line in self._process.lines():  # until QEMU ends
            pass

    def _snapshot(self) -> str:
        raw = self._folder / "root.raw"
        run(["qemu-img", "convert", "-O", "raw", self._folder / "root.qcow2", raw])
        return seeds.snapshot(self._cloud, raw)

    def _boot(self, name: str) -> None:
        folder = self._folder
        public_key = make_key(folder / "own").encode()
        launch = folder / "launch.tar"
        launch.write_bytes(launch_document({"authorized_keys": public_key, "purpose": b"bake\n"}))
        accel = choose(STORE / "qemu", self._base)
        argv = [
            *qemu_command(self._base, folder / "root.qcow2", accel, memory=1024),
            *("-fw_cfg", f"name=opt/immutable/launch,file={launch}", "-device", "virtio-rng-pci"),
            *("-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{self.port}-:22"),
            *("-device", "virtio-net-pci,netdev=net", "-serial", "null"),
        ]
        self._process = Supervised(argv, grace=1.0)
        self._process.__enter__()
        imported = next(
            call for call in self._cloud.calls("ec2", "ImportKeyPair") if call.parameters["KeyName"] == name
        )
        public = base64.b64decode(imported.parameters["PublicKeyMaterial"]).decode().split()[:2]
        self._wait_for_ssh()
        self._install_sudo()
        self._root(SETUP.format(user=USER, key=" ".join(public), name=name))

    def _install_sudo(self) -> None:
        """Install sudo, which the base lacks, without a network in the machine."""
        all_files, sudo_files = self._folder / "tree.tar", self._folder / "sudo.tar"
        run(["mmdebstrap", "--quiet", "--variant=extract", "--include=sudo", "bookworm", all_files])
        with tarfile.open(all_files) as source, tarfile.open(sudo_files, "w") as target:
            for entry in source:
                if entry.name.removeprefix("./").startswith(SUDO):
                    target.addfile(entry, source.extractfile(entry) if entry.isreg() else None)
        with sudo_files.open("rb") as files:
            self._root("tar -x -C /", stdin=files)

    def _wait_for_ssh(self) -> None:
        deadline = time.monotonic() + BOOT
        while self._ssh("true").returncode != 0:
            assert time.monotonic() < deadline, "the build machine does not boot"

    def _root(self, command: str, **more: Any) -> str:
        done = self._ssh(command, **more)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _ssh(self, command: str, stdin: Any = subprocess.DEVNULL) -> subprocess.CompletedProcess[str]:
        options = {"UserKnownHostsFile": "/dev/null", "StrictHostKeyChecking": "no", "ConnectTimeout": "20"}
        return ssh(self.port, self._folder / "own", command, options=options, stdin=stdin)
