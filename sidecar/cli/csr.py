"""``csr``: make the private key and the certificate signing request that Mangopay's Dashboard asks for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from sidecar.cli.command import BAD_USAGE, Command, CommandError
from sidecar.cli.new_file import write_new
from sidecar.cli.output import print_line
from sidecar.cli.process import forbid_core_dumps

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

#: Mangopay's page "mTLS": the platform makes an RSA key of 2048 bits.
KEY_BITS: Final = 2048
#: The one public exponent in use (FIPS 186-5 section 5.1 allows others; nobody has them).
_EXPONENT: Final = 65537
#: RFC 5280 appendix A.1, ub-common-name.
_LONGEST_NAME: Final = 64
_OWNER_ONLY: Final = 0o600
_FOR_ALL: Final = 0o644


@click.command("csr", cls=Command)
@click.option(
    "--client-id", metavar="ID", required=True, help="Your ClientId; it becomes the certificate's common name."
)
@click.option(
    "--out",
    "directory",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="The directory to write to.",
)
def command(client_id: str, directory: Path) -> int:
    """Make an RSA key and a certificate signing request for mTLS.

    Writes CLIENT_ID.key, for its owner only, and CLIENT_ID.csr. Files that are there already are left alone.
    """
    _check_client_id(client_id)
    forbid_core_dumps()
    key_file, csr_file = directory / f"{client_id}.key", directory / f"{client_id}.csr"
    try:
        for file in (key_file, csr_file):
            if file.exists() or file.is_symlink():
                raise CommandError(f"{file} exists already and is left as it is: name another directory", BAD_USAGE)
        private_key, request = _make(client_id)
        directory.mkdir(parents=True, exist_ok=True)
        write_new(key_file, private_key, _OWNER_ONLY)
        try:
            write_new(csr_file, request, _FOR_ALL)
        except OSError:
            key_file.unlink()  # without a request it is of no use, and would stand in the way of the next try
            raise
    except OSError as error:
        from sidecar.core.system_errors import mend, reason
        from sidecar.core.text import printable_name

        advice = mend(error) or "name another directory"
        message = f"--out: cannot write to {printable_name(directory)} ({reason(error)}): {advice}"
        raise CommandError(message, BAD_USAGE) from None
    print_line(
        f"Wrote {key_file} (keep it secret) and {csr_file}.\n"
        f"Upload {csr_file} in Mangopay's Dashboard, save the certificate that it gives as {client_id}.pem, then set\n"
        f"  SIDECAR_TLS_CLIENT_CERT_FILE={directory / f'{client_id}.pem'}\n"
        f"  SIDECAR_TLS_CLIENT_KEY_FILE={key_file}"
    )
    return 0


def _check_client_id(client_id: str) -> None:
    from sidecar.config.errors import InvalidValue
    from sidecar.config.values import CLIENT_ID

    try:
        CLIENT_ID.parse(client_id)
    except InvalidValue as unfit:
        raise CommandError(f"--client-id {unfit}: give {CLIENT_ID.expected}", BAD_USAGE) from None
    if len(client_id) > _LONGEST_NAME:
        message = (
            f"--client-id is longer than the {_LONGEST_NAME} characters of a common name: give the one of your keys"
        )
        raise CommandError(message, BAD_USAGE)


def _make(client_id: str) -> tuple[bytes, bytes]:
    """Return the key (PKCS #8) and the request (PKCS #10, RFC 2986), both in PEM."""
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import rsa
    except ImportError:
        raise CommandError(
            "making keys needs the package 'cryptography': pip install 'mangopay-sidecar[mtls]'", BAD_USAGE
        ) from None
    key = rsa.generate_private_key(_EXPONENT, KEY_BITS)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return pem, _request(client_id, key)


def _request(client_id: str, key: RSAPrivateKey) -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.x509.oid import NameOID

    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, client_id)])
    signed = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM)
