# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The Packer template of a definition's bake. Pure.

It is JSON, which every Packer from 1.6 on can run. The builder differs between providers, the provisioning of the guest
does not. Packer uploads only to the guest's memory, because bytes that were once on the disk stay in its free blocks.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._inspection.collected import collect_command
from .guest_ansible import INTERPRETER

SSH_TIMEOUT = "10m"
ROOT = "root"
GUEST_MEMORY = "/dev/shm"  # noqa: S108  of the guest, where only the bake runs
OWN = "own/ansible_collections/immutable/infra"  # of this collection, in the payload
LISTING_SCRIPT = f"{OWN}/plugins/module_utils/_listing.py"
_POLL_INTERVAL = 0.05  # seconds, between two looks of Ansible at its tasks
CONTAINER_SHARED = "/run/packer"  # where Packer mounts a folder that it does not use
# In a chroot, runc starts the first process of a container correctly, and later ones on the machine itself, as root.
_INSIDE = (
    f"test -d {CONTAINER_SHARED} || {{ echo 'the engine runs commands outside of its container, as in a chroot: "
    "nothing was changed' >&2; exit 1; }"
)
# For a user other than root. The script may be on a file system that does not allow execution.
_AS_ROOT = "sudo -n env {{ .Vars }} /bin/sh -e {{ .Path }}"
_IN_CONTAINER = "{{ .Vars }} /bin/sh -e {{ .Path }}"


@dataclass(frozen=True)
class Guest:
    """What to do in the build machine.

    Attributes:
        payload: tarball on the controller.
        secrets: JSON file of variables on the controller, or None.
        folder: where the payload is unpacked in the guest.
        python: the guest's Python according to the definition or its base, such as ``3.11``.
        sbom_sources: path on the controller for a tarball of what the SBOM is made from; None if the disk is read
            instead.
        user: who logs in. A user other than root can use sudo without a password.
        cleanup: lines of shell that run as root at the end.
        container: whether it is a container, which has no disk with free blocks, and whose memory may not allow
            execution.
    """

    payload: Path
    secrets: Path | None
    folder: str
    python: str
    sbom_sources: Path | None = None
    user: str = ROOT
    cleanup: tuple[str, ...] = ()
    container: bool = False


def packer_template(builder: Mapping[str, Any], guest: Guest) -> dict[str, Any]:
    """Return the template as plain data."""
    return {"builders": [dict(builder)], "provisioners": _provisioners(guest)}


def _provisioners(guest: Guest) -> list[Mapping[str, Any]]:
    folder, python = guest.folder, guest.python
    uploads_folder = f"{folder}/in"
    prepare = _shell(
        guest,
        *([_INSIDE] if guest.container else []),
        f'test "$(python3 -c \'import sys; print("%d.%d" % sys.version_info[:2])\')" = {python} || '
        f'{{ echo "the guest\'s Python is $(python3 -V 2>&1), not {python}: set image.base.python" >&2; exit 1; }}',
        # Tasks that become another user must reach their temporary files, but not list this folder.
        f"mkdir -m 0711 {folder}",
        f"mkdir -m 1777 {folder}/temp",
        f"mkdir -m 0700 {uploads_folder}",
        *([f'chown "$SUDO_UID" {uploads_folder}'] if guest.user != ROOT else []),
    )
    uploads = [(guest.payload, "payload.tar.gz"), *([(guest.secrets, "secrets.json")] if guest.secrets else [])]
    secrets = f" -e @{uploads_folder}/secrets.json" if guest.secrets else ""
    run = _shell(
        guest,
        f"cd {folder}",
        f"tar -xzf {uploads_folder}/payload.tar.gz && rm {uploads_folder}/payload.tar.gz",
        # What the base image configures for Ansible is not for the bake.
        'for name in $(env | sed -n "s/^\\(ANSIBLE_[A-Z0-9_]*\\)=.*/\\1/p"); do unset "$name"; done',
        # By default, Ansible looks a thousand times a second whether a task has ended. In an emulated guest, that takes
        # a processor of its own.
        f"printf '[defaults]\\ninternal_poll_interval = {_POLL_INTERVAL}\\n' > ansible.cfg",
        *(f"export {name}={shlex.quote(value)}" for name, value in _environment(folder).items()),
        # It needs a file system that allows execution, such as the memory of a virtual machine.
        f"if lib/{INTERPRETER} /dev/null 2> /dev/null; then "
        f"sed -i 's:/usr/bin/python3:{folder}/lib/{INTERPRETER}:' inventory.json; fi",
        f"python3 -B run.py -i inventory.json -e @vars.json{secrets} site.json",
    )
    clean = _shell(
        guest,
        f"rm -rf {folder}",
        *guest.cleanup,
        # What a container wrote is read back from memory, and the archive made of it is written to disk by itself.
        *([] if guest.container else ["sync", "fstrim / || echo 'fstrim failed: freed blocks keep their content'"]),
    )
    send = [
        {"type": "file", "source": str(source), "destination": f"{uploads_folder}/{name}"} for source, name in uploads
    ]
    return [prepare, *send, run, *_collect(guest, f"{uploads_folder}/sbom-sources.tar.gz"), clean]


