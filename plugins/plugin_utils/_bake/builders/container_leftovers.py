# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Removes what killed bakes of containers leave behind: build containers, and their files in memory of this machine.

A build container writes to a folder of this machine. Its files there may belong to users that the user of this process
may not act for: subordinate users without root, and root with the group ``docker``.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ..._core.errors import LockedError
from ..._providers.container_engine import PODMAN, ContainerEngine
from ..._store.base import Store
from ..memory import private_path

BAKE_LABEL, STORE_LABEL = "immutable.bake", "immutable.store"  # of build containers
GUEST_FOLDER = "guest"  # in a bake's private memory
_EMPTIED = "/guest"


def identity(store: Store) -> str:
    """Return a short name for the store of this machine, since docker's containers are those of all stores."""
    return hashlib.sha256(os.fsencode(store.local_path("work").resolve())).hexdigest()[:12]


def remove_build_containers(engine: ContainerEngine, store: Store, own: str) -> None:
    """Remove the containers that killed bakes left behind. Running bakes hold a lock and are skipped.

    Args:
        own: the bake whose lock this run holds.
    """
    listed = engine.run("ps", "--all", "--quiet", "--no-trunc", f"--filter=label={STORE_LABEL}={identity(store)}")
    for container in listed.split():
        template = f'{{{{index .Config.Labels "{BAKE_LABEL}"}}}}'
        bake = engine.run("inspect", "--format", template, container, check=False).strip()
        if bake.startswith("bake-"):
            _if_it_ended(store, bake, own, partial(_remove_container, engine, container))


def _remove_container(engine: ContainerEngine, container: str) -> None:
    engine.run("rm", "--force", "--volumes", container, check=False)


def remove_guest_folders(engine: ContainerEngine, image: str, store: Store, own: str) -> None:
    """Remove the folders in memory that killed bakes shared with their containers. Running bakes are skipped.

    Args:
        image: any image of the engine with a shell.
        own: the bake whose lock this run holds.
    """
    for bake in {own, *(folder.name for folder in store.local_path("work").glob("bake-*"))}:
        folder = private_path(bake, store.local_path(f"work/{bake}")) / GUEST_FOLDER
        if folder.exists():
            _if_it_ended(store, bake, own, partial(remove_guest_folder, engine, image, folder))


def remove_guest_folder(engine: ContainerEngine, image: str, folder: Path) -> None:
    """Empty a folder that a build container wrote to, as far as this user may not do that without the engine.

    Args:
        image: any image of the engine with a shell.
    """
    if os.geteuid() == 0 or not folder.exists():
        return
    if engine.name == PODMAN:
        removal = engine.inside(["rm", "-rf", "--", str(folder)])[len(engine.argv) :]
        engine.run(*removal, check=False)
        return
    mount = f"--mount=type=bind,source={folder},destination={_EMPTIED}"
    run = ["run", "--rm", "--pull=never", "--network=none", "--user=0:0", mount, "--entrypoint=/bin/sh", image]
    command = f"rm -rf -- {_EMPTIED}/..?* {_EMPTIED}/.[!.]* {_EMPTIED}/*"
    engine.run(*run, "-c", command, check=False)


def _if_it_ended(store: Store, bake: str, own: str, act: Callable[[], None]) -> None:
    """Call ``act`` unless another run carries out the bake, and keep others from beginning it."""
    if bake == own:
        act()
        return
    try:
        with store.lock(bake, "remove what a killed bake left behind"):
            act()
    except LockedError:
        return
