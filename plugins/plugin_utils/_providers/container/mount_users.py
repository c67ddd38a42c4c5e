# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which containers use a folder, by the engine's own word.

An engine lets two containers mount the same folder, and a document can be lost or edited.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..._core.errors import ProviderError
from ..container_engine import PODMAN, ContainerEngine

_ENDED = ("configured", "created", "exited", "stopped", "dead")
_TRIES = 3  # a container may disappear between two calls


def live_users(engine: ContainerEngine, folder: Path) -> list[str]:
    """Return the names of the containers that have not ended and mount the folder, or something in it.

    Raises ProviderError if the engine does not say.
    """
    place = folder.resolve()
    return sorted(
        str(container.get("Name", "")).lstrip("/")
        for container in _containers(engine)
        if _is_live(container, engine) and any(_is_within(source, place) for source in _sources(container))
    )


def _containers(engine: ContainerEngine) -> list[Mapping[str, Any]]:
    for attempt in range(_TRIES):
        ids = engine.run("ps", "--all", "--quiet", "--no-trunc").split()
        if not ids:
            return []
        try:
            found = engine.json("container", "inspect", *ids)
        except ProviderError:
            if attempt == _TRIES - 1:
                raise
            continue
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            break
        return found
    raise ProviderError(f"{engine.name} does not say what its containers mount")


def _is_live(container: Mapping[str, Any], engine: ContainerEngine) -> bool:
    state = container.get("State")
    if not isinstance(state, dict):
        return True
    if str(state.get("Status", "")).lower() in _ENDED:
        return False
    # Podman notices the end of a container some time after it. Its processes are those of this machine.
    return not (engine.name == PODMAN and _has_ended(state.get("Pid")))


def _has_ended(pid: object) -> bool:
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # of another user
        return False
    return False


def _sources(container: Mapping[str, Any]) -> Iterable[Path]:
    for mount in container.get("Mounts") or []:
        if isinstance(mount, dict) and mount.get("Source"):
            yield Path(str(mount["Source"])).resolve()


def _is_within(path: Path, folder: Path) -> bool:
    return path == folder or folder in path.parents
