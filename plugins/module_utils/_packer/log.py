# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The log of a build."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TextIO, final

from .errors import PackerError
from .events import Event, Raw, Ui


@final
class PackerLog:
    """Writes each line to a file as it comes, or does nothing without a path.

    Only this user can read the file. Raises PackerError if it cannot be written.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: TextIO | None = None

    def __enter__(self) -> PackerLog:
        if self._path:
            try:
                self._file = open(
                    os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
                    "w",
                    encoding="utf-8",
                    buffering=1,
                )
            except OSError as error:
                raise self._unwritable(error) from error
        return self

    def __exit__(self, *_ignored: object) -> None:
        if self._file:
            self._file.close()

    def write(self, event: Event) -> None:
        """Write the text of an event."""
        if self._file and isinstance(event, (Ui, Raw)):
            try:
                self._file.write(event.text.strip("\n") + "\n")
            except OSError as error:
                raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> PackerError:
        return PackerError(f"cannot write Packer's log {self._path}: {error.strerror}")
