# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Certificates of CAs that a definition accepts: PEM text in the definition, or the path of a file beside it."""

from __future__ import annotations

import re
import ssl
import stat
from pathlib import Path

MAX_BYTES = 262144  # of the PEM text; larger than the bundle of a system
_BEGIN = "-----BEGIN CERTIFICATE-----"
_CERTIFICATE = re.compile(rf"{_BEGIN}[A-Za-z0-9+/=\s]*-----END CERTIFICATE-----")
ALLOWED = "the path of a PEM file inside the definition's folder, or PEM text"


def read_authorities(folder: Path, value: str) -> str:
    """Return the certificates that ``value`` names or contains, as PEM text without anything else.

    Args:
        folder: the definition's, which relative paths start from.

    Raises ValueError with the reason, which continues a sentence.
    """
    if "-----BEGIN" in value:
        return certificates_in(value)
    try:
        path = folder / value
        if not path.resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"names a file outside the definition's folder (allowed: {ALLOWED})")
        if not stat.S_ISREG(path.stat().st_mode):
            raise ValueError(f"is not a file (allowed: {ALLOWED})")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, RuntimeError) as error:
        raise ValueError(f"cannot be read: {getattr(error, 'strerror', None) or error} (allowed: {ALLOWED})") from error
    return certificates_in(data.decode("latin-1"))


def certificates_in(text: str) -> str:
    """Return the certificates in a PEM text as PEM text without anything else, in their order.

    Raises ValueError with the reason, which continues a sentence.
    """
    if len(text) > MAX_BYTES:
        raise ValueError(f"has more than {MAX_BYTES} bytes (allowed: the certificates of the CAs that you use)")
    if "PRIVATE KEY-----" in text:
        raise ValueError("contains a private key (allowed: certificates only; remove the key)")
    blocks = _CERTIFICATE.findall(text)
    if not blocks or len(blocks) != text.count(_BEGIN):
        raise ValueError(f"contains no complete PEM certificate (allowed: {ALLOWED}, of at least one certificate)")
    try:
        plain = "".join(ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(block)) for block in blocks)
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=plain)
    except (ssl.SSLError, ValueError) as error:
        raise ValueError(f"contains a certificate that cannot be read (allowed: {ALLOWED})") from error
    return plain
