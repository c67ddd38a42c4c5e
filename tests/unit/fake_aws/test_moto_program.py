# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What moto answered is said again until something may have changed, and tags are found without a search."""

from __future__ import annotations

import io
from typing import Any

import pytest
from ansible_collections.immutable.infra.tests.support.aws.moto_program import Remembering, direct_tags
from moto.ec2.models.tags import TagBackend

DESCRIBE = b"Action=DescribeVolumes&Version=2016-11-15"


class Application:
    """Answers with the number of calls so far."""

    def __init__(self) -> None:
        self.asked = 0
        self.status = "200 OK"
        self.meanwhile: Any = None

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        self.asked += 1
        answer = str(self.asked).encode()
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile:
            meanwhile()
        start_response(self.status, [("Content-Type", "text/xml")])
        return [answer]


def ask(server: Remembering, body: bytes, caller: str = "AWS4 Credential=A/eu-central-1/ec2, Signature=1") -> bytes:
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/",
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_AUTHORIZATION": caller,
        "wsgi.input": io.BytesIO(body),
    }
    return b"".join(server(environ, lambda status, headers: None))


def test_the_same_question_is_answered_from_memory_until_a_change():
    server = Remembering(Application())
    assert [ask(server, DESCRIBE), ask(server, DESCRIBE)] == [b"1", b"1"]
    assert ask(server, DESCRIBE, "AWS4 Credential=A/eu-central-1/ec2, Signature=2") == b"1"
    assert ask(server, DESCRIBE, "AWS4 Credential=A/eu-west-1/ec2, Signature=1") == b"2"
    assert ask(server, b"Action=CreateVolume") == b"3"
    assert ask(server, DESCRIBE) == b"4"


def test_neither_other_reads_nor_errors_are_remembered():
    application = Application()
    server = Remembering(application)
    assert [ask(server, b"Action=GetConsoleOutput"), ask(server, b"Action=GetConsoleOutput")] == [b"1", b"2"]
    application.status = "400 Bad Request"
    assert [ask(server, DESCRIBE), ask(server, DESCRIBE)] == [b"3", b"4"]


def test_an_answer_that_a_change_overtook_is_not_remembered():
    application = Application()
    server = Remembering(application)
    application.meanwhile = lambda: ask(server, b"Action=CreateVolume")
    assert [ask(server, DESCRIBE), ask(server, DESCRIBE)] == [b"1", b"3"]


@pytest.mark.parametrize(
    "filters",
    [
        {"resource-id": ["i-1"]},
        {"resource-id": ["i-3"]},
        {"resource-id": ["i-1", "vol-1"]},
        {"resource-id": ["i-*"]},
        {"resource-id": ["i-1"], "key": ["Name"]},
        {"resource-type": ["volume"]},
        None,
    ],
)
def test_tags_are_the_same_without_a_search(filters: dict[str, list[str]] | None) -> None:
    tags = TagBackend()
    for resource in ("i-1", "i-2", "vol-1", "i-10"):
        tags.create_tags([resource], {"Name": resource, "immutable:slot": "0"})
    before = dict(tags.tags)
    assert direct_tags(TagBackend.describe_tags)(tags, filters) == tags.describe_tags(filters)
    assert dict(tags.tags) == before
