# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Write the golden files again, into another folder: ``python -m ansible_collections.immutable.infra.tests.unit.golden.capture FOLDER [NAME ...]``.

This is how ``data/0.1.0`` was made by the code of that release. Tests only compare with it. What is below ``given`` was written by hand.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import calls, machines, plain, produced, recorded, simulated, stored


def entries() -> dict[str, Callable[[Path], Any]]:
    """How each file is made, by its name. Those after others may read them."""
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
