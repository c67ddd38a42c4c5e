# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Sign identity documents as AWS does, with a key of the tests."""

from __future__ import annotations

import base64
import datetime
import functools

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import NameOID


class Signer:
    """A key with its certificate."""

    def __init__(self, name: str) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, name)])
        began = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
        builder = (
            x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(self._key.public_key())
        )
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(began)
        self._certificate = builder.not_valid_after(began + datetime.timedelta(days=36500)).sign(
            self._key, hashes.SHA256()
        )

    @property
    def certificate(self) -> str:
        """The certificate as PEM text."""
        return self._certificate.public_bytes(serialization.Encoding.PEM).decode()

    def sign(self, document: str, *, certified: bool = False) -> str:
        """The signature of a document, PKCS#7 in Base64.

        Args:
            certified: whether it contains the certificate.
        """
        options = [pkcs7.PKCS7Options.Binary, *([] if certified else [pkcs7.PKCS7Options.NoCerts])]
        builder = pkcs7.PKCS7SignatureBuilder().set_data(document.encode())
        signature = builder.add_signer(self._certificate, self._key, hashes.SHA256())
        return base64.encodebytes(signature.sign(serialization.Encoding.DER, options)).decode()


@functools.cache
def signer(name: str = "Amazon Web Services LLC") -> Signer:
    """A signer of this test run."""
    return Signer(name)
