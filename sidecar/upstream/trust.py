"""How upstream proves who it is, and how we do: certificates that are trusted, and one that is shown."""

from __future__ import annotations

import hashlib
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec

from sidecar.config.secret_file import world_readable_warning
from sidecar.core.certificate import Defect, Validity, ValidityStanding, moment, validity
from sidecar.core.text import printable_name
from sidecar.network.trust import AUTHORITIES, TlsFileError, load_authorities, read_file, reason, verifying_context

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from pathlib import Path

    from sidecar.config import Tls

#: The keys of section [tls] that name files, in the order in which they are read.
TLS_FILES: Final = (*AUTHORITIES, "client_cert_file", "client_key_file")

#: OpenSSL's words where certificate and key do not belong together; the last where one is RSA and the other EC.
_MISMATCHES: Final = frozenset({"key values mismatch", "key type mismatch", "no certificate assigned"})


class TlsFiles(msgspec.Struct, frozen=True):
    """What the files of section [tls] hold, read once."""

    tls: Tls
    #: By key, without the section; only files that are named.
    contents: Mapping[str, bytes]
    #: The same and the password, hashed: to tell whether something changed.
    digests: Mapping[str, bytes]
    #: Sentences for the log.
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"TlsFiles(tls={self.tls!r})"


class Trust(msgspec.Struct, frozen=True):
    """What a connection to upstream trusts and shows."""

    context: ssl.SSLContext
    #: The dates of the client certificate; None: there is none.
    validity: Validity | None
    #: Of the files, see there.
    digests: Mapping[str, bytes]
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Trust(validity={self.validity!r})"


def client_context(*, system_store: bool = True) -> ssl.SSLContext:
    """Make the context for connections to upstream: certificate and name verified, TLS 1.2 or later, HTTP/1.1."""
    context = verifying_context(system_store=system_store)
    context.set_alpn_protocols(["http/1.1"])
    return context


def load_trust(tls: Tls, wall: float) -> Trust:
    """Read the files of ``tls`` and check them at the moment ``wall`` (Unix time). Raises TlsFileError."""
    return make_trust(read_files(tls), wall)


def read_files(tls: Tls) -> TlsFiles:
    """Read every file that ``tls`` names, without a look at what is in it. Raises TlsFileError."""
    contents: dict[str, bytes] = {}
    warnings = []
    for setting in TLS_FILES:
        path: Path | None = getattr(tls, setting)
        if path is None:
            continue
        contents[setting], world_readable = read_file(setting, path)
        if setting == "client_key_file" and world_readable:
            warnings.append(world_readable_warning(path, "is the client certificate's private key"))
    digests = {setting: hashlib.sha256(content).digest() for setting, content in contents.items()}
    if tls.client_key_password is not None:
        digests["client_key_password"] = hashlib.sha256(tls.client_key_password.reveal().encode()).digest()
    return TlsFiles(tls, MappingProxyType(contents), MappingProxyType(digests), tuple(warnings))


def make_trust(files: TlsFiles, wall: float) -> Trust:
    """Build from ``files`` what connections use, if all of it is good at the moment ``wall`` (Unix time).

    A client certificate must match its key and be within its dates. Raises TlsFileError.
    """
    context = client_context(system_store="ca_file" not in files.contents)
    for setting in AUTHORITIES:
        if setting in files.contents:
            load_authorities(context, setting, getattr(files.tls, setting), files.contents[setting])
    cert, key = files.tls.client_cert_file, files.tls.client_key_file
    if cert is None or key is None:
        return Trust(context, None, files.digests, files.warnings)
    dates = _read_dates(cert, files.contents["client_cert_file"])
    _load_client_certificate(context, _Pair(cert, key, files, dates))
    _check_dates(cert, dates, wall)
    return Trust(context, dates, files.digests, files.warnings)


def _read_dates(path: Path, content: bytes) -> Validity:
    try:
        return validity(content)
    except ValueError as error:
        what = f"holds no client certificate that can be read ({error})"
        raise TlsFileError("client_cert_file", path, Defect.NO_CERTIFICATE, what) from None


class _Pair(msgspec.Struct, frozen=True):
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
        raise _unloadable(pair, reason(error), asked=asked) from None


def _unloadable(pair: _Pair, reason: str, *, asked: bool) -> TlsFileError:
    """Say why OpenSSL could not load certificate and key; ``asked``: it needed a password."""
    cert, key = pair.cert, pair.key
    if reason in _MISMATCHES:
        what = f"does not match the key {printable_name(key)} ({pair.dates})"
        return TlsFileError("client_cert_file", cert, Defect.KEY_MISMATCH, what)
    if asked and pair.files.tls.client_key_password is None:
        return TlsFileError("client_key_file", key, Defect.KEY_ENCRYPTED, "is encrypted")
    if asked:
        return TlsFileError("client_key_file", key, Defect.WRONG_PASSWORD, "is not opened by its password")
    if b"PRIVATE KEY-----" not in pair.files.contents["client_key_file"]:
        return TlsFileError("client_key_file", key, Defect.NO_KEY, "holds no private key")
    what = f"and its key {printable_name(key)} cannot be used ({reason})"
    return TlsFileError("client_cert_file", cert, Defect.UNUSABLE, what)


def _check_dates(path: Path, dates: Validity, wall: float) -> None:
    standing = dates.standing(wall)
    if standing is ValidityStanding.EXPIRED:
        what = f"expired on {moment(dates.not_after)} ({dates})"
        raise TlsFileError("client_cert_file", path, Defect.EXPIRED, what)
    if standing is ValidityStanding.NOT_YET_VALID:
        what = f"is not valid before {moment(dates.not_before)} ({dates})"
        raise TlsFileError("client_cert_file", path, Defect.NOT_YET_VALID, what)
