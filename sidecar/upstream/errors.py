"""Why upstream could not be asked, or gave no usable response.

Everything foreign ends here: exceptions of sockets, TLS and parsers become
one :class:`UpstreamError`::

    UpstreamError
    ├── failure   what happened and what had been sent by then: input of core.resend.decide
    └── detail    for the log: the reason in plain words, never bytes of upstream or of the request
"""

from __future__ import annotations

import os
import ssl

from sidecar.advice.verification import verdict_on
from sidecar.core.resend import AttemptFailure, FailureKind, Sent, UpstreamError
from sidecar.core.tls_alerts import reason_in_words

__all__ = ["UpstreamError", "before_a_byte", "os_detail", "tls_detail"]


def before_a_byte(kind: FailureKind, detail: str) -> UpstreamError:
    """Make the failure of an attempt that never got as far as having a connection."""
    return UpstreamError(AttemptFailure(kind, Sent.NOTHING, reused=False, response_started=False), detail)


def tls_detail(error: ssl.SSLError) -> str:
    """Say in plain words why TLS failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"upstream's certificate was refused: {verdict_on(error).told}"
    return f"TLS failed: {reason_in_words(error.reason) or 'protocol error'}"


def os_detail(error: BaseException) -> str:
    """Say in plain words what the operating system reported; addresses and foreign text are left out."""
    if isinstance(error, ssl.SSLError):
        return tls_detail(error)
    number = error.errno if isinstance(error, OSError) else None
    if number is None:
        # The event loops raise these without a number when a handshake is cut off.
        return "closed by the other side" if isinstance(error, ConnectionError) else type(error).__name__
    return os.strerror(number).lower() if number > 0 else f"resolver error {number}"
