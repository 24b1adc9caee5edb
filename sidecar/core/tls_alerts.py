"""OpenSSL's reasons: in words, and which of a server's alerts are about our client certificate."""

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


def reason_in_words(reason: str | None) -> str:
    """Return ``reason``, OpenSSL's name for what went wrong, as messages have it; empty if there is none.

    OpenSSL writes it in capitals with ``_`` (``TLSV1_ALERT_UNKNOWN_CA``), messages in lower case with blanks.
    """
    return (reason or "").lower().replace("_", " ")


def is_about_our_certificate(reason: str) -> bool:
    """Whether ``reason``, OpenSSL's name for what ended a handshake or its words, is an alert about it."""
    words = reason_in_words(reason)
    return any(alert in words for alert in _ABOUT_OUR_CERTIFICATE)
