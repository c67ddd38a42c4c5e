# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Verify AWS's signature of an instance identity document, with OpenSSL.

The signature is a PKCS#7 message that contains the document, made with the RSA-2048 key of the region:
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/verify-rsa2048.html. The command there accepts a signature by any
certificate that the message itself contains. ``-nointern`` accepts only AWS's.
"""

from __future__ import annotations

import subprocess
import tempfile
import textwrap

from ..._core.errors import ProviderError

TIMEOUT = 30.0  # seconds
MAX_DOCUMENT = 8192  # bytes


def signed_document(signature: str, certificates: str) -> str | None:
    """The document that is signed, or None if no key of the certificates signed it.

    Args:
        signature: PKCS#7 in Base64, without the lines around it.
        certificates: of AWS, in PEM format:
            https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/regions-certs.html

    Raises ProviderError if OpenSSL is missing.
    """
    lines = textwrap.wrap("".join(signature.split()), 64)
    message = "\n".join(["-----BEGIN PKCS7-----", *lines, "-----END PKCS7-----", ""]).encode("ascii", "replace")
    with tempfile.NamedTemporaryFile(prefix="immutable-", suffix=".pem") as trusted:
        trusted.write(certificates.encode("ascii"))
        trusted.flush()
        argv = ["openssl", "smime", "-verify", "-inform", "PEM", "-nointern", "-noverify", "-certfile", trusted.name]
        try:
            done = subprocess.run(argv, input=message, capture_output=True, timeout=TIMEOUT, check=False)
        except FileNotFoundError:
            raise ProviderError(
                "identity_certificates needs the program openssl on the controller, which verifies identity documents "
                "(Debian: apt install openssl)"
            ) from None
        except (OSError, subprocess.TimeoutExpired):
            return None
    return done.stdout[:MAX_DOCUMENT].decode("utf-8", "replace") if done.returncode == 0 else None
