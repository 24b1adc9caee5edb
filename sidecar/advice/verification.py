"""Why a certificate was refused: OpenSSL's verify errors (X509_V_ERR_* of x509_vfy.h) in words, and as causes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from sidecar.core.causes import Cause

if TYPE_CHECKING:
    from collections.abc import Mapping


class Verdict(NamedTuple):
    """What is wrong with a certificate."""

    cause: Cause
    #: About "it", the certificate.
    what: str
    #: What to do, where no other text says so; may be empty.
    hint: str = ""

    @property
    def told(self) -> str:
        """What is wrong and what to do, for the log."""
        return f"{self.what}: {self.hint}" if self.hint else self.what


_CLOCK: Final = "is this machine's clock right?"
_ISSUER: Final = Verdict(
    Cause.TLS_UNKNOWN_ISSUER,
    "its issuer is not trusted here",
    "if a proxy intercepts TLS, name its CA in tls.extra_ca_file",
)
_VERDICTS: Final[Mapping[int, Verdict]] = {
    2: _ISSUER,
    9: Verdict(Cause.TLS_SERVER_NOT_YET_VALID, "it is not valid yet", _CLOCK),
    10: Verdict(Cause.TLS_SERVER_EXPIRED, "it has expired", _CLOCK),
    18: Verdict(Cause.TLS_UNKNOWN_ISSUER, "it is self-signed"),
    19: _ISSUER,
    20: _ISSUER,
    21: _ISSUER,
    23: Verdict(Cause.TLS_CERTIFICATE_REFUSED, "it was revoked"),
    62: Verdict(Cause.TLS_WRONG_NAME, "it is for another host name"),
    64: Verdict(Cause.TLS_WRONG_NAME, "it is for another IP address"),
}
#: Characters of OpenSSL's own words, which are fixed and short.
_LONGEST: Final = 100


def verdict_on(error: Exception) -> Verdict:
    """Say what is wrong with the certificate that OpenSSL refused; ``error`` is an ``ssl.SSLCertVerificationError``."""
    # Both attributes are missing where the ssl module itself found that the names differ, or that there is none.
    return verdict_of(getattr(error, "verify_code", 0), getattr(error, "verify_message", ""))


def verdict_of(code: int, openssl: str) -> Verdict:
    """Say what verify error ``code`` means; ``openssl`` is what OpenSSL says, for errors without words of ours."""
    found = _VERDICTS.get(code)
    if found is not None:
        return found
    words = "".join(character for character in openssl if character.isprintable())[:_LONGEST]
    what = f"OpenSSL says: {words}" if words else f"OpenSSL verify error {code}"
    return Verdict(Cause.TLS_CERTIFICATE_REFUSED, what)
