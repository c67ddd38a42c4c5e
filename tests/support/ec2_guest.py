# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A virtual machine in an environment like that of an EC2 instance.

It has EC2's manufacturer in its firmware, the metadata service, a root file system that can be written, and NVMe disks.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import Any

import yaml
from ansible_collections.immutable.infra.plugins.module_utils._seal import Spec
from ansible_collections.immutable.infra.plugins.module_utils._supervised import Supervised
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.accel import Accel
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import LaunchRequest
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.qemu import qmp

from .guests import free_port, make_key, qemu_command, run, ssh_known
from .sealed_guest import DIGEST

ROLES = Path(__file__).parents[2] / "roles"
NONCE = "n-of-this-launch"
CLOUD = ("cloud-init", "netplan.io", "systemd-resolved", "libnss-resolve")  # as in Debian's images for EC2
HOST = "169.254.0.2"  # the guest's address of this machine's loopback
TIMEOUT = 900.0  # seconds for one boot under emulation on a busy machine
FSTAB = "/dev/vda2 / ext4 rw,discard,errors=remount-ro,x-systemd.growfs 0 1\n"
# Written by cloud-init on the build machine, for a network card that no other machine has.
NETPLAN = """network:
  version: 2
  ethernets:
    ens5: {match: {macaddress: '06:00:00:00:00:01'}, dhcp4: true, set-name: ens5}
"""
SEAL = """
import json, sys
from ansible_collections.immutable.infra.plugins.module_utils._seal import Spec, seal
root, role, spec = sys.argv[1:]
with open(spec, encoding="utf-8") as file:
    seal(root, [f"{role}/files/launch", f"{role}/files/seal"], Spec(**json.load(file)))
"""
# QEMU starts it for each connection to the address of the metadata service.
RELAY = """
import os, socket, sys
from threading import Thread

there = socket.create_connection(("127.0.0.1", int(sys.argv[1])))


def forward():
    while data := os.read(0, 65536):
        there.sendall(data)


Thread(target=forward, daemon=True).start()
while data := there.recv(65536):
    os.write(1, data)
"""


def build(
    folder: Path,
    spec: Spec,
    files: Path,
    packages: Sequence[str] = (),
    script: str = "true",
    *,
    cloud: Sequence[str] = CLOUD,
) -> Path:
    """Build a sealed Debian image like a cloud's. Returns a bootable qcow2 disk.

    Args:
        files: a tree that is copied into it.
        packages: additional ones.
        script: for the image's shell, before the seal.
        cloud: packages for the network.
    """
    variables = yaml.safe_load((ROLES / "base_image/vars/main.yml").read_text(encoding="utf-8"))
    initramfs = "etc/initramfs-tools"
    shutil.copytree(ROLES / "base_image/files/base" / initramfs, folder / "kernel" / initramfs)
    written = {"etc/fstab": FSTAB, "etc/netplan/50-cloud-init.yaml": NETPLAN, "etc/hostname": "ip-10-0-0-1\n"}
    for path, text in {**{files / name: text for name, text in written.items()}, folder / "seal.py": SEAL}.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (folder / "spec.json").write_text(json.dumps(asdict(spec)), encoding="utf-8")
    seal = [sys.executable, str(folder / "seal.py")]
    hooks = [
        f"sync-in {quote(str(files))} /",
        f'chroot "$1" sh -ec {quote(script)}',
        f'chroot "$1" systemctl -q mask {shlex.join(variables["base_image_masked"])}',
        f'{shlex.join(seal)} "$1" {shlex.join([str(ROLES / "seal"), str(folder / "spec.json")])}',
    ]
    argv = [
        "mmdebstrap",
        "--quiet",
        "--variant=apt",
        f"--include={','.join([*variables['base_image_needed'], *cloud, *packages])}",
        '--aptopt=APT::Install-Recommends "false"',
        '--aptopt=Acquire::Languages "none"',
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        f"--essential-hook=sync-in {quote(str(folder / 'kernel'))} /",
        *(f"--customize-hook={hook}" for hook in hooks),
    ]
    run([*argv, "bookworm", folder / "root.tar"])
    as_root = [] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--map-auto", "--"]
    disk = folder / "disk.qcow2"
    run([*as_root, ROLES / "base_image/files/assemble", folder / "root.tar", disk, "3G", folder / "work"])
    (folder / "root.tar").unlink()
    return disk


class Ec2Guest:
    """A context manager: the machine runs as long as the context."""

    def __init__(self, folder: Path, disk: Path, accel: Accel, metadata_port: int, root_size: str = "") -> None:
        """``root_size``: of its disk, as qemu-img takes it; "" for the image's."""
        self.folder = folder
        self.output: list[str] = []  # lines of the console
        self._port = free_port()
        (folder / "relay.py").write_text(RELAY, encoding="utf-8")
        relay = shlex.join([sys.executable, str(folder / "relay.py"), str(metadata_port)])
        network = [
            "user,id=net,net=169.254.0.0/16",
            f"host={HOST},dns=169.254.0.3,dhcpstart=169.254.0.15",
            f"hostfwd=tcp:127.0.0.1:{self._port}-:22",
            f"guestfwd=tcp:169.254.169.254:80-cmd:{relay}",
        ]
        self._argv = [
            *qemu_command(disk, folder / "root.qcow2", accel, memory=512),
            *("-smbios", "type=1,manufacturer=Amazon EC2"),
            *("-qmp", f"unix:{folder}/qmp.sock,server=on,wait=off"),
            *("-serial", "file:/dev/stdout"),
            *("-netdev", ",".join(network), "-device", "virtio-net-pci,netdev=net", "-device", "virtio-rng-pci"),
        ]
        if root_size:
            run(["qemu-img", "resize", "-q", folder / "root.qcow2", root_size])

    def __enter__(self) -> Ec2Guest:
        self._process = Supervised(self._argv, grace=1.0)
        self._process.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._process.__exit__(*error)

    def request(self, **more: Any) -> LaunchRequest:
        """Return what it is launched with. Creates the key pair that ``ssh`` uses."""
        return LaunchRequest(
            token="t",
            fleet="shop-aws",
            slot=0,
            image=DIGEST,
            artifact={},
            launch="l",
            nonce=NONCE,
            authorized_keys=(make_key(self.folder / "key"),),
            **more,
        )

    def wait_for(self, mark: str, seconds: float = TIMEOUT) -> str:
        """Return the next line of the console that contains ``mark``."""
        for line in self._process.lines(seconds):
            self.output.append(line)
            if mark in line:
                return line
        raise AssertionError(f"the console did not print {mark}:\n" + "\n".join(self.output[-100:]))

    def reset(self) -> None:
        qmp.execute(self.folder / "qmp.sock", [("system_reset", {})])

    def attach(self, serial: str, size: int) -> None:
        """Attach a new blank disk, as EC2 attaches an EBS volume."""
        file = self.folder / f"{serial}.raw"
        with open(file, "ab") as disk:
            disk.truncate(size)
        node = {"driver": "raw", "node-name": serial, "file": {"driver": "file", "filename": str(file)}}
        device = {"driver": "nvme", "id": f"disk-{serial}", "drive": serial, "serial": serial}
        qmp.execute(self.folder / "qmp.sock", [("blockdev-add", node), ("device_add", device)])

    def ssh(self, command: str, host_key: str) -> subprocess.CompletedProcess[str]:
        return ssh_known(self.folder, self._port, host_key, command)
