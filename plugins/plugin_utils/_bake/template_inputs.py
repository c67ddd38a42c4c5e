# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The inputs of a user's own Packer template. What a build writes is none of them."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .._core.errors import BakeError
from .._core.files import STORE_MARKER, file_sha256
from .._core.packer_manifest import is_packer_manifest
from .._definition.digest import digest_of
from .._definition.ignore import IGNORED

# What Packer writes where it runs, which is beside the template.
_OUTPUT_FOLDERS = ("output-*",)
_OUTPUT_FILES = ("crash.log", "packer-manifest.json")
_CACHE = "packer_cache"  # templates in subfolders have their own

# Of a file: {"sha256", "executable"}. Of a link: {"link"}, and {"content"} if that is not among the other inputs.
Entry = dict[str, Any]
Tree = dict[str, Entry]  # by path relative to a folder


def template_key(template: str) -> str:
    """Return a short name for the path of a template."""
    return hashlib.sha256(template.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class TemplateJob:
    """A template and its inputs. Paths are absolute.

    Attributes:
        template: a file or folder.
        vars: variables (JSON data) by name.
        secrets: variables by name. Only the names are inputs.
        extra: further files and folders that the template uses.
        base: the folder of the playbook, by default that of the template.
    """

    service: str
    version: str
    template: Path
    vars: Mapping[str, Any] = field(default_factory=dict)
    var_files: tuple[Path, ...] = ()
    secrets: Mapping[str, Any] = field(default_factory=dict, repr=False)
    extra: tuple[Path, ...] = ()
    base: Path | None = None

    @property
    def folder(self) -> Path:
        """The folder of the template, where Packer runs."""
        return self.template if self.template.is_dir() else self.template.parent

    def extra_names(self) -> dict[str, Path]:
        """The further inputs by the names that they have in the digest.

        That is the last part of the path, or the path relative to the playbook if others have the same last part.
        """
        same = Counter(path.name for path in set(self.extra))
        base = self.base or self.folder
        return {path.name if same[path.name] == 1 else os.path.relpath(path, base): path for path in self.extra}


@dataclass(frozen=True)
class BuildOutputs:
    """What earlier builds wrote, as far as it is known.

    Attributes:
        artifacts: files that records of images name.
        written: the entries of other files, by their path, as a build left them. A file whose content is another one
            by now is an input: somebody else changed it.
    """

    artifacts: frozenset[Path] = frozenset()
    written: Mapping[str, Entry] = field(default_factory=dict)

    def has_folder(self, path: Path, packer_folder: Path) -> bool:
        """Return whether builds write this folder. ``packer_folder`` is where Packer runs."""
        beside = path.parent == packer_folder and _matches(path.name, _OUTPUT_FOLDERS)
        return beside or path.name == _CACHE or os.path.lexists(path / STORE_MARKER)

    def has_file(self, path: Path, packer_folder: Path) -> bool:
        """Return whether builds write this file, whatever its content is."""
        beside = path.parent == packer_folder and _matches(path.name, _OUTPUT_FILES)
        return beside or path in self.artifacts or is_packer_manifest(path)


@dataclass(frozen=True)
class InputTrees:
    """The files of a template's folder, and of each further input by its name."""

    main: Tree
    extra: Mapping[str, Tree]

    def without(self, job: TemplateJob, artifacts: frozenset[Path]) -> InputTrees:
        """Return the same without files that turned out to be artifacts of the build."""
        names = job.extra_names()
        return InputTrees(
            _without(self.main, job.folder, artifacts),
            {name: _without(tree, names[name], artifacts) for name, tree in self.extra.items()},
        )


class TemplateFiles:
    """Reads what a template consists of. An unchanged file is read once.

    Methods raise BakeError for a file that is missing, cannot be read, or is neither a file, a folder nor a link.
    """

    def __init__(self, job: TemplateJob, outputs: BuildOutputs) -> None:
        self._job = job
        self._outputs = outputs
        roots = [path for path in (job.folder, *job.extra) if path.is_dir() or not path.is_symlink()]
        self._roots = [Path(os.path.realpath(path)) for path in roots]
        self._followed: list[Path] = []  # folders behind links that are being read
        self._entries: dict[tuple[Path, int, int, int], Entry] = {}  # by path, inode, and times of change

    def trees(self) -> InputTrees:
        """Return the inputs that are files."""
        job, written = self._job, self._outputs.written
        if not job.template.exists():
            raise BakeError(f"the template {job.template} does not exist")
        with _reading(job):
            return InputTrees(
                dict(self._tree(job.folder, written)),
                {name: dict(self._tree(path, written)) for name, path in job.extra_names().items()},
            )

    def on_disk(self) -> Tree:
        """Return the entry of each file that is an input or that a build wrote, by its absolute path.

        Artifacts are left out, and what is never an input because of its name. So are pipes, sockets and devices, which
        a build may have left: only the next run fails because of them.
        """
        with _reading(self._job):
            return {
                os.path.normpath(path): self._entry(path)
                for root in (self._job.folder, *self._job.extra)
                for path in (self._walk(root) if root.is_dir() else [root])
                if _is_plain(path)
            }

    def was_written(self, path: Path) -> bool:
        """Return whether an earlier build wrote a file that is no artifact. Raises OSError."""
        return self._outputs.written.get(os.path.normpath(path)) == self._entry(path) or is_packer_manifest(path)

    def _tree(self, root: Path, written: Mapping[str, Entry]) -> Iterator[tuple[str, Entry]]:
        """The entry of each file by its path below ``root``. A root that is a file always counts."""
        if stat.S_ISDIR(root.stat().st_mode):
            for path in self._walk(root):
                entry = self._entry(path)
                if written.get(os.path.normpath(path)) != entry:
                    yield path.relative_to(root).as_posix(), entry
        else:
            yield ".", self._entry(root)

    def _walk(self, folder: Path) -> Iterator[Path]:
        for name in sorted(os.listdir(folder)):
            path = folder / name
            if _matches(name, IGNORED):
                continue
            if path.is_dir() and not path.is_symlink():
                if not self._outputs.has_folder(path, self._job.folder):
                    yield from self._walk(path)
            elif not self._outputs.has_file(path, self._job.folder):
                yield path

    def _entry(self, path: Path) -> Entry:
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            return {"link": os.readlink(path), **self._content_of_link(path)}
        if not stat.S_ISREG(status.st_mode):
            raise BakeError(
                f"{path}: is neither a file, a folder nor a link, and cannot be an input of {self._job.template}; "
                "move it elsewhere"
            )
        key = (path, status.st_ino, status.st_mtime_ns, status.st_ctime_ns)
        if key not in self._entries:
            self._entries[key] = {"sha256": file_sha256(path), "executable": os.access(path, os.X_OK)}
        return self._entries[key]

    def _content_of_link(self, path: Path) -> dict[str, str]:
        """What a link adds to the inputs: the checksum of a file or folder that is in none of their folders.

        An absolute link is usually meant for the machine that is built. It counts if the user names it.
        """
        named = path == self._job.template or path in self._job.extra
        real = Path(os.path.realpath(path))
        if os.path.isabs(os.readlink(path)) and not named:
            return {}
        if not real.exists() or any(_overlap(real, folder) for folder in (*self._roots, *self._followed)):
            return {}
        self._followed.append(real)
        content = digest_of(dict(self._tree(real, {})))
        self._followed.pop()
        return {"content": content}


def _is_plain(path: Path) -> bool:
    mode = path.lstat().st_mode
    return stat.S_ISREG(mode) or (stat.S_ISLNK(mode) and (not path.exists() or path.is_file() or path.is_dir()))


def _overlap(path: Path, other: Path) -> bool:
    return path.is_relative_to(other) or other.is_relative_to(path)


def template_inputs(job: TemplateJob, trees: InputTrees | None = None) -> dict[str, Any]:
    """Return every input as plain data.

    Args:
        trees: the inputs that are files; None to read them now, without knowledge of earlier builds.

    Raises BakeError for a file that is missing or cannot be read.
    """
    trees = trees or TemplateFiles(job, BuildOutputs()).trees()
    with _reading(job):
        return {
            "schema": 1,
            "service": job.service,
            "version": job.version,
            "template": "." if job.template.is_dir() else job.template.name,
            "vars": dict(job.vars),
            "secrets": sorted(job.secrets),
            "var_files": [file_sha256(path) for path in job.var_files],
            "inputs": {name: digest_of(tree) for name, tree in trees.extra.items()},
            "tree": trees.main,
        }


@contextmanager
def _reading(job: TemplateJob) -> Iterator[None]:
    """Turn an OSError into a BakeError that names the file."""
    try:
        yield
    except OSError as error:
        raise BakeError(f"cannot read an input of {job.template}: {error.filename}: {error.strerror}") from error


def _without(tree: Tree, root: Path, artifacts: frozenset[Path]) -> Tree:
    return {name: entry for name, entry in tree.items() if name == "." or root / name not in artifacts}


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
