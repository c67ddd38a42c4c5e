# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Moves the artifacts of earlier builds out of the way of a new build, which would overwrite them or fail.

A template may always write to the same folder. Packer refuses a folder that exists, or deletes it. The records of
earlier images must keep their files, so these are moved before the build, and back after it if their place is free.
At each step, a record names files that exist: a file has both names while its record is written.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .._core.errors import BakeError, LockedError
from .._core.files import make_private_folder
from .._core.programs import run_to_end
from .._definition.ignore import KEPT_FOLDER
from .._image_model import Image, digest_hex
from .._images.catalogue import Catalogue
from .._store.base import Store
from .._store.registry import folder_of
from .template_inputs import TemplateJob, template_key

_LOCK = "artifacts"
_LOCK_TIMEOUT = 600.0  # seconds to wait for another run that moves artifacts


@dataclass
class _Aside:
    """The files of one image that were moved.

    Attributes:
        holder: the folder that has them now.
        moved: their new path, by their place.
        others: the same for what the build wrote beside its artifacts.
    """

    image: Image
    holder: Path
    moved: dict[Path, Path] = field(default_factory=dict)
    others: dict[Path, Path] = field(default_factory=dict)

    @property
    def places(self) -> list[Path]:
        return [*self.moved, *self.others]


class EarlierArtifacts:
    """Moves files for one build. Methods raise BakeError and StoreError.

    Args:
        images: all images of templates, newest first.
        is_output: whether an earlier build wrote a file that is no artifact.
    """

    def __init__(
        self, job: TemplateJob, store: Store, images: Sequence[Image], is_output: Callable[[Path], bool]
    ) -> None:
        self._job = job
        self._store = store
        self._images = images
        self._is_output = is_output
        self._aside: list[_Aside] = []
        self._removed: set[Path] = set()  # folders that were empty without the artifacts
        self._alone = False

    @contextmanager
    def building(self) -> Iterator[None]:
        """Tell other runs that the template is being built, so that they do not move files back into its folders."""
        with ExitStack() as stack:
            self._alone = self._try_lock(stack, str(self._job.template))
            yield

    def move_away(self) -> None:
        """Move each artifact that the build could overwrite."""
        if not any(self._in_the_way(image) for image in self._images):
            return
        with self._store.lock(_LOCK, f"build {self._job.template.name}", wait=_LOCK_TIMEOUT):
            for image in self._images:
                files = self._in_the_way(image)
                if files:
                    with _moving(image):
                        self._move_image(image, files)
            for aside in self._aside:
                with _moving(aside.image):
                    for folder in sorted({place.parent for place in aside.moved}, reverse=True):
                        self._empty(folder, aside)

    def move_back(self, replacement: Image | None = None) -> bool:
        """Move the files back whose place the build did not use. Returns whether there were any.

        Args:
            replacement: the image that the build made. Files of an earlier build of the same image are removed.
        """
        found = False
        if not self._aside and not (replacement and self._parent_of_holders().exists()):
            return False
        with self._store.lock(_LOCK, f"build {self._job.template.name}", wait=_LOCK_TIMEOUT):
            for aside in self._aside:
                with _moving(aside.image):
                    if not replacement or aside.image.digest != replacement.digest:
                        found = self._move_image_back(aside) or found
            if replacement:
                with _moving(replacement):
                    self._remove_unused(replacement)
        return found

    def _in_the_way(self, image: Image) -> list[Path]:
        """The files of an image that are where its build put them, if this build may write there."""
        same = image.provenance.get("template") == str(self._job.template)
        return [
            path
            for path in _files(image)
            if (same or path.is_relative_to(self._job.folder))
            and not path.is_relative_to(self._parent_of_holders())
            and path.is_file()
            and not path.is_symlink()
        ]

    def _parent_of_holders(self) -> Path:
        root = folder_of(self._store)
        return root / "artifacts" if root else self._job.folder / KEPT_FOLDER

    def _move_image(self, image: Image, files: Sequence[Path]) -> None:
        parent = self._parent_of_holders()
        make_private_folder(parent)
        self._remove_unused(image)  # by a run that was killed
        holder = Path(tempfile.mkdtemp(prefix=_prefix(image), dir=parent))
        aside = _Aside(image, holder)
        self._aside.append(aside)
        root = os.path.commonpath([path.parent for path in files])
        for path in files:
            aside.moved[path] = _linked(path, holder / path.relative_to(root))
        self._rename_in_record(image, aside.moved)
        for path in files:
            path.unlink()

    def _remove_unused(self, image: Image) -> None:
        """Remove what was moved for an image, and is not in its record."""
        for holder in self._parent_of_holders().glob(f"{_prefix(image)}*"):
            if not any(path.is_relative_to(holder) for path in _files(image)):
                shutil.rmtree(holder)

    def _empty(self, folder: Path, aside: _Aside) -> None:
        """Remove a folder that has only what builds wrote. Packer refuses one that exists."""
        if self._job.folder.is_relative_to(folder) or not folder.is_dir():
            return
        files = [
            Path(name, each) for name, folders, names in os.walk(folder) for each in (*names, *_links(name, folders))
        ]
        if not all(self._is_output(path) for path in files):
            return  # Packer reports the folder
        for path in files:
            aside.others[path] = _linked(path, aside.holder / "others" / path.relative_to(folder.parent))
            path.unlink()
        for name, _folders, _names in os.walk(folder, topdown=False):
            os.rmdir(name)
            self._removed.add(Path(name))
        parent = folder.parent
        while parent.is_relative_to(self._job.folder) and parent != self._job.folder and not any(parent.iterdir()):
            parent.rmdir()
            self._removed.add(parent)
            parent = parent.parent

    def _move_image_back(self, aside: _Aside) -> bool:
        used = any(place.parent in self._removed and place.parent.exists() for place in aside.places)
        if used or any(os.path.lexists(place) for place in aside.places):
            return False
        with ExitStack() as stack:
            template = str(aside.image.provenance.get("template", ""))
            own = template == str(self._job.template)
            if not (self._alone if own else self._try_lock(stack, template)):
                return False  # it is being built, and may use the place
            for place, path in (*aside.moved.items(), *aside.others.items()):
                _linked(path, place)
            self._rename_in_record(aside.image, {path: place for place, path in aside.moved.items()})
            shutil.rmtree(aside.holder)
        self._removed.difference_update(place.parent for place in aside.places)
        return True

    def _rename_in_record(self, image: Image, names: Mapping[Path, Path]) -> None:
        catalogue = Catalogue(self._store)
        record = catalogue.record(image.digest, image.build)
        if record is None:
            return
        artifacts = [
            {**artifact, "files": [_renamed(file, names) for file in artifact["files"]]}
            for artifact in record.artifact["artifacts"]
        ]
        catalogue.add(replace(record, artifact={**record.artifact, "artifacts": artifacts}))

    def _try_lock(self, stack: ExitStack, template: str) -> bool:
        try:
            stack.enter_context(self._store.lock(f"template-{template_key(template)}", f"build {template}"))
        except LockedError:
            return False
        return True


def _files(image: Image) -> list[Path]:
    return [Path(file["path"]) for file in image.files]


def _prefix(image: Image) -> str:
    return f"{digest_hex(image.digest)[:32]}-"


def _renamed(file: Mapping[str, Any], names: Mapping[Path, Path]) -> dict[str, Any]:
    path = Path(file["path"])
    return {**file, "path": str(names.get(path, path))}


def _links(folder: str, names: Sequence[str]) -> list[str]:
    return [name for name in names if os.path.islink(os.path.join(folder, name))]


def _linked(path: Path, new: Path) -> Path:
    """Give a file a second name, or copy it to another file system. Returns the new path."""
    new.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, new, follow_symlinks=False)
    except OSError:  # another file system, or one without such links
        done = run_to_end(["cp", "--no-dereference", "--preserve=all", "--", str(path), str(new)])
        if done.returncode:
            raise BakeError(f"cannot copy {path}: {done.stderr.strip()}") from None
    return new


@contextmanager
def _moving(image: Image) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BakeError(
            f"cannot move the artifacts of {image.name}, which the build could overwrite: "
            f"{error.filename}: {error.strerror}"
        ) from error
