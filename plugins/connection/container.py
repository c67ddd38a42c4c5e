# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: container
short_description: Run tasks in a container of this machine
version_added: 0.3.0
author: immutable.infra contributors (@immutable-infra)
description:
  - Runs commands and copies files by C(podman exec) or C(docker exec). The container needs no SSH server and no
    network.
  - The inventory P(immutable.infra.fleet#inventory) sets all options for hosts that are containers, so you do not have
    to configure anything.
  - Modules need Python in the container. Without it, M(ansible.builtin.raw) works, and so do tasks that run on the
    controller.
extends_documentation_fragment:
  - ansible.builtin.connection_pipelining
options:
  container:
    description: Name or ID of the container.
    type: str
    default: inventory_hostname
    vars:
      - name: inventory_hostname
      - name: ansible_host
      - name: immutable_container
  engine:
    description: The engine that runs the container.
    type: str
    choices: [podman, docker]
    default: podman
    vars:
      - name: immutable_container_engine
  folder:
    description:
      - The folder C(container) of the store, in which Podman keeps the store's containers.
      - Podman needs it. Docker does not use it.
    type: str
    vars:
      - name: immutable_container_folder
  remote_user:
    description:
      - User in the container, by name or ID.
      - A process in a container can gain no privileges, so O(remote_user) must be V(root) if C(become) is used.
    type: str
    default: root
    vars:
      - name: ansible_user
    env:
      - name: ANSIBLE_REMOTE_USER
    ini:
      - section: defaults
        key: remote_user
    keyword:
      - name: remote_user
    cli:
      - name: user
notes:
  - The root file system of a container of a fleet is read-only. With C(ansible_pipelining=true), which the inventory
    sets, most modules write nothing. The others need C(ansible_remote_tmp) in a folder that is in memory.
  - A user of this machine who may use the engine may enter its containers, even with C(shell=off) in the definition.
seealso:
  - plugin: immutable.infra.fleet
    plugin_type: inventory
"""

EXAMPLES = r"""
- name: Look at a container of a fleet
  hosts: service_shop
  gather_facts: false
  tasks:
    - name: Show its processes
      ansible.builtin.command: ps -e
      changed_when: false

- name: Look at one container without the inventory of fleets
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Add the container
      ansible.builtin.add_host:
        name: shop
        ansible_connection: immutable.infra.container
        ansible_host: shop-local-0-5f2c07d1
        immutable_container_folder: /var/lib/immutable/container
        ansible_pipelining: true

    - name: Read a file
      ansible.builtin.raw: cat /etc/os-release
      delegate_to: shop
      changed_when: false
"""

import os
import re
import subprocess
from pathlib import Path
from typing import IO, Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError, AnsibleFileNotFound
from ansible.plugins.connection import ConnectionBase

from ..module_utils._plain_text import plain_line, plain_text
from ..plugin_utils._core.errors import ImmutableError
from ..plugin_utils._providers.container_engine import PODMAN, open_engine

SHELL = "/bin/sh"
# Podman loses output of a command that ends without reading all of its input, so the rest is read after it.
_READ_ALL = '"$@"; code=$?; cat > /dev/null; exit "$code"'
# By which an engine's client ends if it could not run the command, and by which a command ends with its container.
SUSPECT = (125, 126, 127, 137, 255)
MAX_WORDS = 500  # bytes of an engine's last words in a message
MAX_ERRORS = 4096  # bytes of a command's errors that are searched, because the container chooses them
_NO_PYTHON = re.compile(
    rb"(/[^\s:]{0,200}python[^\s:]{0,40}): (?:not found|No such file or directory|inaccessible or not found)"
)


class Connection(ConnectionBase):
    transport = "immutable.infra.container"
    has_pipelining = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._connected = False
        self._argv: list[str] = []
        self._environment: dict[str, str] = {}

    @property
    def _container(self) -> str:
        return str(self.get_option("container"))

    def _connect(self) -> Connection:
        if self._connected:
            return self
        name, folder = self.get_option("engine"), self.get_option("folder")
        if name == PODMAN and not folder:
            raise AnsibleConnectionFailure(
                f"container {self._container}: immutable_container_folder is not set; set it to the folder 'container' "
                "of the store, or list the host with the inventory plugin immutable.infra.fleet, which sets it"
            )
        try:
            engine = open_engine(name, Path(folder or "/"))
            self._argv, self._environment = engine.argv, engine.environment
        except (ImmutableError, OSError) as error:
            raise AnsibleConnectionFailure(plain_text(f"container {self._container}: {error}")) from error
        self._connected = True
        return self

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        code, output, errors = self._run(SHELL, "-c", cmd, input=in_data)
        missing = _NO_PYTHON.search(errors[-MAX_ERRORS:]) if code == 127 and in_data else None
        if missing:
            python = plain_line(missing[1].decode(errors="replace"))
            raise AnsibleError(
                f"container {self._container} has no Python at {python}, so modules cannot run in it (allowed: "
                "ansible.builtin.raw, and tasks that run on the controller, such as ansible.builtin.uri with "
                "delegate_to: localhost; or install python3 in the image)"
            )
        return code, output, errors

    def put_file(self, in_path: str, out_path: str) -> None:
        super().put_file(in_path, out_path)
        if not os.path.isfile(in_path):
            raise AnsibleFileNotFound(f"{in_path} does not exist or is not a file")
        with open(in_path, "rb") as source:
            code, _output, errors = self._run(SHELL, "-c", 'cat > "$0"', out_path, input=source)
        if code:
            raise AnsibleError(f"cannot write {out_path} in container {self._container}: {_words(errors)}")

    def fetch_file(self, in_path: str, out_path: str) -> None:
        super().fetch_file(in_path, out_path)
        with open(out_path, "wb") as target:
            code, _output, errors = self._run(SHELL, "-c", 'cat < "$0"', in_path, output=target)
        if code:
            os.unlink(out_path)
            raise AnsibleError(f"cannot read {in_path} in container {self._container}: {_words(errors)}")

    def close(self) -> None:
        self._connected = False

    def reset(self) -> None:
        self.close()
        self._connect()

    def _run(
        self, *command: str, input: bytes | IO[bytes] | None = None, output: IO[bytes] | None = None
    ) -> tuple[int, bytes, bytes]:
        """Run a command in the container. Raises AnsibleConnectionFailure if the container does not run.

        Returns its exit code, its output, unless that goes to a file, and its errors.
        """
        self._connect()
        if input is None:
            options, argv = [], list(command)
        else:
            options, argv = ["--interactive"], [SHELL, "-c", _READ_ALL, SHELL, *command]
        options.append(f"--user={self.get_option('remote_user')}")
        data = input if isinstance(input, bytes) else None
        source: int | IO[bytes] = subprocess.DEVNULL if input is None else subprocess.PIPE
        if input is not None and not isinstance(input, bytes):
            source = input
        try:
            with subprocess.Popen(
                [*self._argv, "exec", *options, self._container, *argv],
                env=self._environment,
                stdin=source,
                stdout=output or subprocess.PIPE,
                stderr=subprocess.PIPE,
            ) as client:
                printed, errors = client.communicate(data)
        except OSError as error:
            raise AnsibleConnectionFailure(f"cannot start {self._argv[0]}: {error.strerror}") from error
        if client.returncode in SUSPECT or errors.startswith(b"Error"):
            self._check(client.returncode, errors)
        return client.returncode, printed or b"", errors

    def _check(self, code: int, errors: bytes) -> None:
        """Raise AnsibleConnectionFailure if the container does not run, or if the engine could not run a command."""
        argv = [*self._argv, "container", "inspect", "--format", "{{.State.Status}}", self._container]
        done = subprocess.run(
            argv, env=self._environment, stdin=subprocess.DEVNULL, capture_output=True, check=False, text=True
        )
        if done.returncode:
            raise AnsibleConnectionFailure(
                f"there is no container {self._container}: it may have been replaced (list the hosts again)"
            )
        state = done.stdout.strip()
        if state != "running":
            raise AnsibleConnectionFailure(f"container {self._container} does not run (it is {state})")
        if code in (125, 126, 127, 255) and errors.startswith(b"Error"):
            raise AnsibleConnectionFailure(f"cannot run a command in container {self._container}: {_words(errors)}")


def _words(errors: bytes) -> str:
    return plain_text(errors[-MAX_WORDS:].decode("utf-8", "replace").strip()) or "it did not say why"
