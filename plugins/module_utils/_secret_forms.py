# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The forms that a secret takes where tools encode, escape or quote it.

The masking of text and the search for residue share these tables.
"""

from __future__ import annotations

import base64
import html
import json
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Callable  # noqa: UP035  Python 3.8 cannot subscript the one of collections.abc

_MIN_BASE64 = 6  # characters; shorter Base64 matches by chance
_MAX_NESTED = 512  # characters; a longer secret is not searched for in encodings of encodings, but its lines are


def _json(text: str) -> str:
    return json.dumps(text)[1:-1]


def _json_utf8(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _go_json(text: str) -> str:
    shown = _json_utf8(text).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return shown.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _replacing(characters: Mapping[str, str]) -> Callable[[str], str]:
    table = {ord(character): shown for character, shown in characters.items()}
    return lambda text: text.translate(table)


def _before(characters: str) -> Callable[[str], str]:
    """Escapes by a backslash before each of the characters."""
    return _replacing({character: "\\" + character for character in characters})


def _percent(safe: str, lower: bool = False) -> Callable[[str], str]:
    def escape(text: str) -> str:
        shown = urllib.parse.quote(text.encode("utf-8", "surrogatepass"), safe=safe)
        return re.sub("%[0-9A-F]{2}", lambda found: found.group().lower(), shown) if lower else shown

    return escape


_C_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_ECHO = {"\\": "\\", "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_XML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_XML_SPACE = {"\t": "&#x9;", "\n": "&#xA;", "\r": "&#xD;"}

# By the tool or format that shows a text in this way, without quotes around it.
ESCAPES: Mapping[str, Callable[[str], str]] = {
    "JSON": _json,
    "JSON in UTF-8": _json_utf8,
    "JSON of Go": _go_json,
    "JSON of Go in ASCII": lambda text: _go_json(text).encode("ascii", "backslashreplace").decode("ascii"),
    "JSON of PHP": lambda text: _json(text).replace("/", "\\/"),
    "Python": lambda text: repr(f'{text}"')[1:-2],
    "Python in ASCII": lambda text: ascii(f'{text}"')[1:-2],
    "Python in double quotes": lambda text: repr(f"{text}'")[1:-2],
    "Python's bytes": lambda text: repr(text.encode("utf-8", "surrogatepass") + b'"')[2:-2],
    "Python in double quotes, in ASCII": lambda text: ascii(f"{text}'")[1:-2],
    "Python's bytes in double quotes": lambda text: repr(text.encode("utf-8", "surrogatepass") + b"'")[2:-2],
    "HCL": lambda text: _json_utf8(text).replace("${", "$${").replace("%{", "%%{"),
    "Packer's comma": lambda text: text.replace(",", "%!(PACKER_COMMA)"),
    # Packer does not escape backslashes in its machine-readable output, so these two characters read as a line end.
    "Packer's line end": lambda text: text.replace("\\n", "\n").replace("\\r", "\r").replace("%!(PACKER_COMMA)", ","),
    "a shell without quotes": lambda text: re.sub(r"\\(.)", r"\1", text),
    "the echo of sh": lambda text: re.sub(r"\\([\\abfnrtv])", lambda found: _ECHO[found.group(1)], text),
    "XML": _replacing(_XML),
    "XML's attributes": _replacing({**_XML, '"': "&quot;", "'": "&apos;"}),
    "HTML": html.escape,
    "HTML of Go": _replacing({**_XML, '"': "&#34;", "'": "&#39;"}),
    "HTML of PHP": _replacing({**_XML, '"': "&quot;", "'": "&#039;"}),
    "HTML in decimal": _replacing({**_XML, '"': "&quot;", "'": "&#39;"}),
    "XML of Go": _replacing({**_XML, **_XML_SPACE, '"': "&#34;", "'": "&#39;"}),
    "a shell's single quotes": _replacing({"'": "'\\''"}),
    "Python's shlex": _replacing({"'": "'\"'\"'"}),
    "quotes of SQL, YAML and PowerShell": _replacing({"'": "''"}),
    "a shell's double quotes": _before('\\"$`'),
    "a shell's double quotes, history": _before('\\"$`!'),
    "a shell's backslashes": lambda text: re.sub(r"[^A-Za-z0-9_@%+=:,./\-\x80-\U0010ffff]", r"\\\g<0>", text),
    "Bash's %q": _before(" \t\n|&;()<>!{}*[?]^$`,'\"\\"),
    "Bash's $'...'": _replacing({**_C_ESCAPES, "'": "\\'"}),
    "C": _replacing({**_C_ESCAPES, '"': '\\"'}),
    "a URL": _percent(""),
    "a URL in lower case": _percent("", lower=True),
    "a URL's path": _percent("/"),
    "a URL's path in lower case": _percent("/", lower=True),
    "a form": lambda text: _percent("")(text).replace("%20", "+"),
    "a URL's user of Go": _percent("$&+,;="),
    "JavaScript's encodeURIComponent": _percent("!'()*"),
    "JavaScript's encodeURI": _percent(";/?:@&=+$,#!'()*"),
    "Compose": _replacing({"$": "$$"}),
    "a format": _replacing({"%": "%%"}),
}


def _base64(secret: bytes) -> Iterator[bytes]:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        whole = encode(secret)
        yield whole
        yield whole.rstrip(b"=")
        for width in (64, 76):  # PEM, MIME
            if len(whole) > width:
                lines = [whole[start : start + width] for start in range(0, len(whole), width)]
                yield from (line for line in lines if len(line) >= width // 2)
        for shift in range(3):
            # The bits of the bytes before the secret end in the character at ceil(8 * shift / 6).
            encoded = encode(bytes(shift) + secret)[-(-8 * shift // 6) : 8 * (shift + len(secret)) // 6]
            if len(encoded) >= _MIN_BASE64:
                yield encoded


def _hex(secret: bytes) -> Iterator[bytes]:
    plain = secret.hex()
    pairs = [plain[start : start + 2] for start in range(0, len(plain), 2)]
    for text in (plain, ":".join(pairs), " ".join(pairs), "".join(f"\\x{pair}" for pair in pairs)):
        yield text.encode("ascii")
        yield text.upper().replace("\\X", "\\x").encode("ascii")


def _utf16(text: str) -> Iterator[bytes]:
    for name in ("utf-16-le", "utf-16-be"):
        data = text.encode(name, "surrogatepass")
        yield data
        yield from _base64(data)  # such as PowerShell's encoded commands
        yield from _hex(data)


def secret_forms(secret: bytes, nested: bool = False) -> set[bytes]:
    """Return the secret and its usual encodings.

    Base64 is included as a whole and as the part that stays the same when the secret is a piece of a longer text.

    Args:
        nested: whether to include encodings of its escaped forms, such as JSON in JSON.
    """
    encoded = set(_base64(secret))
    forms = {secret, *encoded, *_hex(secret)}
    try:
        text = secret.decode("utf-8")
    except UnicodeDecodeError:
        return forms | {urllib.parse.quote(secret, safe="").encode("ascii")}
    escaped = {escape(text) for escape in ESCAPES.values()}
    if nested and len(text) <= _MAX_NESTED:
        forms.update(form for shown in escaped for form in _base64(_bytes(shown)))
        outer = [ESCAPES[name] for name in _OUTER]
        inner = escaped | {form.decode("ascii") for form in encoded}
        escaped |= {escape(shown) for shown in inner for escape in outer}
    return forms | set(_utf16(text)) | {_bytes(shown) for shown in escaped}


# Formats that often hold other formats.
_OUTER = (
    "JSON",
    "JSON in UTF-8",
    "JSON of Go",
    "Python",
    "HTML",
    "HTML of Go",
    "a shell's single quotes",
    "a shell's double quotes",
    "a URL",
    "a form",
)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
