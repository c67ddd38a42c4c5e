# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The payload for the build machine: ansible-core, the definition's files and collections, and a play with the seal.

It stays in the guest's memory, below a folder whose name no image may contain afterwards.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from ansible import constants as C

from ...module_utils._seal_tmpfs import LOG_SIZE
from .._core.bounded_yaml import BoundedLoader, TooLargeError, read_bounded
from .._core.errors import BakeError
from .._core.files import file_sha256, make_private_folder
from .._core.programs import ansible_config, child_environment, module_command, run_to_end
from .._core.progress import Report
from .._definition.digest import tree_files
from .._definition.model import Definition
from .._store.base import Store
from .template import GUEST_MEMORY, OWN

COLLECTION = Path(__file__).resolve().parents[3]
# The parts of this collection that the seal needs in the guest.
OWN_PARTS = (
    "plugins/modules/host_seal.py",
    "plugins/module_utils/_listing.py",
    "plugins/module_utils/_mounts.py",
    "plugins/module_utils/_residue.py",
    "plugins/module_utils/_seal.py",
    "plugins/module_utils/_seal_accounts.py",
    "plugins/module_utils/_seal_changes.py",
    "plugins/module_utils/_seal_cloud.py",
    "plugins/module_utils/_seal_container.py",
    "plugins/module_utils/_seal_paths.py",
    "plugins/module_utils/_seal_selinux.py",
    "plugins/module_utils/_seal_services.py",
    "plugins/module_utils/_seal_text.py",
    "plugins/module_utils/_seal_tmpfs.py",
    "plugins/module_utils/_seal_volumes.py",
    "roles/seal",
)
INSTALL_LOCK_TIMEOUT = 600.0  # seconds to wait for another run that installs the same requirements
RUN = """# {marker}
import sys
sys.path.insert(0, "{folder}/lib")
from ansible.cli.playbook import main
main()
"""


@dataclass(frozen=True)
class Payload:
    """The payload of one bake.

    Attributes:
        archive: a gzipped tarball.
        folder: where the guest unpacks it.
    """

    archive: bytes
    folder: str


def make_payload(
    definition: Definition,
    *,
    digest: str,
    ansible: Path,
    collections: Path | None,
    variables: Mapping[str, Any],
    marker: str,
    container: bool = False,
) -> Payload:
    """Return the payload.

    Args:
        digest: the image's, ``sha256:<hex>``.
        ansible: folder for the guest's ``sys.path``.
        collections: folder with the ``ansible_collections`` and ``roles`` that the definition requires, or None.
        variables: the definition's variables, without secrets.
        marker: unique text for the name of the folder, so that an inspection of the image finds whatever is left of the
            payload.
        container: whether the image is for containers.
    """
    folder = f"{GUEST_MEMORY}/{marker}"
    files: dict[str, bytes] = {
        "run.py": RUN.format(marker=marker, folder=folder).encode(),
        "site.json": json.dumps(_site(definition, digest, marker, container=container)).encode(),
        "inventory.json": json.dumps(_inventory(definition)).encode(),
        "vars.json": json.dumps({**variables, **_facts(definition, digest)}).encode(),
        # Without the versions of ansible-core that the collection needs on a controller. In the guest it only seals.
        f"{OWN}/meta/runtime.yml": b"{}\n",
    }
    buffer = io.BytesIO()
    # Level 1, because an emulated guest unpacks slowly.
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        archive.add(ansible, "lib", filter=_as_root)
        for source, name in _trees(definition, collections):
            archive.add(source, name, filter=_as_root)
    return Payload(buffer.getvalue(), folder)


def _trees(definition: Definition, collections: Path | None) -> Iterator[tuple[Path, str]]:
    """Files and folders on the controller, with their paths in the archive."""
    for relative in tree_files(definition):
        yield definition.folder / relative, f"tree/{Path(relative).as_posix()}"
    if collections:
        yield collections, "collections"
    for part in OWN_PARTS:
        yield COLLECTION / part, f"{OWN}/{part}"


def _as_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry


def _site(definition: Definition, digest: str, marker: str, *, container: bool) -> list[dict[str, Any]]:
    seal_variables = {
        "seal_service": definition.service,
        "seal_version": definition.version,
        "seal_digest": digest,
        "seal_shell": definition.shell,
        "seal_writable": list(definition.writable),
        "seal_data": [
            {
                "name": volume.name,
                "mount": volume.mount,
                **({"owner": volume.owner} if volume.owner else {}),
                **({"reown": True} if volume.reown else {}),
                **({"noexec": True} if volume.noexec else {}),
            }
            for volume in definition.data
        ],
        **({"seal_kind": "container"} if container else {}),
        **({"seal_command": list(definition.command)} if container and definition.command else {}),
        **({"seal_user": definition.user} if container and definition.user else {}),
        **({"seal_user_namespaces": True} if definition.user_namespaces else {}),
        **({"seal_log_size": definition.log_size} if definition.log_size != LOG_SIZE else {}),
    }
    seal = {"name": "Seal", "ansible.builtin.include_role": {"name": "immutable.infra.seal"}, "vars": seal_variables}
    return [
        {"name": "Provision", "ansible.builtin.import_playbook": f"tree/{definition.provision.playbook}"},
        {"name": f"Seal ({marker})", "hosts": "localhost", "gather_facts": False, "tasks": [seal]},
    ]


