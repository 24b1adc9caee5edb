"""Why upstream could not be asked, or gave no usable answer.

Everything foreign ends here: exceptions of sockets, TLS and parsers become
one :class:`UpstreamFailure`::

    UpstreamFailure
    ├── failure   what happened and what had been sent by then: input of core.resend.decide
    └── detail    for the log: the reason in plain words, never bytes of upstream or of the request
"""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING, Final

from sidecar.core.resend import Failure, FailureKind, Sent, UpstreamFailure

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["UpstreamFailure", "before_a_byte", "os_detail", "tls_detail"]


def before_a_byte(kind: FailureKind, detail: str) -> UpstreamFailure:
    """Make the failure of an attempt that never got as far as having a connection."""
    return UpstreamFailure(Failure(kind, Sent.NOTHING, reused=False, response_started=False), detail)


# X509_V_ERR_* of OpenSSL's x509_vfy.h, as the mend needs them told apart.
_ISSUER_UNKNOWN: Final = "its issuer is not trusted here: if a proxy intercepts TLS, name its CA in tls.extra_ca_file"
_VERIFY_ERRORS: Final[Mapping[int, str]] = {
    2: _ISSUER_UNKNOWN,
    9: "it is not valid yet: is this machine's clock right?",
    10: "it has expired: is this machine's clock right?",
    18: "it is self-signed",
    19: _ISSUER_UNKNOWN,
    20: _ISSUER_UNKNOWN,
    21: _ISSUER_UNKNOWN,
    23: "it was revoked",
    62: "it is for another host name",
    64: "it is for another IP address",
}


def tls_detail(error: ssl.SSLError) -> str:
    """Say in plain words why TLS failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        code = getattr(error, "verify_code", 0)
        return f"upstream's certificate was refused: {_VERIFY_ERRORS.get(code, f'OpenSSL verify error {code}')}"
    reason = (error.reason or "protocol error").lower().replace("_", " ")
    return f"TLS failed: {reason}"


def os_detail(error: BaseException) -> str:
    """Say in plain words what the operating system reported; addresses and foreign text are left out."""
    if isinstance(error, ssl.SSLError):
        return tls_detail(error)
    number = error.errno if isinstance(error, OSError) else None
    if number is None:
        # The event loops raise these without a number when a handshake is cut off.
        return "closed by the other side" if isinstance(error, ConnectionError) else type(error).__name__
    return os.strerror(number).lower() if number > 0 else f"resolver error {number}"
