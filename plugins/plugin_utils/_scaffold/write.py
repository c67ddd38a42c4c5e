# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Write new files into a folder: all of them or none, never over a file that is there, and never through a link in it.

The folder can be a repository that others can write, so a folder in it can be a link to any place of this machine.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath

from .._core.errors import DefinitionError, ImmutableError
from .._core.files import open_regular
from .._definition.load import DEFINITION_FILE, load_definition

_MODE = 0o644
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SHOWN = 5  # problems


def check_loads(texts: Mapping[str, str]) -> None:
    """Load the definition from a private folder. Raises ImmutableError with its problems: then nothing is written."""
    with tempfile.TemporaryDirectory(prefix="immutable-init-") as folder:
        for name, text in texts.items():
            _create(Path(folder), name, text.encode("utf-8"))
        try:
            load_definition(Path(folder) / DEFINITION_FILE)
        except DefinitionError as error:
            problems: Sequence[str] = error.details.get("problems", [error.message])
            raise ImmutableError(
                f"nothing was written, because the definition would be wrong: {'; '.join(problems[:_SHOWN])} "
                "(set the option that sets this key)"
            ) from error


def missing_files(folder: Path, texts: Mapping[str, str]) -> list[str]:
    """Return the names of the files that are not there yet. Those with the same text are.

    Raises ImmutableError, which names each file that stands in the way. Raises OSError.
    """
    found = {name: _state(folder, name, text.encode("utf-8")) for name, text in texts.items()}
    in_the_way = [str(folder / name) for name, state in found.items() if state == "other"]
    if folder.exists() and not folder.is_dir():
        in_the_way = [str(folder)]
    if in_the_way:
        raise ImmutableError(
            f"nothing was written: {', '.join(in_the_way)} {'exists' if len(in_the_way) == 1 else 'exist'} already, "
            "with another content. Existing files are never overwritten. Choose another folder, or move them away",
            in_the_way=in_the_way,
        )
    return [name for name, state in found.items() if state == "missing"]


def write_files(folder: Path, texts: Mapping[str, str], names: Sequence[str]) -> None:
    """Create the files ``names``, the definition last. On an error, those that were created are removed again.

    Raises ImmutableError if one appeared meanwhile. Raises OSError.
    """
    created: list[Path] = []
    try:
        for name in sorted(names, key=lambda each: each == DEFINITION_FILE):
            _create(folder, name, texts[name].encode("utf-8"), created)
    except BaseException as error:
        for path in created:
            path.unlink(missing_ok=True)
        if isinstance(error, FileExistsError):
            raise ImmutableError(
                f"nothing was written: {error.filename} appeared meanwhile; existing files are never overwritten",
                in_the_way=[str(error.filename)],
            ) from error
        raise


def _links_above(folder: Path, name: str) -> bool:
    """Whether a folder between ``folder`` and its file is a link."""
    return any((folder / each).is_symlink() for each in PurePath(name).parents if each.name)


def _state(folder: Path, name: str, data: bytes) -> str:
    path = folder / name
    if _links_above(folder, name):
        return "other"
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        blocked = next((each for each in path.parents if each.exists()), path.parent)
        return "missing" if blocked.is_dir() else "other"
    if not stat.S_ISREG(mode):
        return "other"
    with open_regular(path) as file:
        return "same" if file.read(len(data) + 1) == data else "other"


def _create(folder: Path, name: str, data: bytes, created: list[Path] | None = None) -> None:
    """Create a file.

    Raises FileExistsError if there is one, also if it is a link to nothing. Raises OSError if a folder below ``folder``
    is a link.
    """
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    parent = _open_below(folder, PurePath(name).parts[:-1])
    try:
        handle = os.open(path.name, _NEW, _MODE, dir_fd=parent)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        os.close(parent)
    if created is not None:
        created.append(path)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _open_below(folder: Path, names: Sequence[str]) -> int:
    """Open a folder below another one. Raises OSError if a part of the way is a link."""
    found = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for number, name in enumerate(names):
        try:
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=found)
        except OSError as error:
            error.filename = str(folder.joinpath(*names[: number + 1]))
            raise
        finally:
            os.close(found)
        found = inner
    return found


def path_of(folder: Path) -> str:
    return str(folder / DEFINITION_FILE)
