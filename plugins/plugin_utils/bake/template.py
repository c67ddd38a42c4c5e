# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The Packer template of a definition's bake: a pure function of what goes into it.

JSON, since Packer runs it from 1.6 to the newest. Whatever Packer uploads goes to the guest's memory: bytes that were ever on
the disk stay in its free blocks.
"""
from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SSH_TIMEOUT = "10m"
BUILDER = "qemu"


@dataclass(frozen=True)
class BakeFiles:
    """Everything on this machine that Packer reads or writes."""

    base: Path
    output: Path  # folder that Packer makes; the disk is in it as disk.qcow2
    launch: Path  # what the build machine's launch unit takes over
    private_key: Path
    payload: Path
    secrets: Path | None
    console: Path


def packer_template(
    files: BakeFiles, *, base_sha256: str, accelerator: str, memory: int, cpus: int, folder: str, python: str
) -> dict[str, Any]:
    """The template as plain data.

    Args:
        accelerator: ``kvm`` or ``tcg``.
        memory: bytes.
        folder: the payload's place in the guest.
        python: the guest's Python as the definition or its base says, such as ``3.11``.
    """
    arguments = [["-fw_cfg", f"name=opt/immutable/launch,file={_escaped(files.launch)}"], ["-serial", f"file:{files.console}"]]
    # What is given here replaces Packer's own: its forwarding would listen on every address, and nobody looks at its VNC.
    arguments += [["-netdev", "user,id=user.0,hostfwd=tcp:127.0.0.1:{{ .SSHHostPort }}-:22"], ["-vnc", "none"]]
    if accelerator == "kvm":
        arguments.append(["-cpu", "host"])
    builder = {
        "type": BUILDER,
        "iso_url": str(files.base),
        "iso_checksum": f"sha256:{base_sha256}",
        "disk_image": True,
        "format": "qcow2",
        "skip_resize_disk": True,
        # The copy of a compact disk stays compact enough; what was freed is given back while the guest runs.
        "skip_compaction": True,
        "disk_discard": "unmap",
        "disk_cache": "unsafe",
        "disk_interface": "virtio",
        "net_device": "virtio-net",
        "accelerator": accelerator,
        "memory": memory // 1024**2,
        "cpus": cpus,
        "headless": True,
        "disable_vnc": True,
        "boot_wait": "1s",
        "ssh_username": "root",
        "ssh_private_key_file": str(files.private_key),
        "ssh_timeout": SSH_TIMEOUT,
        # QEMU's user network answers before the guest does, and each such answer counts as an attempt.
        "ssh_handshake_attempts": 100000,
        "shutdown_command": "systemctl poweroff",
        "output_directory": str(files.output),
        "vm_name": "disk.qcow2",
        "qemuargs": arguments,
    }
    return {"builders": [builder], "provisioners": list(_provisioners(files, folder, python))}


def _provisioners(files: BakeFiles, folder: str, python: str) -> list[Mapping[str, Any]]:
    steps: list[Mapping[str, Any]] = [
        _shell(
            f"test \"$(python3 -c 'import sys; print(\"%d.%d\" % sys.version_info[:2])')\" = {python} || "
            f"{{ echo \"the guest's Python is $(python3 -V 2>&1), not {python}: say so in image.base.python\" >&2; exit 1; }}",
            # Tasks that become another user need the way to their temporary files, but not a list of what is here.
            f"mkdir -m 0711 {folder}",
            f"mkdir -m 1777 {folder}/temp",
        ),
        {"type": "file", "source": str(files.payload), "destination": f"{folder}/payload.tar.gz"},
    ]
    if files.secrets:
        steps.append({"type": "file", "source": str(files.secrets), "destination": f"{folder}/secrets.json"})
    secrets = f" -e @{folder}/secrets.json" if files.secrets else ""
    steps.append(
        _shell(
            f"cd {folder}",
            "tar -xzf payload.tar.gz && rm payload.tar.gz",
            *(f"export {name}={shlex.quote(value)}" for name, value in _environment(folder).items()),
            f"python3 -B run.py -i inventory.json -e @vars.json{secrets} site.json",
        )
    )
    steps.append(_shell(f"rm -rf {folder}", "sync", "fstrim / || echo 'no fstrim here: freed blocks keep their bytes'"))
    return steps


def _environment(folder: str) -> dict[str, str]:
    """Everything Ansible writes stays in the guest's memory."""
    return {
        "LC_ALL": "C.UTF-8",
        "TMPDIR": f"{folder}/temp",
        "ANSIBLE_HOME": f"{folder}/home",
        "ANSIBLE_LOCAL_TEMP": f"{folder}/temp",
        "ANSIBLE_REMOTE_TMP": f"{folder}/temp",
        "ANSIBLE_ASYNC_DIR": f"{folder}/async",
        "ANSIBLE_NO_TARGET_SYSLOG": "true",
        # Everything runs as root already, and su is everywhere where sudo is not.
        "ANSIBLE_BECOME_METHOD": "su",
        "ANSIBLE_SU_FLAGS": "-s /bin/sh",  # also for users that nobody logs in as
        # A play that matches no host would be passed over in silence.
        "ANSIBLE_HOST_PATTERN_MISMATCH": "error",
        "ANSIBLE_COLLECTIONS_PATH": f"{folder}/own:{folder}/collections",
        "ANSIBLE_ROLES_PATH": f"{folder}/tree/roles:{folder}/collections/roles",
        "ANSIBLE_PIPELINING": "true",
        "ANSIBLE_RETRY_FILES_ENABLED": "false",
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_DEPRECATION_WARNINGS": "false",
    }


def _shell(*lines: str) -> dict[str, Any]:
    return {"type": "shell", "remote_folder": "/dev/shm", "inline_shebang": "/bin/sh -e", "inline": list(lines)}  # noqa: S108  the guest's memory


def _escaped(path: Path) -> str:
    """QEMU separates options by commas; a comma in a value is doubled."""
    return re.sub(",", ",,", str(path))


def as_text(template: Mapping[str, Any]) -> str:
    return json.dumps(template, indent=1)
