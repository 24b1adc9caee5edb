"""OpenSSL's verify errors, as causes and in words."""

from __future__ import annotations

import pytest
from sidecar.core.verification import verdict_of

from sidecar.core.causes import Cause


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        (10, Cause.TLS_SERVER_EXPIRED),
        (9, Cause.TLS_SERVER_NOT_YET_VALID),
        (18, Cause.TLS_UNKNOWN_ISSUER),
        (20, Cause.TLS_UNKNOWN_ISSUER),
        (62, Cause.TLS_WRONG_NAME),
        (64, Cause.TLS_WRONG_NAME),
        (23, Cause.TLS_CERTIFICATE_REFUSED),
        (999, Cause.TLS_CERTIFICATE_REFUSED),
    ],
)
def test_why_a_certificate_was_refused(code: int, cause: Cause) -> None:
    assert verdict_of(code, "").cause is cause


@pytest.mark.parametrize("code", [2, 9, 10, 18, 19, 20, 21, 23, 62, 64])
def test_the_usual_verify_errors_have_words_of_ours(code: int) -> None:
    verdict = verdict_of(code, "words of OpenSSL's")
    assert verdict.what.startswith(("it ", "its "))
    assert verdict.told.startswith(verdict.what)
    assert verdict.told.endswith(verdict.hint)


def test_other_verify_errors_are_told_in_openssls_words() -> None:
    assert verdict_of(66, "EE certificate key too weak").told == "OpenSSL says: EE certificate key too weak"
    assert verdict_of(66, "a\x1b[31m" + "b" * 999).told == "OpenSSL says: a[31m" + "b" * 95
    assert verdict_of(66, "").told == "OpenSSL verify error 66"
