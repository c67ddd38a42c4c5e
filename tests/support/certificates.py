# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Real certificates, and a server that answers with one of them."""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

NAME = "shop.example.com"


@dataclass(frozen=True)
class Identity:
    """A certificate with its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def key_pem(self) -> str:
        form = serialization.PrivateFormat.PKCS8
        return self.key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def issue(
    subject: str, issuer: Identity | None = None, *, names: Sequence[str] = (), ca: bool = False, days: int = 1
) -> Identity:
    """Issue a certificate.

    Args:
        issuer: None for a self-signed one.
        names: DNS names that it is valid for.
        days: how long it is valid from two days ago; negative for one that has expired.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    signer = issuer.key if issuer else key
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)])
    start = datetime.now(timezone.utc) - timedelta(days=2)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.certificate.subject if issuer else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=2 + days))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in names]), False)
    return Identity(builder.sign(signer, hashes.SHA256()), key)


@dataclass
class TlsServer:
    """What a server received, and what it answers."""

    address: tuple[str, int]
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)  # request line, headers in lower case
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"all is well"


@contextmanager
def http_server(folder: Path, identity: Identity | None, host: str = "127.0.0.1") -> Iterator[TlsServer]:
    """Serve HTTPS with a certificate, or plain HTTP without one, on a free port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            received = {name.lower(): value for name, value in self.headers.items()}
            served.requests.append((self.requestline, received))
            self.send_response(served.status)
            for name, value in served.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(served.body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(served.body)

        do_HEAD = do_GET

        def log_message(self, *args: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        address_family = 10 if ":" in host else 2  # AF_INET6, AF_INET
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that refuses the certificate is no error of the server."""

    server = Server((host, 0), Handler)
    if identity:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        bundle = folder / f"server-{server.server_address[1]}.pem"
        bundle.write_text(identity.pem + identity.key_pem, encoding="ascii")
        context.load_cert_chain(bundle)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    served = TlsServer((host, server.server_address[1]))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
