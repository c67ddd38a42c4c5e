# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the engine and the kernel say of containers, in few calls for all of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ..._core.documents import parse_json
from ..._core.errors import ProviderError
from ..container_engine import PODMAN, ContainerEngine
from .command import owner_of
from .facts import MAX_FILE, EngineFacts, ProcessFacts, engine_facts
from .machine import MachineFolder

_FILES = ("mountinfo", "status")
_HEADER = re.compile(r"^==> /proc/([0-9]+)/(mountinfo|status) <==\n", re.MULTILINE)


def own_containers(engine: ContainerEngine, machines: Sequence[MachineFolder]) -> dict[str, EngineFacts]:
    """Return what the engine says of the containers of machines, by name. Others with these names are left out.

    Raises ProviderError if the engine does not answer.
    """
    folders = {machine.id: machine.folder for machine in machines}
    found = inspect_containers(engine, list(folders))
    return {name: facts for name, facts in found.items() if name in folders and is_own(engine, facts, folders[name])}


def is_own(engine: ContainerEngine, facts: EngineFacts, folder: Path) -> bool:
    """Whether a container is the one of the machine in a folder. The engine of the store itself has no others."""
    return facts.owner == owner_of(folder) or (engine.name == PODMAN and not facts.owner)


def inspect_containers(engine: ContainerEngine, names: Sequence[str]) -> dict[str, EngineFacts]:
    """Return what the engine says of containers, by name. Those that do not exist are left out.

    Raises ProviderError if the engine does not answer.
    """
    if not names:
        return {}
    # It fails if one of them is missing, and prints the others.
    text = engine.run("container", "inspect", *names, check=False)
    try:
        rows = parse_json(text)
    except ValueError as error:
        engine.run("version")  # says why, if the engine does not work at all
        raise ProviderError(f"{engine.name} container inspect did not print JSON: {error}") from error
    found = [engine_facts(row) for row in rows] if isinstance(rows, list) else []
    return {each.name: each for each in found if each}


def process_facts(engine: ContainerEngine, pids: Sequence[int]) -> dict[int, ProcessFacts]:
    """Return what the kernel says of first processes, by their numbers. Those that have ended are left out."""
    found, closed = {}, []
    for pid in pids:
        try:
            texts = [_read(pid, name) for name in _FILES]
        except PermissionError:
            closed.append(pid)
        except OSError:
            continue
        else:
            found[pid] = ProcessFacts(*texts)
    return {**found, **_inside(engine, closed)}


def _read(pid: int, name: str) -> str:
    with Path(f"/proc/{pid}/{name}").open("rb") as file:
        return file.read(MAX_FILE).decode("utf-8", "replace")


def _inside(engine: ContainerEngine, pids: Sequence[int]) -> dict[int, ProcessFacts]:
    """Read the files of processes whose user is one of the engine's user namespace."""
    program = engine.inside(["head", "--bytes", str(MAX_FILE), "--verbose"])
    if not pids or program[0] == "head":
        return {}
    paths = [f"/proc/{pid}/{name}" for pid in pids for name in _FILES]
    return split_files(engine.run(*program[len(engine.argv) :], *paths, check=False))


def split_files(text: str) -> dict[int, ProcessFacts]:
    """Read what ``head --verbose`` printed of several processes. The kernel escapes line ends in these files."""
    parts: dict[int, dict[str, str]] = {}
    headers = list(_HEADER.finditer(text))
    for header, following in zip(headers, [*headers[1:], None], strict=True):
        end = following.start() if following else len(text)
        parts.setdefault(int(header[1]), {})[header[2]] = text[header.end() : end]
    return {pid: ProcessFacts(**files) for pid, files in parts.items() if len(files) == len(_FILES)}
