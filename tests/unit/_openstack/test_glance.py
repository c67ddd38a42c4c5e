# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Answers of Glance that a real one rarely gives: pages, and bytes that are not those of the image."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ImageError, ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._openstack import glance
from ansible_collections.immutable.infra.plugins.plugin_utils._openstack.connect import Connections
from ansible_collections.immutable.infra.plugins.plugin_utils._openstack.glance import Glance, content_hash

pytest.importorskip("openstack")

CONTENT = b"a" * 100 + bytes(3 * 1024 * 1024) + b"b"
IMAGE = {
    "id": "i",
    "size": len(CONTENT),
    "disk_format": "raw",
    "os_hash_algo": "sha512",
    "os_hash_value": hashlib.sha512(CONTENT).hexdigest(),
}


class Answer:
    def __init__(self, document: Any = None, content: bytes = b"", status: int = 200) -> None:
        self.document, self.content, self.status_code = document, content, status
        self.headers: dict[str, str] = {}
        self.reason, self.text, self.url, self.request = "said so", "", "", None
        self.closed = False

    def json(self) -> Any:
        return self.document

    def iter_content(self, size: int) -> Any:
        return (self.content[at : at + size] for at in range(0, len(self.content), size))

    def close(self) -> None:
        self.closed = True


class Service:
    """What answers requests for images."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, Mapping[str, Any]]] = []

    def get(self, url: str, **more: Any) -> Answer:
        self.asked.append((url, more))
        return self.answers.pop(0)

    def patch(self, url: str, **more: Any) -> Answer:
        return self.get(url, **more)

    def delete(self, url: str, **more: Any) -> Answer:
        return self.get(url, **more)


def opened(service: Service, project: str = "p") -> Glance:
    return Glance(cast(Connections, SimpleNamespace(connection=SimpleNamespace(image=service), project_id=project)))


def test_all_pages_are_read() -> None:
    service = Service(
        Answer({"images": [{"id": "1"}, {"id": "2"}], "next": "/v2/images?marker=2"}), Answer({"images": [{"id": "3"}]})
    )
    assert [one["id"] for one in opened(service).search(name="in:a")] == ["1", "2", "3"]
    assert service.asked[1][1]["params"] == {"limit": "500", "marker": "2", "name": 'in:"in:a"'}


def test_a_list_that_never_ends_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(glance, "MAX_IMAGES", 2)
    pages = [Answer({"images": [{"id": str(number)}], "next": "more"}) for number in range(3)]
    with pytest.raises(ProviderError, match="more than 2 images"):
        opened(Service(*pages)).search()


def test_images_of_other_projects_are_not_ones_own() -> None:
    service = Service(Answer({"images": [{"id": "1", "owner": "p"}, {"id": "2", "owner": "q"}]}))
    assert [one["id"] for one in opened(service).own()] == ["1"]


def test_only_what_differs_is_changed() -> None:
    service = Service(Answer({}))
    opened(service).update({"id": "i", "name": "a", "x": "1"}, {"name": "a", "x": "2", "y/~z": "3"})
    [(url, sent)] = service.asked
    assert url == "/images/i"
    assert sent["json"] == [
        {"op": "replace", "path": "/x", "value": "2"},
        {"op": "add", "path": "/y~1~0z", "value": "3"},
    ]
    opened(Service()).update({"id": "i", "name": "a"}, {"name": "a"})


def test_the_bytes_are_written_without_their_zeros(tmp_path: Path) -> None:
    file, answer = tmp_path / "disk", Answer(content=CONTENT)
    assert opened(Service(answer)).download(IMAGE, file) == hashlib.sha256(CONTENT).hexdigest()
    assert file.read_bytes() == CONTENT
    assert (file.stat().st_mode & 0o777, answer.closed) == (0o600, True)
    assert file.stat().st_blocks * 512 < len(CONTENT)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (CONTENT[:-1], "of 3145829 bytes of the image i arrived"),
        (CONTENT + b"x", "more than the 3145829 bytes"),
        (CONTENT[:-1] + b"c", "do not match its checksum sha512"),
    ],
)
def test_other_bytes_are_refused(content: bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=said):
        opened(Service(Answer(content=content))).download(IMAGE, tmp_path / "disk")


def test_a_disk_without_room_is_refused(tmp_path: Path) -> None:
    image = {**IMAGE, "disk_format": "qcow2", "size": 1 << 60}
    with pytest.raises(ImageError, match="make room"):
        opened(Service()).download(image, tmp_path / "disk")


def test_what_the_policy_denies_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProviderError, match="reading the bytes of the image i") as raised:
        opened(Service(Answer(status=403))).download(IMAGE, tmp_path / "disk")
    assert raised.value.code == "403"


def test_a_missing_image_is_no_error() -> None:
    assert opened(Service(Answer(status=404))).find("i") is None
    assert opened(Service(Answer(status=404))).delete("i") is False
    with pytest.raises(ProviderError):
        opened(Service(Answer(status=500))).find("i")


def test_an_image_without_bytes_has_no_hash() -> None:
    assert content_hash(IMAGE).startswith("sha512:")
    assert content_hash({"checksum": "ab"}) == "md5:ab"
    assert content_hash({"checksum": None, "os_hash_algo": None}) == ""
