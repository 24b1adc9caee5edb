"""Certificates of a test's own authority, on disk as users have them, and servers that show and demand them."""

from __future__ import annotations

import datetime as dt
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from tests.support.emulator import new_emulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import trustme

    from sidecar.emulator.server import Emulator

DAY: Final = dt.timedelta(days=1)
#: The address on which servers are found; their certificates name it.
ADDRESS: Final = "127.0.0.1"


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def leaf_pem(certificate: trustme.LeafCert) -> bytes:
    """Return the certificate with its chain."""
    return b"".join(pem.bytes() for pem in certificate.cert_chain_pems)


def encrypted_key(certificate: trustme.LeafCert, password: str, form: PrivateFormat = PrivateFormat.PKCS8) -> bytes:
    """Return the private key as ``openssl`` writes it with a password."""
    key: Any = load_pem_private_key(certificate.private_key_pem.bytes(), None)
    encryption = BestAvailableEncryption(password.encode())
    pem: bytes = key.private_bytes(Encoding.PEM, form, encryption)
    return pem


@dataclass(frozen=True)
class ClientFiles:
    """A client certificate, its key and a CA file on disk."""

    cert: Path
    key: Path
    ca: Path

    @classmethod
    def write(cls, directory: Path, authority: trustme.CA, certificate: trustme.LeafCert) -> ClientFiles:
        files = cls(directory / "client.pem", directory / "client.key", directory / "ca.pem")
        files.ca.write_bytes(authority.cert_pem.bytes())
        files.put(certificate)
        return files

    def put(self, certificate: trustme.LeafCert) -> None:
        """Write another certificate and its key in place."""
        self.cert.write_bytes(leaf_pem(certificate))
        self.key.touch(mode=0o600)
        self.key.chmod(0o600)
        self.key.write_bytes(certificate.private_key_pem.bytes())

    @property
    def settings(self) -> dict[str, str]:
        """For ``running_app``."""
        return {"tls_client_cert_file": str(self.cert), "tls_client_key_file": str(self.key), **self.trust}

    @property
    def trust(self) -> dict[str, str]:
        return {"tls_ca_file": str(self.ca)}


class ServerContext(ssl.SSLContext):
    """A server's context that remembers every connection made with it, and the certificate shown on it."""

    #: Class attributes: ``ssl.SSLContext`` is made in ``__new__``.
    connections: list[ssl.SSLObject]

    @classmethod
    def make(cls, certificate: trustme.LeafCert, clients: trustme.CA | None = None) -> ServerContext:
        """Show ``certificate``; demand one of ``clients`` from whoever connects."""
        context = cls(ssl.PROTOCOL_TLS_SERVER)
        context.connections = []
        certificate.configure_cert(context)
        if clients is not None:
            clients.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        made = super().wrap_bio(*args, **kwargs)
        self.connections.append(made)
        return made

    @property
    def shown(self) -> list[int]:
        """The serial numbers of the certificates that clients showed, one for each finished handshake, in order."""
        return [serial for made in self.connections if (serial := _serial(made)) is not None]


def _serial(made: ssl.SSLObject) -> int | None:
    try:
        certificate = made.getpeercert()
    except ValueError:  # the handshake was not done
        return None
    return int(str(certificate["serialNumber"]), 16) if certificate else None


def serial(certificate: trustme.LeafCert) -> int:
    """Return a certificate's serial number, as :attr:`ServerContext.shown` has it."""
    from cryptography.x509 import load_pem_x509_certificate

    return load_pem_x509_certificate(certificate.cert_chain_pems[0].bytes()).serial_number


@asynccontextmanager
async def tls_emulator(
    context: ssl.SSLContext, *, port: int = 0, **settings: Any
) -> AsyncIterator[tuple[Emulator, str]]:
    """Run an emulator that speaks TLS; give it and its base URL."""
    emulator = new_emulator(**settings)
    await emulator.start(ADDRESS, port, ssl_context=context)
    try:
        yield emulator, f"https://{ADDRESS}:{emulator.port}"
    finally:
        await emulator.stop()
