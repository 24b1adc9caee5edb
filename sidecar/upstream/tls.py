"""How upstream proves who it is, and how we do: certificates that are trusted, and one that is shown."""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from sidecar.config import ConfigError
from sidecar.config.errors import Unfit, shown
from sidecar.config.secret_file import read_bounded
from sidecar.core.certificate import Defect, Standing, Validity, moment, validity

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sidecar.config import Tls

#: Bytes. The store of a whole operating system has some 250,000.
_MAX_FILE: Final = 4 * 1024 * 1024

#: The keys that name files, in the order in which they are read.
_FILES: Final = ("ca_file", "extra_ca_file", "client_cert_file", "client_key_file")

#: OpenSSL's words where certificate and key do not belong together; the last where one is RSA and the other EC.
_MISMATCHES: Final = frozenset({"key values mismatch", "key type mismatch", "no certificate assigned"})

_RENEW: Final = "get a new certificate from Mangopay's Dashboard"


class TlsFileError(ConfigError):
    """A file that TLS needs is no good; ``str()`` is one line: the key and file, what is wrong, the mend."""

    def __init__(self, setting: str, path: Path, defect: Defect, what: str, mend: str) -> None:
        super().__init__(f"tls.{setting}: {shown(path)}", what, mend)
        #: Without its section: ``client_cert_file``.
        self.setting: Final = setting
        self.defect: Final = defect


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """What the files of section [tls] hold, read once."""

    tls: Tls
    #: By key, without the section; only files that are named.
    contents: Mapping[str, bytes] = field(repr=False)
    #: The same and the password, hashed: to tell whether something changed.
    digests: Mapping[str, bytes] = field(repr=False)
    #: Sentences for the log.
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Trust:
    """What a connection to upstream trusts and shows."""

    context: ssl.SSLContext
    #: The dates of the client certificate; None: there is none.
    validity: Validity | None
    #: Of the files, see there.
    digests: Mapping[str, bytes] = field(repr=False)
    warnings: tuple[str, ...] = ()


