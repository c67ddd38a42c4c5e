# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Remembers which files the builds of a template wrote beside it, such as a log, so that they are not inputs.

Packer reports its artifacts but not what post-processors and local scripts write. A file that is new or changed after a
build, in a folder of inputs, was written by the build, or by a user who worked in the folder meanwhile. Therefore the
content is remembered, not only the name: a file with any other content is an input, and no change of a user is missed.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .._core.documents import mismatch, parse_json
from .._core.files import make_private_folder, write_atomically
from .._core.programs import child_environment
from .._store.base import Store, encode_document
from .template_inputs import Entry, TemplateJob, Tree, template_key

_LOCK_TIMEOUT = 60.0  # seconds to wait for another build that writes its document


class WrittenFiles:
    """What the builds of a template wrote. It is kept on this machine, where the folder is, and may be lost."""

    def __init__(self, job: TemplateJob, store: Store) -> None:
        self._job = job
        self._store = store
        self._name = f"written-{template_key(str(job.template))}"

    def read(self) -> dict[str, Entry]:
        """Return the entry of each file by its absolute path, as a build left it. Raises StoreError."""
        try:
            document: Any = parse_json(self._path().read_bytes())
        except (OSError, ValueError):
            return {}
        return document if not mismatch(document, dict[str, dict[str, Any]]) else {}

    def update(self, before: Tree, after: Tree) -> list[str]:
        """Note what a build wrote. Returns the paths that are new to the list, sorted. Raises StoreError and OSError.

        Args:
            before: see ``TemplateFiles.on_disk``, before the build.
            after: the same after the build.
        """
        changed = {path: entry for path, entry in after.items() if before.get(path) != entry}
        if not changed:
            return []
        tracked = _tracked_by_git(self._job.folder, *self._job.extra)
        with self._store.lock(self._name, "note what a build wrote", wait=_LOCK_TIMEOUT):
            known = self.read()
            written = {path: entry for path, entry in known.items() if after.get(path) == entry}
            written |= {path: entry for path, entry in changed.items() if path not in tracked}
            self._write(written)
        return sorted(set(written) - set(known))

    def _path(self) -> Path:
        return self._store.local_path(f"cache/{self._name}.json")

    def _write(self, written: Mapping[str, Entry]) -> None:
        path = self._path()
        make_private_folder(path.parent)
        write_atomically(path, encode_document(dict(written)))


def _tracked_by_git(*paths: Path) -> set[str]:
    """The absolute paths that Git tracks. A user who updates a working copy during a build changes them."""
    found: set[str] = set()
    for folder in dict.fromkeys(path if path.is_dir() else path.parent for path in paths):
        found.update(str(folder / name) for name in _git_files(folder))
    return found


def _git_files(folder: Path) -> Iterable[str]:
    try:
        done = subprocess.run(
            ["git", "-c", "core.fsmonitor=false", "-C", str(folder), "ls-files", "-z"],
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        return ()
    return filter(None, done.stdout.decode(errors="surrogateescape").split("\0"))
