# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The forms that a secret takes where tools encode, escape or quote it."""

from __future__ import annotations

import base64
import json
import urllib.parse
from collections.abc import Iterator

_MIN_BASE64 = 6  # characters; shorter Base64 matches by chance


def secret_forms(secret: bytes) -> set[bytes]:
    """Return the secret and its usual encodings: Base64, and the escapes of JSON, URLs, shells and Packer.

    Base64 is included as a whole and as the part that stays the same when the secret is a piece of a longer text.
    """
    forms = {secret, *_base64(secret), urllib.parse.quote(secret, safe="").encode("ascii")}
    try:
        text = secret.decode("utf-8")
    except UnicodeDecodeError:
        return forms
    return forms | {form.encode("utf-8") for form in _escaped(text)}


def _base64(secret: bytes) -> Iterator[bytes]:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(secret)
        for shift in range(3):
            # The bits of the bytes before the secret end in the character at ceil(8 * shift / 6).
            encoded = encode(bytes(shift) + secret)[-(-8 * shift // 6) : 8 * (shift + len(secret)) // 6]
            if len(encoded) >= _MIN_BASE64:
                yield encoded


def _escaped(text: str) -> Iterator[str]:
    for ascii_only in (True, False):
        inner = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
        yield inner
        yield inner.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")  # JSON as Go writes it
    yield text.replace("\\", "\\\\").replace('"', '\\"')  # HCL
    yield text.replace(",", "%!(PACKER_COMMA)")
    yield text.replace("'", "'\\''")  # shells
    yield text.replace("'", "'\"'\"'")  # Python's shlex
    yield urllib.parse.quote(text)
    yield urllib.parse.quote_plus(text)
