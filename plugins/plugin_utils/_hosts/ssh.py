# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How Ansible connects to a sealed host.

It uses one SSH key and checks the host key that the host printed on its console. It needs no writable disk there.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible import constants as C
from ansible.plugins.loader import connection_loader

from .._core.files import make_private_folder, write_atomically
from .._definition.ssh_proxy import proxy_command
from .._providers.contract import SSH_PORT, Instance

_KEY = re.compile(r"[a-z0-9@.-]+ [A-Za-z0-9+/=]+")  # what a guest prints must not become more than one line
# What the operator's configuration may set for other hosts. ProxyJump and ProxyCommand stay: hosts are reached by them.
_NOT_THE_OPERATORS = {
    "IgnoreUnknown": "*",  # an older ssh does not know every option below; the operator's own list would be replaced
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "ClearAllForwardings": "yes",
    "Tunnel": "no",
    "GSSAPIDelegateCredentials": "no",
    "AddKeysToAgent": "no",
    "PermitLocalCommand": "no",
    "RemoteCommand": "none",
    "RequestTTY": "no",
    # Only the known hosts of the store count. QEMU's hosts have the address of the loopback.
    "KnownHostsCommand": "none",
    "NoHostAuthenticationForLocalhost": "no",
    "UpdateHostKeys": "no",
    "VerifyHostKeyDNS": "no",
}
# Without ControlPersist Ansible sets no path, and a connection of the operator to an earlier host could be used.
_NOT_SHARED = {"ControlMaster": "no", "ControlPath": "none"}


def host_vars(
    instance: Instance, private_key: Path | None, known_hosts: Path, proxy: Sequence[str] = ()
) -> dict[str, Any]:
    """Return Ansible's variables to connect to the instance. They are empty if the instance has no SSH port.

    Args:
        private_key: None for a key of the user's own, which ssh finds.
        known_hosts: the file that ``write_known_hosts`` wrote. It names a host by instance id, because addresses are
            used again.
        proxy: the definition's ``network.ssh_proxy``.
    """
    if SSH_PORT not in instance.endpoints:
        return {}
    address, port = instance.endpoints[SSH_PORT]
    # ssh reads the name of a file as a list of words with % tokens in them.
    name = str(known_hosts).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    options = {
        "UserKnownHostsFile": f'"{name}"',
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "HostKeyAlias": instance.id,
    }
    if proxy:
        options["ProxyCommand"] = _proxy_option(proxy_command(proxy, address, port, instance.id))
    if private_key:
        options["IdentitiesOnly"] = "yes"  # the keys of an agent would use up the attempts
    return {
        "ansible_connection": "ansible.builtin.ssh",
        "ansible_host": address,
        "ansible_port": port,
        "ansible_user": "root",
        **({"ansible_ssh_private_key_file": str(private_key)} if private_key else {}),
        "ansible_ssh_common_args": _arguments(options),
        # The first value of an option counts. Ansible puts these arguments before all others, and the two settings
        # below would precede the options above, if the user made them for other hosts.
        "ansible_ssh_args": _ssh_args(options),
        "ansible_host_key_checking": True,
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_pipelining": True,
        "ansible_remote_tmp": "/run/ansible",  # writable, in memory and for root only
    }


def _ssh_args(options: Mapping[str, str]) -> str:
    """Return ``options``, those that keep out the operator's, and then the ``ssh_args`` of Ansible's configuration."""
    connection_loader.get("ssh", class_only=True)  # defines the settings of the connection
    configured = C.config.get_config_value("ssh_args", plugin_type="connection", plugin_name="ssh") or ""
    unshared = {} if "controlpersist" in configured.lower() else _NOT_SHARED
    return f"{_arguments({**_NOT_THE_OPERATORS, **options, **unshared})} {configured}".rstrip()


def _proxy_option(command: Sequence[str]) -> str:
    """ssh gives this text to a shell, after it has replaced % tokens."""
    return shlex.join(command).replace("%", "%%")


def _arguments(options: Mapping[str, str]) -> str:
    return " ".join(f"-o {shlex.quote(f'{option}={value}')}" for option, value in options.items())


def write_known_hosts(path: Path, instances: Iterable[Instance]) -> None:
    """Write the host keys that the instances printed when they sealed themselves. Raises OSError.

    The hosts of other instances stay unknown.
    """
    keys = {
        instance.id: instance.evidence.host_key
        for instance in instances
        if instance.evidence and _KEY.fullmatch(instance.evidence.host_key)
    }
    data = "".join(f"{name} {key}\n" for name, key in sorted(keys.items())).encode()
    make_private_folder(path.parent)
    if not path.exists() or path.read_bytes() != data:
        write_atomically(path, data)