def _collect(guest: Guest, archive: str) -> list[Mapping[str, Any]]:
    """Download the files that the SBOM is made from, and a list of all files as the image will have them."""
    if guest.sbom_sources is None:
        return []
    lines = [
        collect_command(archive, f"{guest.folder}/list", f"{guest.folder}/{LISTING_SCRIPT}"),
        f"chmod 0644 {archive}",
    ]
    pack = _shell(guest, f"mkdir -m 0700 {guest.folder}/list", *guest.cleanup, *lines)
    download = {"type": "file", "direction": "download", "source": archive, "destination": str(guest.sbom_sources)}
    return [pack, download]


def _environment(folder: str) -> dict[str, str]:
    """Environment variables of Ansible in the guest: all it writes stays in memory, and nothing else configures it."""
    return {
        "LC_ALL": "C.UTF-8",
        "TMPDIR": f"{folder}/temp",
        "ANSIBLE_CONFIG": f"{folder}/ansible.cfg",
        "ANSIBLE_HOME": f"{folder}/home",
        "ANSIBLE_LOCAL_TEMP": f"{folder}/temp",
        "ANSIBLE_REMOTE_TMP": f"{folder}/temp",
        "ANSIBLE_ASYNC_DIR": f"{folder}/async",
        "ANSIBLE_NO_TARGET_SYSLOG": "true",
        # Everything runs as root already, and su is installed even where sudo is not.
        "ANSIBLE_BECOME_METHOD": "su",
        "ANSIBLE_SU_FLAGS": "-s /bin/sh",  # also for users without a login shell
        # Otherwise a play that matches no host is skipped silently.
        "ANSIBLE_HOST_PATTERN_MISMATCH": "error",
        "ANSIBLE_COLLECTIONS_PATH": f"{folder}/own:{folder}/collections",
        "ANSIBLE_ROLES_PATH": f"{folder}/tree/roles:{folder}/collections/roles",
        "ANSIBLE_PIPELINING": "true",
        "ANSIBLE_MODULE_COMPRESSION": "ZIP_STORED",  # modules do not leave the guest
        "ANSIBLE_RETRY_FILES_ENABLED": "false",
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_DEPRECATION_WARNINGS": "false",
    }


def _shell(guest: Guest, *lines: str) -> dict[str, Any]:
    step = {
        "type": "shell",
        "remote_folder": GUEST_MEMORY,
        "inline_shebang": "/bin/sh -e",
        "inline": list(lines),
    }
    if guest.container:
        return {**step, "execute_command": _IN_CONTAINER}
    return step if guest.user == ROOT else {**step, "execute_command": _AS_ROOT}


def as_text(template: Mapping[str, Any]) -> str:
    """Return the template as JSON."""
    return json.dumps(template, indent=1)
