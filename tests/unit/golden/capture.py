# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Write the golden files into another folder.

``python -m ansible_collections.immutable.infra.tests.unit.golden.capture FOLDER [NAME ...]``

The code of 0.1.0 made ``data/0.1.0`` this way, except for the files below ``given``, which were written by hand.
Tests only compare.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.immutable.infra.tests.unit.golden import (
    calls,
    machines,
    plain,
    produced,
    recorded,
    simulated,
    stored,
)


def entries() -> dict[str, Callable[[Path], Any]]:
    """Return how each golden file is made, by its name. Later entries may read the files of earlier ones."""
    found: dict[str, Callable[[Path], Any]] = {}
    for module in (produced, stored, recorded, machines, simulated, calls):
        found |= module.ENTRIES
    return found


def main(folder: Path, names: list[str]) -> None:
    for name, make in entries().items():
        if names and name not in names:
            continue
        with tempfile.TemporaryDirectory() as work:
            text = plain.as_text(make(Path(work)))
        path = folder / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
