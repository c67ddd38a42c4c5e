# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The versions of the example service, as a developer would write them, and where they run."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

NAME, CHANNEL, SIZE = "notes", "prod", 3
SOURCE = Path(__file__).resolve().parents[1] / NAME
FIRST, SECOND, BROKEN = "1.0.0", "2.0.0", "3.0.0"
# Version 3 has a new column. New databases get it, and existing ones don't: every test on an empty volume passes,
# and no host with the data of an earlier version becomes healthy.
MISTAKES = {
    "text TEXT NOT NULL)": "text TEXT NOT NULL, title TEXT NOT NULL DEFAULT '')",
    "SELECT count(*) FROM notes": "SELECT count(title) FROM notes",
}


# A rootless engine that cannot run systemd runs the service itself: no nginx in front of it, and one process.
ALONE = {
    "immutable.yml": {
        "  provision:": "  command: [/usr/local/bin/notes]\n  user: notes\n  provision:",
        "port: 80,": "port: 8000,",
        "writable: [/var/lib/nginx]\n": "",
    },
    "verify.yml": {"http://127.0.0.1/": "http://127.0.0.1:8000/"},
}


@dataclass(frozen=True)
class Place:
    """Where the service runs.

    Attributes:
        packages: the name of its packages in ``tests/tools/install``.
        target: the target's settings in the definition, in YAML.
        base: what the role base_image builds.
        requests: requests per second of each client.
        patience: how long a new host of the broken version may take to become healthy.
        port: where the service listens on each host.
        changes: what is different in the service's files: new texts of old ones, by file.
    """

    packages: str
    target: str
    base: str
    requests: int
    patience: str
    port: int = 80
    changes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


# A busy machine without hardware virtualization boots three of them slowly.
MACHINES = "{provider: qemu, health: {boot_deadline: 20m}}"
CONTAINER = Place("quickstart", "{provider: container}", base="container", requests=20, patience="5s")
PLACES = {
    "container": CONTAINER,
    "qemu": Place("quickstart-vm", MACHINES, base="disk", requests=2, patience="2m"),
}
CONTAINER_ALONE = replace(CONTAINER, port=8000, changes=ALONE)


def write_version(version: str, place: Place, folder: Path) -> Path:
    """Write the sources of a version into the folder, and return the path of the definition."""
    shutil.copytree(SOURCE, folder, dirs_exist_ok=True)
    definition = folder / "immutable.yml"
    _replace(definition, {f'version: "{FIRST}"': f'version: "{version}"', "{provider: container}": place.target})
    for name, changes in place.changes.items():
        _replace(folder / name, changes)
    if version == BROKEN:
        _replace(folder / "files/notes.py", MISTAKES)
        _replace(definition, {"path: /healthz}": f"path: /healthz}}, deadline: {place.patience}"})
    return definition


def _replace(path: Path, changes: Mapping[str, str]) -> None:
    """Raises ValueError if the text to replace isn't there."""
    text = path.read_text(encoding="utf-8")
    for old, new in changes.items():
        if old not in text:
            raise ValueError(f"{path} has no {old!r}")
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")