def _inventory(definition: Definition) -> dict[str, Any]:
    """The build machine is in every group that the playbook names in its hosts."""
    groups = {
        name
        for name in _patterns(definition)
        if name.replace("_", "").isalnum() and name not in ("all", "localhost", "ungrouped")
    }
    host = {"localhost": {"ansible_connection": "local", "ansible_python_interpreter": "/usr/bin/python3"}}
    return {"all": {"hosts": host, "children": {name: {"hosts": {"localhost": {}}} for name in sorted(groups)}}}


def _patterns(definition: Definition) -> Iterator[str]:
    """The names in the plays' host patterns. The run in the guest reports any problem of the playbook."""
    try:
        text = read_bounded(definition.folder / definition.provision.playbook).decode()
        plays = yaml.load(text, Loader=_AnyTag)  # noqa: S506  a safe loader that reads each tagged value as None
    except TooLargeError as error:
        raise BakeError(f"{definition.provision.playbook}: {error}") from error
    except (OSError, ValueError, yaml.YAMLError):
        return
    for play in plays if isinstance(plays, list) else []:
        hosts = play.get("hosts") if isinstance(play, dict) else None
        for pattern in hosts if isinstance(hosts, list) else [hosts]:
            if isinstance(pattern, str):
                yield from (name.strip().lstrip("&!") for name in re.split(r"[,:]", pattern))


class _AnyTag(BoundedLoader):
    """Playbooks may contain tags such as ``!vault`` and ``!unsafe``. Only the plays' hosts are needed here."""


def _none(_loader: yaml.SafeLoader, _suffix: str, _node: yaml.Node) -> None:
    return None


_AnyTag.add_multi_constructor("!", _none)


def _facts(definition: Definition, digest: str) -> dict[str, str]:
    return {
        "immutable_service": definition.service,
        "immutable_version": definition.version,
        "immutable_digest": digest,
    }


def required_collections(definition: Definition, store: Store, report: Report) -> Path | None:
    """Install what ``provision.requirements`` lists, once per content of the file.

    Returns the folder, or None. Raises BakeError.
    """
    if definition.provision.requirements is None:
        return None
    requirements = definition.folder / definition.provision.requirements
    key = file_sha256(requirements)[:16]
    folder = store.local_path(f"cache/requirements/{key}")
    with store.lock(f"requirements-{key}", "install requirements", wait=INSTALL_LOCK_TIMEOUT):
        if not folder.exists():
            report(f"installing {definition.provision.requirements}")
            _install(requirements, folder)
    return folder


def _install(requirements: Path, folder: Path) -> None:
    new = folder.with_suffix(".new")
    shutil.rmtree(new, ignore_errors=True)
    make_private_folder(new.parent)
    new.mkdir(mode=0o700)
    environment = child_environment(ANSIBLE_CONFIG=ansible_config(C.CONFIG_FILE, new))
    for kind in _required_kinds(requirements):
        target = new / ("roles" if kind == "role" else "")
        make_private_folder(target)
        done = run_to_end(
            module_command("ansible", "galaxy", kind, "install", "-r", str(requirements), "-p", str(target)),
            env=environment,
            cwd=requirements.parent,  # relative sources start there
        )
        if done.returncode != 0:
            last = " / ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
            raise BakeError(f"cannot install {requirements.name}: {last}")
    (new / "ansible.cfg").unlink(missing_ok=True)
    new.rename(folder)


def _required_kinds(requirements: Path) -> list[str]:
    """What the file lists: roles, collections or both. Raises BakeError for a file that is not a list of either."""
    try:
        content = yaml.load(read_bounded(requirements).decode(), Loader=BoundedLoader) or {}  # noqa: S506  a safe loader
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise BakeError(f"{requirements.name} cannot be read: {' '.join(str(error).split())}") from error
    if isinstance(content, list):  # the old format, which supports only roles
        return ["role"]
    if not isinstance(content, dict):
        raise BakeError(f"{requirements.name} is not a mapping (allowed: a mapping with roles, collections or both)")
    return [kind for kind in ("role", "collection") if content.get(f"{kind}s")]
