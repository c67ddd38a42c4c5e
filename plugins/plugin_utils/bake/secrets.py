# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Vaulted variables of a bake: decrypted here, kept in memory, handed to the guest over SSH and nowhere else."""
from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..definition.model import Definition, Vaulted
from ..errors import BakeError

MEMORY = Path("/dev/shm")  # noqa: S108  on purpose: not a disk
SHORTEST = 4  # characters of a text that can be looked for without finding it everywhere

Decrypt = Callable[[str], str]  # ciphertext -> text
LoadFile = Callable[[str], Any]  # path of a YAML file, vaulted or not -> data


def secret_variables(definition: Definition, decrypt: Decrypt, load_file: LoadFile) -> dict[str, Any]:
    """All of ``provision.vars_files`` and the vaulted values of ``provision.vars``, in clear. Raises BakeError."""
    found: dict[str, Any] = {}
    for name in definition.provision.vars_files:
        data = load_file(str(definition.folder / name))
        if not isinstance(data, Mapping):
            raise BakeError(f"{definition.folder / name} is not a mapping of variables")
        found.update(data)
    for name, value in definition.provision.vars.items():
        if isinstance(value, Vaulted):
            found[name] = decrypt(value.ciphertext)
    return found


def texts(value: Any) -> Iterator[str]:
    """Every text in nested data that is long enough to be looked for."""
    if isinstance(value, Mapping):
        for part in value.values():
            yield from texts(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from texts(part)
    elif isinstance(value, str) and len(value) >= SHORTEST:
        yield value


def private_folder(name: str) -> Path:
    """A folder for this user alone, in memory where the system has such a place. Its name is fixed, so the next run clears it."""
    root = MEMORY if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    return root / f"immutable-{os.getuid()}-{name}"
