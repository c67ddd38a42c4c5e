# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Start the relay of a container, find it again, and start it again if it was killed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from ....module_utils._program_source import source_of
from ..._core.documents import mismatch, parse_json
from ..._core.errors import ProviderError
from ..._core.locked import LOCK_FILE, Locked
from ..._core.processes import process_start
from ..._core.unprivileged import user_for
from .. import reach_relay
from ..container_engine import ContainerEngine
from ..container_process import run_client
from . import relay, relay_traffic

DOCUMENT = "relay.json"
_LOCK = "relay.lock"
_TIMEOUT = 60.0  # seconds; an idle machine needs a tenth of one
_NOBODY = 65534  # a number that the user namespaces of rootless containers have


class _Relay(TypedDict):
    pid: int
    start: str
    ports: dict[str, int]


def relayed_ports(folder: Path) -> dict[str, int] | None:
    """Return the ports of this machine by those of the container, or None if the relay of a machine does not run."""
    document = _document(folder)
    return document["ports"] if document and process_start(document["pid"]) == document["start"] else None


def ensure_relay(
    engine: ContainerEngine, folder: Path, boot: str, *, ports: Mapping[str, int], reach: Mapping[str, str]
) -> dict[str, int]:
    """Start the relay of a running container unless it runs. Returns the ports of this machine by the container's.

    Args:
        folder: of the machine.
        boot: the identity of its present boot.
        ports: the port of this machine for each port of the container, if it is free.
        reach: see ``Target.reach``.

    Raises ProviderError.
    """
    if not ports and not reach:
        return {}
    running = relayed_ports(folder)
    if running is not None:
        return running
    with _alone(folder):
        running = relayed_ports(folder)  # another run may have started it meanwhile
        return _start(engine, folder, boot, ports=ports, reach=reach) if running is None else running


def _alone(folder: Path) -> Locked:
    """Hold the lock under which a relay is started: a run starts it, and each run that observes the fleet meanwhile."""
    try:
        return Locked(folder / _LOCK, LOCK_FILE)
    except OSError as error:
        raise ProviderError(f"{folder / _LOCK} cannot be created: {error.strerror}") from error


def _start(
    engine: ContainerEngine, folder: Path, boot: str, *, ports: Mapping[str, int], reach: Mapping[str, str]
) -> dict[str, int]:
    """Start a relay, see ``ensure_relay``."""
    pid, _at, start = boot.partition("@")
    document = folder / DOCUMENT
    config: dict[str, Any] = {
        "pid": int(pid),
        "start": start,
        "ports": {**ports, **{port: place for port, place in _wanted(folder).items() if port in ports}},
        "reach": dict(reach),
        "user": user_for(folder) if os.geteuid() == 0 else _NOBODY,
        "document": str(document),
        "traffic_source": source_of(relay_traffic),
        "reach_source": source_of(reach_relay) if reach else "",
    }
    argv = engine.inside([sys.executable, "-I", "-S", relay.__file__, json.dumps(config)])
    done = run_client(argv, engine.environment, timeout=_TIMEOUT)
    found = relayed_ports(folder)
    if done.code != 0 or found is None:
        raise ProviderError(f"the relay of container {folder.name} did not start: {done.last_words}")
    return found


def _wanted(folder: Path) -> dict[str, int]:
    """The ports of an earlier relay of this machine: what they are registered with should stay true."""
    document = _document(folder)
    return document["ports"] if document else {}


def _document(folder: Path) -> _Relay | None:
    try:
        document = parse_json((folder / DOCUMENT).read_bytes())
    except (OSError, ValueError):
        return None
    if mismatch(document, _Relay):
        return None
    return _Relay(pid=document["pid"], start=document["start"], ports=dict(document["ports"]))
