# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A virtual machine that finds what an instance of EC2 finds: its maker's name, the metadata service, a root that can be written, disks by NVMe."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import Any

import yaml
from ansible_collections.immutable.infra.plugins.module_utils._seal import Spec
from ansible_collections.immutable.infra.plugins.module_utils._supervised import Supervised
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.accel import QEMU, Accel
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.qemu import qmp

ROLES = Path(__file__).parents[2] / "roles"
CLOUD = ["cloud-init", "netplan.io", "systemd-resolved", "libnss-resolve"]  # as Debian's images for EC2 have them
HOST = "169.254.0.2"  # where the guest sees this machine's loopback
FSTAB = "/dev/vda2 / ext4 rw,discard,errors=remount-ro,x-systemd.growfs 0 1\n"
# What cloud-init wrote on the build machine, for a network card that no other machine has.
NETPLAN = "network: {version: 2, ethernets: {ens5: {match: {macaddress: '06:00:00:00:00:01'}, dhcp4: true, set-name: ens5}}}\n"
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


def build(folder: Path, spec: Spec, files: Path) -> Path:
    """A sealed image of Debian as a cloud has it, with ``files`` laid over it. Returns a bootable qcow2."""
    known = yaml.safe_load((ROLES / "base_image/vars/main.yml").read_text(encoding="utf-8"))
    shutil.copytree(ROLES / "base_image/files/base/etc/initramfs-tools", folder / "kernel/etc/initramfs-tools")
    cloud = {"etc/fstab": FSTAB, "etc/netplan/50-cloud-init.yaml": NETPLAN, "etc/hostname": "ip-10-0-0-1\n"}
    for path, text in {**{files / name: text for name, text in cloud.items()}, folder / "seal.py": SEAL}.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (folder / "spec.json").write_text(json.dumps(asdict(spec)), encoding="utf-8")
    argv = ["mmdebstrap", "--quiet", "--variant=apt", f"--include={','.join([*known['base_image_needed'], *CLOUD])}"]
    argv += [
        '--aptopt=APT::Install-Recommends "false"',
        '--aptopt=Acquire::Languages "none"',
        "--dpkgopt=path-exclude=/usr/share/doc/*",
    ]
    hooks = [
        f"sync-in {quote(str(files))} /",
        f'chroot "$1" systemctl -q mask {shlex.join(known["base_image_masked"])}',
    ]
    hooks.append(
        f'{shlex.join([sys.executable, str(folder / "seal.py")])} "$1" {shlex.join([str(ROLES / "seal"), str(folder / "spec.json")])}'
    )
    argv += [
        f"--essential-hook=sync-in {quote(str(folder / 'kernel'))} /",
        *(f"--customize-hook={hook}" for hook in hooks),
    ]
    subprocess.run([*argv, "bookworm", str(folder / "root.tar")], check=True)
    as_root = [] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--map-auto", "--"]
    disk = folder / "disk.qcow2"
    subprocess.run(
        [
            *as_root,
            str(ROLES / "base_image/files/assemble"),
            str(folder / "root.tar"),
            str(disk),
            "3G",
            str(folder / "work"),
        ],
        check=True,
    )
    (folder / "root.tar").unlink()
    return disk


class Ec2Guest:
    """A context manager: it runs as long as the context."""

    def __init__(self, folder: Path, disk: Path, accel: Accel, metadata_port: int) -> None:
        self.folder = folder
        self.said: list[str] = []
        self._key = folder / "key"
        self._port = _free_port()
        (folder / "relay.py").write_text(RELAY, encoding="utf-8")
        relay = shlex.join([sys.executable, str(folder / "relay.py"), str(metadata_port)])
        net = f"user,id=net,net=169.254.0.0/16,host={HOST},dns=169.254.0.3,dhcpstart=169.254.0.15,hostfwd=tcp:127.0.0.1:{self._port}-:22"
        root = folder / "root.qcow2"
        _run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", disk, root)
        self._argv = [
            QEMU,
            "-nodefaults",
            "-no-user-config",
            "-machine",
            "pc",
            *accel.options,
            "-m",
            "512",
            "-display",
            "none",
        ]
        self._argv += [
            "-smbios",
            "type=1,manufacturer=Amazon EC2",
            "-qmp",
            f"unix:{folder}/qmp.sock,server=on,wait=off",
            "-serial",
            "file:/dev/stdout",
        ]
        self._argv += [
            "-netdev",
            f"{net},guestfwd=tcp:169.254.169.254:80-cmd:{relay}",
            "-device",
            "virtio-net-pci,netdev=net",
            "-device",
            "virtio-rng-pci",
        ]
        self._argv += ["-drive", f"file={root},if=virtio,format=qcow2"]

    def __enter__(self) -> Ec2Guest:
        self._process = Supervised(self._argv, grace=1.0)
        self._process.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._process.__exit__(*error)

    def make_key(self) -> str:
        """The public key of a new pair that ``ssh`` uses."""
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self._key)
        return self._key.with_suffix(".pub").read_text(encoding="utf-8")

    def until(self, mark: str, seconds: float = 300.0) -> str:
        """The next line of the console with this mark in it."""
        for line in self._process.lines(seconds):
            self.said.append(line)
            if mark in line:
                return line
        raise AssertionError(f"{mark} was not said:\n" + "\n".join(self.said[-100:]))

    def reset(self) -> None:
        qmp.execute(self.folder / "qmp.sock", [("system_reset", {})])

    def attach(self, serial: str, size: int) -> None:
        """Plug a new blank disk in, as EC2 shows an EBS volume."""
        file = self.folder / f"{serial}.raw"
        with open(file, "ab") as disk:
            disk.truncate(size)
        node = {"driver": "raw", "node-name": serial, "file": {"driver": "file", "filename": str(file)}}
        device = {"driver": "nvme", "id": f"disk-{serial}", "drive": serial, "serial": serial}
        qmp.execute(self.folder / "qmp.sock", [("blockdev-add", node), ("device_add", device)])

    def ssh(self, command: str, host_key: str) -> subprocess.CompletedProcess[str]:
        (self.folder / "known_hosts").write_text(f"[127.0.0.1]:{self._port} {host_key}\n", encoding="utf-8")
        options = [
            "-o",
            f"UserKnownHostsFile={self.folder}/known_hosts",
            "-o",
            "StrictHostKeyChecking=yes",
            "-o",
            "BatchMode=yes",
            "-i",
            str(self._key),
        ]
        argv = ["ssh", "-F", "none", *options, "-p", str(self._port), "root@127.0.0.1", command]
        return subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def _run(*argv: object) -> None:
    subprocess.run([str(word) for word in argv], check=True)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
