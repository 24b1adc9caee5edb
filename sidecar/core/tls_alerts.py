"""What a server's TLS alerts say about our client certificate."""

from __future__ import annotations

from typing import Final

# RFC 8446 section 6.2, RFC 5246 section 7.2.2: what a server can say about our certificate, or the lack of one.
# handshake_failure is not among them: it may be about anything.
_ABOUT_OUR_CERTIFICATE: Final = (
    "alert certificate required",
    "alert bad certificate",
    "alert unsupported certificate",
    "alert certificate revoked",
    "alert certificate expired",
    "alert certificate unknown",
    "alert unknown ca",
    "alert access denied",
)


def is_about_our_certificate(reason: str) -> bool:
    """Whether ``reason``, OpenSSL's name for what ended a handshake, is an alert about the client certificate.

    OpenSSL writes it in capitals with ``_`` (``TLSV1_ALERT_UNKNOWN_CA``), messages in lower case with blanks.
    """
    words = reason.lower().replace("_", " ")
    return any(alert in words for alert in _ABOUT_OUR_CERTIFICATE)
