# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the quickstart asks Podman itself: whether systemd runs in a container, and to remove its own storage."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from tour.shell import Failure

ENGINE = "container"  # the folder of the engine in a store
ATTEMPTS = 5  # Podman's own process that cleans up after a container may mount its storage again
NO_SYSTEMD = "systemd cannot be the first process"


def no_systemd(store: Path) -> str:
    """Return why no container of this user can run systemd, or "". Raises Failure if no container runs at all."""
    engine, errors, _state = _open(store)
    try:
        return next((line for line in engine.runtime_warnings() if line.startswith(NO_SYSTEMD)), "")
    except errors as error:
        raise Failure(str(error)) from error


def remove_storage(store: Path) -> None:
    """Remove containers and images, whose files may belong to users of a namespace, and what is mounted for them."""
    folder = store / ENGINE
    if not (folder / "storage").exists():
        return
    engine, errors, state = _open(store)
    with suppress(errors):
        engine.run("rm", "--all", "--force", "--time", "0")
    for _attempt in range(ATTEMPTS):
        _unmount(store)
        with suppress(errors):
            subprocess.run(engine.inside(["rm", "-rf", str(store)]), env=engine.environment, check=False)
        if not store.exists():
            break
    else:
        raise Failure(f"{store} could not be removed; run make clean-quickstart again")
    with suppress(errors):
        shutil.rmtree(state(folder), ignore_errors=True)


def _unmount(folder: Path) -> None:
    """Unmount what is mounted below a folder, the deepest first."""
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    mounts = sorted((line.split()[4] for line in lines if line.split()[4].startswith(f"{folder}/")), reverse=True)
    if mounts:
        subprocess.run(["umount", "--lazy", *mounts], check=False)


def _open(store: Path) -> tuple[Any, Any, Any]:
    """The collection's own engine, its error, and the function that names the folder of the engine's state."""
    sys.path.insert(0, os.environ["ANSIBLE_COLLECTIONS_PATH"])
    from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ImmutableError
    from ansible_collections.immutable.infra.plugins.plugin_utils._providers import container_engine, container_runtime

    return container_engine.open_engine("podman", store / ENGINE), ImmutableError, container_runtime.state_folder
