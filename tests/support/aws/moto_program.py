# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""moto as a program: ``python moto_program.py PID``. It prints its port, and ends when the process PID ends.

A swap that waits describes the same resources again and again, and moto renders each answer again, in up to 15 ms of
processor time. So the answers to Describe calls are kept until a call that may change something. And moto looks at the
tags of all resources for those of one, so that an answer about a thousand instances took minutes.
"""

from __future__ import annotations

import io
import os
import re
import select
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from moto.ec2.models.launch_templates import LaunchTemplateVersion
from moto.ec2.models.tags import TagBackend
from moto.ec2.utils import parse_user_data
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

_DESCRIBES = re.compile(rb"(^|&)Action=Describe[A-Za-z]+(&|$)")
_Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


class _Answer(NamedTuple):
    status: str
    headers: list[tuple[str, str]]
    body: bytes


class Remembering:
    """moto with a memory. Nothing is kept that was read while something changed."""

    def __init__(self, moto: _Application) -> None:
        self._moto = moto
        self._lock = threading.Lock()
        self._answers: dict[tuple[str, ...], _Answer] = {}
        self._changing = 0
        self._changes = 0

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        describes = environ["REQUEST_METHOD"] == "POST" and _DESCRIBES.search(body)
        answer = self._described(environ, body) if describes else self._changed(environ)
        start_response(answer.status, answer.headers)
        return [answer.body]

    def _described(self, environ: dict[str, Any], body: bytes) -> _Answer:
        # The part of the header before the signature: the access key, the day, the region and the service.
        caller = environ.get("HTTP_AUTHORIZATION", "").partition(",")[0]
        asked = (environ.get("HTTP_HOST", ""), environ["PATH_INFO"], caller, body.decode("latin-1"))
        with self._lock:
            kept, changes, steady = self._answers.get(asked), self._changes, not self._changing
        if kept:
            return kept
        answer = self._ask(environ)
        with self._lock:
            if steady and changes == self._changes and answer.status.startswith("200"):
                self._answers[asked] = answer
        return answer

    def _changed(self, environ: dict[str, Any]) -> _Answer:
        with self._lock:
            self._changing += 1
            self._changes += 1
            self._answers.clear()
        try:
            return self._ask(environ)
        finally:
            with self._lock:
                self._changing -= 1

    def _ask(self, environ: dict[str, Any]) -> _Answer:
        begun: list[Any] = []
        chunks = self._moto(environ, lambda status, headers, failure=None: begun.extend((status, headers)))
        try:
            body = b"".join(chunks)
        finally:
            getattr(chunks, "close", lambda: None)()
        return _Answer(begun[0], begun[1], body)


def direct_tags(described: Callable[..., list[dict[str, str]]]) -> Callable[..., list[dict[str, str]]]:
    """Return moto's ``describe_tags``, which finds the tags of one resource without a look at the others."""

    def found(tags: TagBackend, filters: dict[str, list[str]] | None = None) -> list[dict[str, str]]:
        ids = (filters or {}).get("resource-id", [])
        if len(ids) == 1 and re.fullmatch(r"[a-z0-9-]+", ids[0]):  # without wildcards
            of_one = TagBackend()
            of_one.tags.update({one: tags.tags[one] for one in ids if one in tags.tags})
            tags = of_one
        return described(tags, filters)

    return found


def main(caller: int) -> None:
    ended = os.pidfd_open(caller)
    setattr(TagBackend, "describe_tags", direct_tags(TagBackend.describe_tags))  # noqa: B010  mypy takes it for a method
    # moto launches no instance of a group from a version with user data: it decodes that of a template's first one only
    decoded = property(lambda version: parse_user_data(version.data.get("UserData")))
    setattr(LaunchTemplateVersion, "user_data", decoded)  # noqa: B010  mypy takes it for a method
    application = Remembering(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=MotoRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.port, flush=True)
    if os.getppid() == caller:
        select.select([ended], [], [])
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