def client_context(*, system_store: bool = True) -> ssl.SSLContext:
    """Make the context for connections to upstream: certificate and name verified, TLS 1.2 or later.

    ``ssl.create_default_context`` is not used because it would write session
    keys to the file that the environment variable ``SSLKEYLOGFILE`` names.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # certificate required, host name checked
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A renegotiation could change who is on the other side after it was verified.
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    if system_store:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    return context


def load_trust(tls: Tls, wall: float) -> Trust:
    """Read the files of ``tls`` and check them at the moment ``wall`` (Unix time). Raises TlsFileError."""
    return make_trust(read_files(tls), wall)


def read_files(tls: Tls) -> TlsFiles:
    """Read every file that ``tls`` names, without a look at what is in it. Raises TlsFileError."""
    contents: dict[str, bytes] = {}
    warnings = []
    for setting in _FILES:
        path: Path | None = getattr(tls, setting)
        if path is None:
            continue
        contents[setting], world_readable = _read(setting, path)
        if setting == "client_key_file" and world_readable:
            warnings.append(
                f"{shown(path)} is the client certificate's private key and every user of this machine may read it: "
                "chmod o-r it"
            )
    digests = {setting: hashlib.sha256(content).digest() for setting, content in contents.items()}
    if tls.client_key_password is not None:
        digests["client_key_password"] = hashlib.sha256(tls.client_key_password.reveal().encode()).digest()
    return TlsFiles(tls, MappingProxyType(contents), MappingProxyType(digests), tuple(warnings))


def make_trust(files: TlsFiles, wall: float) -> Trust:
    """Build from ``files`` what connections use, if all of it is good at the moment ``wall`` (Unix time).

    A client certificate must match its key and be within its dates. Raises TlsFileError.
    """
    context = client_context(system_store="ca_file" not in files.contents)
    for setting in ("ca_file", "extra_ca_file"):
        if setting in files.contents:
            _load_authorities(context, setting, files)
    cert, key = files.tls.client_cert_file, files.tls.client_key_file
    if cert is None or key is None:
        return Trust(context, None, files.digests, files.warnings)
    dates = _read_dates(cert, files.contents["client_cert_file"])
    _load_client_certificate(context, _Pair(cert, key, files, dates))
    _check_dates(cert, dates, wall)
    return Trust(context, dates, files.digests, files.warnings)


def _read(setting: str, path: Path) -> tuple[bytes, bool]:
    try:
        content, world_readable = read_bounded(path, _MAX_FILE)
    except Unfit as unfit:
        raise TlsFileError(setting, path, Defect.UNREADABLE, str(unfit), "name a readable PEM file") from None
    if len(content) > _MAX_FILE:
        what = f"is larger than {_MAX_FILE} bytes"
        raise TlsFileError(setting, path, Defect.UNREADABLE, what, "name a PEM file")
    return content, world_readable


def _load_authorities(context: ssl.SSLContext, setting: str, files: TlsFiles) -> None:
    path: Path = getattr(files.tls, setting)
    try:
        context.load_verify_locations(cadata=files.contents[setting].decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError) as error:  # ValueError: there is nothing at all
        what = f"holds no CA certificates that can be read ({_reason(error)})"
        mend = "it must hold one or several certificates in PEM"
        raise TlsFileError(setting, path, Defect.NO_CERTIFICATE, what, mend) from None


def _read_dates(path: Path, content: bytes) -> Validity:
    try:
        return validity(content)
    except ValueError as error:
        what = f"holds no client certificate that can be read ({error})"
        mend = "it must hold the certificate in PEM, and its chain behind it"
        raise TlsFileError("client_cert_file", path, Defect.NO_CERTIFICATE, what, mend) from None


@dataclass(frozen=True, slots=True)
class _Pair:
    """A client certificate and its key."""

    cert: Path
    key: Path
    files: TlsFiles
    dates: Validity


def _load_client_certificate(context: ssl.SSLContext, pair: _Pair) -> None:
    """Load certificate, chain and key; OpenSSL takes them from their files only."""
    secret, asked = pair.files.tls.client_key_password, False

    def password() -> str:
        # Always given: without it OpenSSL would ask for a password on the terminal.
        nonlocal asked
        asked = True
        return "" if secret is None else secret.reveal()

    try:
        context.load_cert_chain(pair.cert, pair.key, password)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError; a password too long is a ValueError
        raise _unloadable(pair, _reason(error), asked=asked) from None


def _unloadable(pair: _Pair, reason: str, *, asked: bool) -> TlsFileError:
    """Say why OpenSSL could not load certificate and key; ``asked``: it needed a password."""
    cert, key = pair.cert, pair.key
    if reason in _MISMATCHES:
        what = f"does not match the key {shown(key)} ({pair.dates})"
        mend = "name the key that its CSR was made with; a chain stands behind the certificate, not before it"
        return TlsFileError("client_cert_file", cert, Defect.KEY_MISMATCH, what, mend)
    if asked and pair.files.tls.client_key_password is None:
        mend = "set SIDECAR_TLS_CLIENT_KEY_PASSWORD_FILE"
        return TlsFileError("client_key_file", key, Defect.KEY_ENCRYPTED, "is encrypted", mend)
    if asked:
        mend = "check SIDECAR_TLS_CLIENT_KEY_PASSWORD_FILE or SIDECAR_TLS_CLIENT_KEY_PASSWORD"
        return TlsFileError("client_key_file", key, Defect.WRONG_PASSWORD, "is not opened by its password", mend)
    if b"PRIVATE KEY-----" not in pair.files.contents["client_key_file"]:
        mend = "it must hold the private key in PEM"
        return TlsFileError("client_key_file", key, Defect.NO_KEY, "holds no private key", mend)
    what = f"and its key {shown(key)} cannot be used ({reason})"
    mend = "they must be a PEM certificate with its chain, and an RSA or EC key in PEM"
    return TlsFileError("client_cert_file", cert, Defect.UNUSABLE, what, mend)


def _check_dates(path: Path, dates: Validity, wall: float) -> None:
    standing = dates.standing(wall)
    if standing is Standing.EXPIRED:
        what = f"expired on {moment(dates.not_after)} ({dates})"
        raise TlsFileError("client_cert_file", path, Defect.EXPIRED, what, _RENEW)
    if standing is Standing.NOT_YET_VALID:
        what = f"is not valid before {moment(dates.not_before)} ({dates})"
        raise TlsFileError("client_cert_file", path, Defect.NOT_YET_VALID, what, "check this machine's clock")


def _reason(error: Exception) -> str:
    """Name what OpenSSL or the system found, in their own fixed words."""
    if isinstance(error, ssl.SSLError):
        return (error.reason or "").lower().replace("_", " ") or "not PEM"
    return "not PEM" if isinstance(error, ValueError) else type(error).__name__
