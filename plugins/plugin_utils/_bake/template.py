# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The Packer template of a definition's bake: a pure function of what goes into it.

JSON, since Packer runs it from 1.6 to the newest. What its builder says differs from provider to provider; how the guest is provisioned
does not. Whatever Packer uploads goes to the guest's memory: bytes that were ever on the disk stay in its free blocks.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._inspection.gathered import gathering

SSH_TIMEOUT = "10m"
ROOT = "root"
# By whoever logs in and is not root. The script may lie where nothing can be executed.
_AS_ROOT = "sudo -n env {{ .Vars }} /bin/sh -e {{ .Path }}"


@dataclass(frozen=True)
class Guest:
    """What is done in the build machine."""

    payload: Path
    secrets: Path | None
    folder: str  # the payload's place in the guest
    python: str  # the guest's Python as the definition or its base says, such as ``3.11``
    gathered: Path | None = (
        None  # where on this machine to bring what an SBOM is made of; None where the disk is read instead
    )
    user: str = ROOT  # who logs in; anybody but root may use sudo without a password
    last: tuple[str, ...] = ()  # lines of shell, as root, once nothing is left to be done


def packer_template(builder: Mapping[str, Any], guest: Guest) -> dict[str, Any]:
    """The template as plain data."""
    return {"builders": [dict(builder)], "provisioners": _provisioners(guest)}


def _provisioners(guest: Guest) -> list[Mapping[str, Any]]:
    folder, python = guest.folder, guest.python
    arrived = f"{folder}/in"
    first = _shell(
        guest,
        f'test "$(python3 -c \'import sys; print("%d.%d" % sys.version_info[:2])\')" = {python} || '
        f'{{ echo "the guest\'s Python is $(python3 -V 2>&1), not {python}: say so in image.base.python" >&2; exit 1; }}',
        # Tasks that become another user need the way to their temporary files, but not a list of what is here.
        f"mkdir -m 0711 {folder}",
        f"mkdir -m 1777 {folder}/temp",
        f"mkdir -m 0700 {arrived}",
        *([f'chown "$SUDO_UID" {arrived}'] if guest.user != ROOT else []),
    )
    uploads = [(guest.payload, "payload.tar.gz"), *([(guest.secrets, "secrets.json")] if guest.secrets else [])]
    secrets = f" -e @{arrived}/secrets.json" if guest.secrets else ""
    run = _shell(
        guest,
        f"cd {folder}",
        f"tar -xzf {arrived}/payload.tar.gz && rm {arrived}/payload.tar.gz",
        *(f"export {name}={shlex.quote(value)}" for name, value in _environment(folder).items()),
        f"python3 -B run.py -i inventory.json -e @vars.json{secrets} site.json",
    )
    clean = _shell(
        guest,
        f"rm -rf {folder}",
        *guest.last,
        "sync",
        "fstrim / || echo 'no fstrim here: freed blocks keep their bytes'",
    )
    sent = [{"type": "file", "source": str(source), "destination": f"{arrived}/{name}"} for source, name in uploads]
    return [first, *sent, run, *_brought(guest, f"{arrived}/gathered.tar.gz"), clean]


def _brought(guest: Guest, archive: str) -> list[Mapping[str, Any]]:
    if guest.gathered is None:
        return []
    gather = _shell(guest, gathering(archive), f"chmod 0644 {archive}")
    return [gather, {"type": "file", "direction": "download", "source": archive, "destination": str(guest.gathered)}]


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


def _shell(guest: Guest, *lines: str) -> dict[str, Any]:
    step = {"type": "shell", "remote_folder": "/dev/shm", "inline_shebang": "/bin/sh -e", "inline": list(lines)}  # noqa: S108  the guest's memory
    return step if guest.user == ROOT else {**step, "execute_command": _AS_ROOT}


def as_text(template: Mapping[str, Any]) -> str:
    return json.dumps(template, indent=1)
