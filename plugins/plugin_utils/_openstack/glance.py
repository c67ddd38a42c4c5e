# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Images in Glance, as its API describes them: plain mappings.

Source: https://docs.openstack.org/api-ref/image/v2/
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from .._core.errors import ImageError, ProviderError
from .connect import Connections
from .errors import NOT_FOUND, openstack_errors
from .library import library

ACTIVE = "active"
GONE = ("deleted", "pending_delete", "killed")  # states of an image that no longer exists
PRIVATE, SHARED = "private", "shared"  # visibilities
EVERYBODY = ("public", "community")
ACCEPTED = "accepted"  # status of a member
RAW: Final = "raw"
QCOW2: Final = "qcow2"
MAX_IMAGES = 20_000  # in one list
_PAGE = 500  # images in one answer
_CHUNK = 1024 * 1024
_PATCH = "application/openstack-images-v2.1-json-patch"

GlanceImage = Mapping[str, Any]


class Glance:
    """The images of one project. Methods raise ProviderError unless they say otherwise."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def find(self, image: str) -> GlanceImage | None:
        """Return the image with this ID, or None if the project cannot see it."""
        try:
            with openstack_errors(doing=f"reading the image {image}"):
                return _answer(self._service.get(f"/images/{image}"))
        except ProviderError as error:
            if error.code == NOT_FOUND:
                return None
            raise

    def search(self, **query: str) -> list[GlanceImage]:
        """Return the images with these properties, see the query of ``GET /v2/images``.

        A value of the query is compared as a whole.
        """
        with openstack_errors(doing="listing images"):
            return list(self._pages({name: _literal(name, value) for name, value in query.items()}))

    def own(self, **query: str) -> list[GlanceImage]:
        """The same, of this project alone. An administrator sees those of all projects."""
        project = self._connections.project_id
        return [image for image in self.search(owner=project, **query) if image.get("owner") == project]

    def update(self, image: GlanceImage, values: Mapping[str, str]) -> None:
        """Set attributes and properties of an image."""
        changes = [
            {"op": "replace" if name in image else "add", "path": f"/{_pointer(name)}", "value": value}
            for name, value in values.items()
            if image.get(name) != value
        ]
        if not changes:
            return
        with openstack_errors(doing=f"changing the image {image['id']}"):
            _answer(self._service.patch(f"/images/{image['id']}", json=changes, headers={"Content-Type": _PATCH}))

    def delete(self, image: str) -> bool:
        """Delete an image. Returns False if there is none."""
        try:
            with openstack_errors(doing=f"removing the image {image}"):
                library().exceptions.raise_from_response(self._service.delete(f"/images/{image}"))
        except ProviderError as error:
            if error.code == NOT_FOUND:
                return False
            raise
        return True

    def members(self, image: str) -> dict[str, str]:
        """Return the projects that an image is shared with, with the status of each: ``accepted``, for example."""
        with openstack_errors(doing=f"reading the members of the image {image}"):
            found = _answer(self._service.get(f"/images/{image}/members"))
        return {str(member["member_id"]): str(member["status"]) for member in found.get("members", ())}

    def add_member(self, image: str, project: str) -> None:
        """Let another project use an image whose visibility is ``shared``."""
        with openstack_errors(doing=f"sharing the image {image} with project {project}"):
            _answer(self._service.post(f"/images/{image}/members", json={"member": project}))

    def remove_member(self, image: str, project: str) -> None:
        """Take that back."""
        with openstack_errors(doing=f"no longer sharing the image {image} with project {project}"):
            library().exceptions.raise_from_response(self._service.delete(f"/images/{image}/members/{project}"))

    def accept(self, image: str, project: str) -> None:
        """Put an image that another project shares into the lists of this one. Only the member itself may do this."""
        with openstack_errors(doing=f"accepting the image {image}"):
            _answer(self._service.put(f"/images/{image}/members/{project}", json={"status": ACCEPTED}))

    def download(self, image: GlanceImage, file: Path) -> str:
        """Write an image's bytes to a new private file, without its zeros. Returns their hexadecimal SHA-256.

        Raises ImageError if there are more or fewer bytes than Glance says, if they do not match its checksum, or if
        the folder has no room for them.
        """
        size, free = int(image.get("size") or 0), shutil.disk_usage(file.parent).free
        if image.get("disk_format") != RAW and size > free:
            raise ImageError(
                f"the image {image['id']} has {size} bytes, but {file.parent} has only {free} bytes free; "
                "make room there and try again"
            )
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with openstack_errors(doing=f"reading the bytes of the image {image['id']}"):
                url = f"/images/{image['id']}/file"
                response = self._service.get(url, stream=True, headers={"Accept": "application/octet-stream"})
                try:
                    library().exceptions.raise_from_response(response)
                    return _write(response.iter_content(_CHUNK), handle, image)
                finally:
                    response.close()
        except OSError as error:
            raise ImageError(f"cannot read the image {image['id']}: {file}: {error.strerror or error}") from error
        finally:
            os.close(handle)

    @property
    def _service(self) -> Any:
        return self._connections.connection.image

    def _pages(self, query: Mapping[str, str]) -> Iterator[GlanceImage]:
        marker, seen = "", 0
        while True:
            page = {"limit": str(_PAGE), **({"marker": marker} if marker else {}), **query}
            answer = _answer(self._service.get("/images", params=page))
            images: Sequence[GlanceImage] = answer["images"]
            yield from images
            seen += len(images)
            if not images or not answer.get("next"):
                return
            if seen >= MAX_IMAGES:
                raise ProviderError(f"Glance lists more than {MAX_IMAGES} images: narrow the search")
            marker = str(images[-1]["id"])


def content_hash(image: GlanceImage) -> str:
    """Return what identifies the bytes of an image, such as ``sha512:<hex>``; "" if Glance keeps no bytes of it."""
    if image.get("os_hash_algo") and image.get("os_hash_value"):
        return f"{image['os_hash_algo']}:{image['os_hash_value']}"
    return f"md5:{image['checksum']}" if image.get("checksum") else ""


def _answer(response: Any) -> dict[str, Any]:
    library().exceptions.raise_from_response(response)
    found = response.json()
    return found if isinstance(found, dict) else {}


def _literal(name: str, value: str) -> str:
    """A value as Glance compares it whole: ``in:`` before the name of an image would be an operator."""
    return f'in:"{value}"' if name == "name" and value.startswith("in:") and '"' not in value else value


def _pointer(name: str) -> str:
    """A name in a JSON pointer, see RFC 6901."""
    return name.replace("~", "~0").replace("/", "~1")


def _write(chunks: Iterator[bytes], handle: int, image: GlanceImage) -> str:
    """Write chunks to a file, except for zeros, and compare them with what Glance says of the image."""
    size, written = image.get("size"), 0
    expected = content_hash(image)
    algorithm = expected.partition(":")[0]
    known = algorithm in hashlib.algorithms_available and not algorithm.startswith("shake")
    named, sha256 = hashlib.new(algorithm, usedforsecurity=False) if known else None, hashlib.sha256()
    for chunk in chunks:
        if size is not None and written + len(chunk) > size:
            raise ImageError(f"the image {image['id']} has more than the {size} bytes that Glance says")
        if chunk.strip(b"\0"):
            os.pwrite(handle, chunk, written)
        written += len(chunk)
        sha256.update(chunk)
        if named:
            named.update(chunk)
    if size is not None and written != size:
        raise ImageError(f"only {written} of {size} bytes of the image {image['id']} arrived; try again")
    if named and f"{algorithm}:{named.hexdigest()}" != expected:
        raise ImageError(f"the bytes of the image {image['id']} do not match its checksum {algorithm}")
    os.ftruncate(handle, written)
    return sha256.hexdigest()
