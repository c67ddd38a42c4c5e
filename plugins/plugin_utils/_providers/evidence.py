# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Read what a host printed when it sealed itself.

A console also shows what the kernel and services print, and unprivileged users of the host influence that. So evidence
is a short line that begins with the mark and consists of a flat object of short strings. Everything else is no
evidence, and never an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from .contract import Evidence

MARK = "IMMUTABLE-SEALED "
BOOTED = re.compile(r"^IMMUTABLE-LAUNCHED\r?$", re.MULTILINE)  # printed once in each boot, before the evidence
MAX_LINE = 2048  # bytes; a line with the longest host key is about half as long

_MARK = MARK.encode()
_TEXT = rb'"[^"\\\x00-\x1f\x7f-\xff]*"'
_PAIR = rb'"[a-z_]{1,32}": ?' + _TEXT
_OBJECT = re.compile(rb"\{ ?" + _PAIR + rb"(?:, ?" + _PAIR + rb")* ?\}")
_FIELD = re.compile(rb'"([a-z_]{1,32})": ?"([^"]*)"')
_PATTERNS = {
    "digest": re.compile(r"sha256:[0-9a-f]{1,64}"),
    "nonce": re.compile(r"[A-Za-z0-9._-]{1,64}"),
    "host_key": re.compile(r"(?:[a-z0-9@.-]{1,64} [A-Za-z0-9+/]{1,1400}={0,3})?"),
    "shell": re.compile(r"restricted|off"),
}


class EvidenceReader:
    """Finds the evidence in the output of one boot, which may arrive in pieces.

    The first line with the nonce of the launch is the evidence, because only root on the host can read the nonce. Until
    there is one, ``evidence`` is the first line with another nonce.

    Args:
        nonce: of the launch.
        evidence: what was found earlier.

    Attributes:
        evidence: what was found so far, or None.
    """

    def __init__(self, nonce: str, evidence: Evidence | None = None) -> None:
        self.evidence = evidence
        self._nonce = nonce
        self._rest = b""  # the beginning of a line whose end has not arrived yet

    @property
    def proven(self) -> bool:
        """Whether the evidence repeats the nonce of the launch. Later output cannot change it."""
        return self.evidence is not None and self.evidence.nonce == self._nonce

    def feed(self, data: bytes) -> None:
        """Read the next piece of output."""
        # Only a line feed ends a line. A kernel message may contain a carriage return or another separator.
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[: MAX_LINE + 1]
        for line in lines:
            if self.proven:
                return
            if line.startswith(_MARK) and (found := _evidence_in(line)):
                self.evidence = found if found.nonce == self._nonce else self.evidence or found

    def skip(self) -> None:
        """Forget an incomplete line, because the output after it is left out."""
        self._rest = b"(left out)"


def parse_evidence(console: str | bytes, nonce: str) -> Evidence | None:
    """Return the evidence in the output of one boot, or None.

    Args:
        nonce: of the launch.
    """
    reader = EvidenceReader(nonce)
    reader.feed((console if isinstance(console, bytes) else console.encode("utf-8", "replace")) + b"\n")
    return reader.evidence


def last_boot(console: str) -> tuple[str, bool]:
    """Return the output of the last boot in a console that shows several, and whether its beginning is in it."""
    starts = [found.end() for found in BOOTED.finditer(console)]
    return (console[starts[-1] :], True) if starts else (console, False)


def checked_evidence(fields: Mapping[str, object]) -> Evidence | None:
    """Return the fields of a line or of a document as evidence. None if one is missing or not as a seal prints it."""
    texts = {name: fields.get(name) for name in _PATTERNS}
    good = {name: text for name, text in texts.items() if isinstance(text, str) and _PATTERNS[name].fullmatch(text)}
    return Evidence(**good) if len(good) == len(_PATTERNS) else None


def _evidence_in(line: bytes) -> Evidence | None:
    text = line.rstrip(b"\r")[len(_MARK) :]
    if len(text) > MAX_LINE or not _OBJECT.fullmatch(text):
        return None
    pairs = [(name.decode("ascii"), value.decode("ascii")) for name, value in _FIELD.findall(text)]
    return checked_evidence(dict(pairs)) if len(dict(pairs)) == len(pairs) else None
