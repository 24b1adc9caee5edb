"""Whose certificates are trusted, for every TLS connection out of the sidecar."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final

from sidecar.advice.texts.files import DIAGNOSES
from sidecar.config import ConfigError
from sidecar.config.errors import InvalidValue, UnreadableFile
from sidecar.config.secret_file import read_bounded
from sidecar.core.causes import OF_DEFECT
from sidecar.core.certificate import Defect
from sidecar.core.text import printable_name
from sidecar.core.tls_alerts import reason_in_words

if TYPE_CHECKING:
    from pathlib import Path

    from sidecar.config import Tls

#: The keys of section [tls] that name certificates to be trusted.
AUTHORITIES: Final = ("ca_file", "extra_ca_file")
#: Bytes. The store of a whole operating system has some 250,000.
MAX_FILE: Final = 4 * 1024 * 1024
_NO_CERTIFICATES: Final = "name a PEM file of certificates or a key, which is much smaller"


class TlsFileError(ConfigError):
    """A file that TLS needs is no good; ``str()`` is one line: key and file, what is wrong, what to do.

    That is the mend of the defect, unless there is a better one.
    """

    def __init__(self, setting: str, path: Path, defect: Defect, what: str, mend: str | None = None) -> None:
        super().__init__(f"tls.{setting}: {printable_name(path)}", what, mend or DIAGNOSES[OF_DEFECT[defect]].mend)
        #: Without its section: ``client_cert_file``.
        self.setting: Final = setting
        self.defect: Final = defect


def verifying_context(*, system_store: bool) -> ssl.SSLContext:
    """Make a client's context: certificate and name verified, TLS 1.2 or later.

    ``ssl.create_default_context`` is not used because it would write session
    keys to the file that the environment variable ``SSLKEYLOGFILE`` names.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # certificate required, host name checked
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A renegotiation could change who is on the other side after it was verified.
    context.options |= ssl.OP_NO_RENEGOTIATION
    if system_store:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    return context


def store_context(tls: Tls) -> ssl.SSLContext:
    """Make the context for a token store: what section [tls] trusts, read anew. Raises TlsFileError."""
    context = verifying_context(system_store=tls.ca_file is None)
    for setting in AUTHORITIES:
        path: Path | None = getattr(tls, setting)
        if path is not None:
            load_authorities(context, setting, path, read_file(setting, path)[0])
    return context


def load_authorities(context: ssl.SSLContext, setting: str, path: Path, content: bytes) -> None:
    """Trust the certificates of ``content``, which ``tls.<setting>`` names. Raises TlsFileError."""
    try:
        trust_content(context, content)
    except InvalidValue as unfit:
        raise TlsFileError(setting, path, Defect.NO_CERTIFICATE, str(unfit)) from None


def trust_content(context: ssl.SSLContext, content: bytes) -> None:
    """Trust each certificate of ``content`` (PEM) by itself, also where another one signed it.

    A company often hands out its issuing CA, not the root (X509_V_FLAG_PARTIAL_CHAIN).
    Raises InvalidValue, which ends the sentence "FILE …".
    """
    try:
        context.load_verify_locations(cadata=content.decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError) as error:  # ValueError: there is nothing at all
        complaint = f"holds no CA certificates that can be read ({reason(error)})"
        raise InvalidValue(complaint) from None
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN


def read_file(setting: str, path: Path) -> tuple[bytes, bool]:
    """Return what is in a file that ``tls.<setting>`` names, and whether everybody may read it. Raises TlsFileError."""
    try:
        return read_pem(path)
    except UnreadableFile as unfit:
        raise TlsFileError(setting, path, Defect.UNREADABLE, str(unfit), unfit.mend) from None
    except InvalidValue as unfit:
        raise TlsFileError(setting, path, Defect.UNREADABLE, str(unfit), _NO_CERTIFICATES) from None


def read_pem(path: Path) -> tuple[bytes, bool]:
    """Return what is in a file of certificates or keys, and whether everybody may read it.

    Raises InvalidValue, also UnreadableFile, which ends the sentence "FILE …".
    """
    content, world_readable = read_bounded(path, MAX_FILE)
    if len(content) > MAX_FILE:
        raise InvalidValue(f"is larger than {MAX_FILE} bytes")
    return content, world_readable


def reason(error: Exception) -> str:
    """Name what OpenSSL or the system found, in their own fixed words."""
    if isinstance(error, ssl.SSLError):
        return reason_in_words(error.reason) or "not PEM"
    return "not PEM" if isinstance(error, ValueError) else type(error).__name__
