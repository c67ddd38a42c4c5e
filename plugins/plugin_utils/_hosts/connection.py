# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How Ansible reaches an instance: by SSH, or through the engine if it is a container."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .._definition.model import Definition, Target
from .._definition.providers import RULES
from .._providers import tags
from .._providers.container_address import ContainerAddress
from .._providers.contract import SSH_PORT, VERIFY, Instance
from .._store.base import Store
from .ssh import host_vars as ssh_vars

CONTAINER = "immutable.infra.container"  # the connection plugin
PYTHON = "/usr/bin/python3"


def host_vars(
    instance: Instance, private_key: Path | None, known_hosts: Path, proxy: Sequence[str] = ()
) -> dict[str, Any]:
    """Return Ansible's variables to connect to the instance, and those by which a container is found.

    They name no connection if nobody may log in.

    Args:
        private_key: None for a key of the user's own, which ssh finds.
        known_hosts: the file that ``write_known_hosts`` wrote.
        proxy: the definition's ``network.ssh_proxy``.
    """
    if instance.container is None:
        return ssh_vars(instance, private_key, known_hosts, proxy)
    # The playbook of a verification tests images that let nobody in later, too.
    closed = instance.tags.get(tags.SHELL) == "off" and instance.purpose != VERIFY
    return {**({} if closed else _engine_vars(instance.container)), **_found_by(instance.container)}


def _engine_vars(container: ContainerAddress) -> dict[str, Any]:
    return {
        "ansible_connection": CONTAINER,
        "ansible_host": container.name,
        "ansible_user": "root",
        "ansible_python_interpreter": PYTHON,
        "ansible_pipelining": True,
        "ansible_remote_tmp": container.remote_tmp,
    }


def _found_by(container: ContainerAddress) -> dict[str, Any]:
    return {
        "immutable_container": container.name,
        "immutable_container_engine": container.engine,
        "immutable_container_folder": container.folder,
    }


def login_ports(target: Target, shell: str = "") -> tuple[int, ...]:
    """Return the ports by which Ansible logs in to the target's instances.

    Args:
        shell: of the definition; "off" if nobody may log in.
    """
    return (SSH_PORT,) if shell != "off" and RULES[target.provider].ssh else ()


def login_keys(definition: Definition, target: Target, store: Store) -> tuple[str, ...]:
    """Return the public SSH keys that the target's instances accept. Creates the fleet's key pair if it is missing.

    Raises StoreError.
    """
    if not login_ports(target, definition.shell):
        return ()
    return (target.authorized_key or store.ssh_key(definition.fleet_name(target.name))[1],)
