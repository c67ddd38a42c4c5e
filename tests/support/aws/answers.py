# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Answers to calls, and errors as each service's protocol writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from xml.sax.saxutils import escape

from .calls import Call

REQUEST_ID = "00000000-0000-4000-8000-000000000000"


class Dropped(Exception):
    """The connection ends without an answer."""


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)  # without hop-by-hop ones

    @property
    def ok(self) -> bool:
        return self.status < 300

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def with_text(self, text: str) -> Answer:
        return replace(self, body=text.encode())


def refusal(call: Call, status: int, code: str, message: str) -> Answer:
    """An error as the call's service writes it."""
    if call.protocol == "json":
        document = json.dumps({"__type": code, "message": message})
        return Answer(
            status, document.encode(), {"Content-Type": "application/x-amz-json-1.1", "x-amzn-RequestId": REQUEST_ID}
        )
    if call.protocol == "cbor":
        return Answer(
            status,
            _cbor({"__type": code, "message": message}),
            {"Content-Type": "application/cbor", "smithy-protocol": "rpc-v2-cbor"},
        )
    code, message = escape(code), escape(message)
    if call.service == "ec2":
        error = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        body = f"<Response><Errors>{error}</Errors><RequestID>{REQUEST_ID}</RequestID></Response>"
    elif call.service == "s3":
        body = f"<Error><Code>{code}</Code><Message>{message}</Message><RequestId>{REQUEST_ID}</RequestId></Error>"
        if call.action.startswith("Head"):
            body = ""  # an answer to HEAD has no body, so it has no code of AWS either
    else:
        kind = "Sender" if status < 500 else "Receiver"
        error = f"<Error><Type>{kind}</Type><Code>{code}</Code><Message>{message}</Message></Error>"
        body = f"<ErrorResponse>{error}<RequestId>{REQUEST_ID}</RequestId></ErrorResponse>"
    return Answer(status, body.encode(), {"Content-Type": "text/xml", "x-amzn-RequestId": REQUEST_ID})


def _cbor(words: Mapping[str, str]) -> bytes:
    """A map of short texts in CBOR, see RFC 8949."""
    texts = [text.encode() for pair in words.items() for text in pair]
    return bytes([0xA0 | len(words)]) + b"".join(b"\x79" + len(text).to_bytes(2, "big") + text for text in texts)
