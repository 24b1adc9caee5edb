"""TLS alerts about our certificate, however OpenSSL writes them."""

from __future__ import annotations

import pytest

from sidecar.core.tls_alerts import is_about_our_certificate, reason_in_words


@pytest.mark.parametrize(
    "reason",
    [
        "TLSV1_ALERT_UNKNOWN_CA",
        "tlsv13_alert_certificate_required",
        "sslv3 alert bad certificate",
        "TLS failed: sslv3 alert certificate expired",
        "TLSV1_ALERT_ACCESS_DENIED",
    ],
)
def test_alerts_about_the_certificate(reason: str) -> None:
    assert is_about_our_certificate(reason)


@pytest.mark.parametrize(
    "reason", ["", "sslv3_alert_handshake_failure", "CERTIFICATE_VERIFY_FAILED", "tlsv1 alert protocol version"]
)
def test_other_reasons(reason: str) -> None:
    """handshake_failure may be about anything; the verification that failed is ours, of the server's certificate."""
    assert not is_about_our_certificate(reason)


@pytest.mark.parametrize(
    ("reason", "words"), [("TLSV1_ALERT_UNKNOWN_CA", "tlsv1 alert unknown ca"), ("", ""), (None, "")]
)
def test_a_reason_in_words(reason: str | None, words: str) -> None:
    assert reason_in_words(reason) == words
