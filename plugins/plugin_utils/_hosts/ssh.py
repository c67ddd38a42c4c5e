# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How Ansible reaches a sealed host: by one key, with the host key that the host told on its console, and without a writable disk."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .._core.files import write_atomically
from .._providers.contract import Instance

SSH_PORT = 22
_KEY = re.compile(r"[a-z0-9@.-]+ [A-Za-z0-9+/=]+")  # a guest's word must not become more than one line


def host_vars(instance: Instance, private_key: Path | None, known_hosts: Path) -> dict[str, Any]:
    """Ansible's variables to connect to the instance; nothing where it lets nobody in.

    Args:
        private_key: None where it is the user's own, which ssh finds by itself.
        known_hosts: written by ``write_known_hosts``. A host is known by its instance's id, since addresses are used again.
    """
    if SSH_PORT not in instance.endpoints:
        return {}
    address, port = instance.endpoints[SSH_PORT]
    # ssh reads a file's name as a list of words with % tokens in them.
    name = str(known_hosts).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    options = {
        "UserKnownHostsFile": f'"{name}"',
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "HostKeyAlias": instance.id,
    }
    if private_key:
        options["IdentitiesOnly"] = "yes"  # an agent's keys would use up the tries
    return {
        "ansible_connection": "ansible.builtin.ssh",
        "ansible_host": address,
        "ansible_port": port,
        "ansible_user": "root",
        **({"ansible_ssh_private_key_file": str(private_key)} if private_key else {}),
        "ansible_ssh_common_args": " ".join(
            f"-o {shlex.quote(f'{option}={value}')}" for option, value in options.items()
        ),
        # Else a user's own setting, meant for other hosts, would come before the options above.
        "ansible_host_key_checking": True,
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_pipelining": True,
        "ansible_remote_tmp": "/run/ansible",  # the one place that is writable, never on a disk, and only root's
    }


def write_known_hosts(path: Path, instances: Iterable[Instance]) -> None:
    """Write the host keys that the instances told when they sealed themselves; others stay unknown. Raises OSError."""
    keys = {
        each.id: each.evidence.host_key
        for each in instances
        if each.evidence and _KEY.fullmatch(each.evidence.host_key)
    }
    data = "".join(f"{name} {key}\n" for name, key in sorted(keys.items())).encode()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists() or path.read_bytes() != data:
        write_atomically(path, data)
