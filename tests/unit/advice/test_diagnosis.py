"""What ``check`` makes of what it meets: every cause has words, every symptom its cause."""

from __future__ import annotations

import errno
import re
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.advice.classify import (
    GetResponse,
    call_finding,
    certificate_fits,
    classify_connect_error,
    classify_exchange_failure,
    classify_tls_reason,
    clock_finding,
    judged_together,
    read_back_finding,
    token_finding,
)
from sidecar.advice.diagnoses import DIAGNOSES
from sidecar.advice.tunnel import explain_tunnel
from sidecar.check.report import StepName
from sidecar.core.causes import OF_DEFECT, Cause, StepFinding, StepStatus
from sidecar.core.certificate import Defect
from sidecar.core.endpoint import Endpoint
from sidecar.core.error_report import ErrorReport
from sidecar.core.errors import STATUS, ErrorCode
from sidecar.core.http.tunnel import TunnelRefusedError, TunnelResponse
from sidecar.core.resend import FailureKind
from sidecar.core.tokens.oauth import LockedOut, TokenResponse, read_response

PAGE: Final = Path(__file__).parents[3] / "docs" / "troubleshooting.md"


# --- words -----------------------------------------------------------------------------------------------------------


def test_every_cause_has_a_cause_and_a_mend() -> None:
    assert set(DIAGNOSES) == set(Cause)
    for cause, words in DIAGNOSES.items():
        for text in words:
            assert text, cause
            assert text.isprintable(), cause
            assert not text.endswith("."), cause


def test_every_defect_of_tls_files_has_a_cause_of_its_own() -> None:
    assert set(OF_DEFECT) == set(Defect)
    assert len(set(OF_DEFECT.values())) == len(Defect)


def test_the_troubleshooting_page_has_one_entry_for_each_error_code_and_each_cause() -> None:
    headings = re.findall(r"^### `([a-z_0-9]+)`$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(headings) == sorted([*ErrorCode, *Cause])


def test_the_table_of_the_troubleshooting_page_has_each_error_code_with_its_status() -> None:
    _, _, below = PAGE.read_text(encoding="utf-8").partition("| `X-Sidecar-Error` | status |")
    rows = [line.split(" | ") for line in below.partition("\n\n")[0].splitlines()[2:]]
    shown = {
        code: status
        for first, statuses, *_ in rows
        for code, status in zip(re.findall(r"\(#(\w+)\)", first), statuses.split(", ") * 2, strict=False)
    }
    assert shown == {code: str(STATUS[code]) for code in ErrorCode}


def test_the_table_of_steps_has_each_of_them_in_their_order() -> None:
    _, _, below = PAGE.read_text(encoding="utf-8").partition("| step | what is looked at |")
    table, _, _ = below.lstrip("\n").partition("\n\n")
    first_cells = [row.split("|")[1] for row in table.splitlines()[1:]]
    assert [name for cell in first_cells for name in re.findall("`([a-z_]+)`", cell)] == list(StepName)


def test_no_entry_of_the_troubleshooting_page_is_empty() -> None:
    _, *entries = re.split(r"^### .*$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert all(entry.partition("\n## ")[0].strip() for entry in entries)


# --- symptoms --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "late", "cause"),
    [
        (errno.ECONNREFUSED, False, Cause.CONNECTION_REFUSED),
        (errno.ETIMEDOUT, False, Cause.CONNECT_TIMEOUT),
        (None, True, Cause.CONNECT_TIMEOUT),
        (errno.ECONNREFUSED, True, Cause.CONNECT_TIMEOUT),
        (errno.ENETUNREACH, False, Cause.NETWORK_UNREACHABLE),
        (errno.EHOSTUNREACH, False, Cause.NETWORK_UNREACHABLE),
        (None, False, Cause.CONNECTION_REFUSED),  # several addresses, each with an error of its own
    ],
)
def test_why_tcp_did_not_connect(number: int | None, late: bool, cause: Cause) -> None:
    assert classify_connect_error(number, late=late) is cause


@pytest.mark.parametrize(
    ("response", "cause"),
    [
        (b"HTTP/1.1 407 No\r\n\r\n", Cause.EGRESS_CREDENTIALS),
        (b"HTTP/1.1 401 No\r\n\r\n", Cause.EGRESS_CREDENTIALS),
        (b"HTTP/1.1 407 No\r\nProxy-Authenticate: NTLM\r\n\r\n", Cause.EGRESS_AUTHENTICATION),
        (b"HTTP/1.1 403 No\r\n\r\n", Cause.EGRESS_FORBIDDEN),
        (b"HTTP/1.1 404 No\r\n\r\n", Cause.EGRESS_NO_PROXY),
        (b"HTTP/1.1 502 No\r\n\r\n", Cause.EGRESS_CANNOT_REACH),
        (b"HTTP/1.1 418 No\r\n\r\n", Cause.EGRESS_REFUSED),
        (b"SSH-2.0\r\n", Cause.EGRESS_NO_PROXY),
        (b"", Cause.EGRESS_REFUSED),
    ],
)
def test_why_a_proxy_opened_no_tunnel(response: bytes, cause: Cause) -> None:
    with pytest.raises(TunnelRefusedError) as raised:
        TunnelResponse().feed(response)
    assert explain_tunnel(raised.value)[0] is cause


@pytest.mark.parametrize(
    ("reason", "without", "with_certificate"),
    [
        (
            "tlsv13 alert certificate required",
            Cause.CLIENT_CERTIFICATE_REQUIRED,
            Cause.CLIENT_CERTIFICATE_REFUSED,
        ),
        ("tlsv1 alert unknown ca", Cause.CLIENT_CERTIFICATE_REQUIRED, Cause.CLIENT_CERTIFICATE_REFUSED),
        ("sslv3 alert certificate expired", Cause.CLIENT_CERTIFICATE_REQUIRED, Cause.CLIENT_CERTIFICATE_REFUSED),
        ("sslv3 alert handshake failure", Cause.TLS_REFUSED, Cause.CLIENT_CERTIFICATE_REFUSED),
        ("wrong version number", Cause.TLS_NOT_SPOKEN, Cause.TLS_NOT_SPOKEN),
        ("tlsv1 alert protocol version", Cause.TLS_VERSION, Cause.TLS_VERSION),
        ("unexpected eof while reading", Cause.TLS_CUT, Cause.TLS_CUT),
        ("bad signature", None, None),
    ],
)
def test_why_tls_failed(reason: str, without: Cause | None, with_certificate: Cause | None) -> None:
    assert classify_tls_reason(reason, client_certificate=False) is without
    assert classify_tls_reason(reason, client_certificate=True) is with_certificate


@pytest.mark.parametrize(
    ("kind", "detail", "cause"),
    [
        (FailureKind.TIMEOUT, "no response within 10 s", Cause.NO_ANSWER),
        (FailureKind.LOST, "upstream closed the connection", Cause.CONNECTION_LOST),
        (FailureKind.LOST, "TLS failed: tlsv13 alert certificate required", Cause.CLIENT_CERTIFICATE_REQUIRED),
        (FailureKind.TLS, "TLS failed: bad signature", Cause.TLS_CUT),
        (FailureKind.BROKEN, "malformed status line", Cause.ANSWER_BROKEN),
    ],
)
def test_why_a_request_got_no_response(kind: FailureKind, detail: str, cause: Cause) -> None:
    assert classify_exchange_failure(kind, detail, client_certificate=False) is cause


@pytest.mark.parametrize("kind", FailureKind)
def test_every_kind_of_failure_has_a_cause(kind: FailureKind) -> None:
    assert classify_exchange_failure(kind, "", client_certificate=False) in Cause


@pytest.mark.parametrize(
    ("url", "client_certificate", "fits"),
    [
        ("https://api.mangopay.com", False, True),
        ("https://api.mangopay.com", True, False),
        ("https://api-mtls.mangopay.com", True, True),
        ("https://api-mtls.mangopay.com", False, False),
        ("https://api-mtls.sandbox.mangopay.com", False, False),
        ("https://gateway.test", True, True),
        ("https://gateway.test", False, True),
        ("https://api.notmangopay.com", True, True),
    ],
)
def test_which_host_a_client_certificate_is_for(url: str, client_certificate: bool, fits: bool) -> None:
    assert certificate_fits(Endpoint.parse(url), client_certificate=client_certificate) is fits


# --- answers ---------------------------------------------------------------------------------------------------------


def judged(status: int, body: bytes, ray: str | None = None) -> StepFinding:
    response = TokenResponse(status, {} if ray is None else {"cf-ray": ray}, body, wall=0.0)
    result = read_response(response, sent_at=0.0)
    return token_finding(response, result, source_address="from here", where="with this key")


@given(st.integers(200, 599), st.binary(max_size=300).map(lambda noise: b"@@@@" + noise))
def test_no_response_to_the_token_request_is_unexplained_or_shown(status: int, body: bytes) -> None:
    finding = judged(status, body)
    assert finding.status is StepStatus.FAILED
    assert finding.cause in DIAGNOSES
    assert "@@@@" not in finding.detail


@pytest.mark.parametrize(
    ("status", "body", "cause", "words"),
    [
        (400, b"<center>No required SSL certificate was sent</center>", Cause.CLIENT_CERTIFICATE_REQUIRED, "no client"),
        (
            400,
            b"<center>The SSL certificate error</center>",
            Cause.CLIENT_CERTIFICATE_REFUSED,
            "certificate was refused",
        ),
        (200, b"No required SSL certificate was sent", Cause.TOKEN_NOT_UNDERSTOOD, "no JSON object"),
        (400, b'{"error": "unauthorized_client"}', Cause.LOCKED_OUT, "status 400, unauthorized_client"),
        (401, b'{"error": "invalid_client"}', Cause.WRONG_KEY, "status 401, invalid_client (with this key)"),
        (403, b"", Cause.ADDRESS_NOT_ALLOWED, "status 403; from here"),
        (400, b'{"error": "invalid_request"}', Cause.TOKEN_REQUEST_REFUSED, "status 400, invalid_request"),
        (404, b"", Cause.TOKEN_NOT_UNDERSTOOD, "status 404"),
        (302, b"", Cause.REDIRECTED, "status 302"),
        (408, b"", Cause.NO_ANSWER, "status 408"),
        (429, b"", Cause.RATE_LIMITED, "status 429"),
        (500, b"", Cause.SERVER_ERROR, "status 500"),
        (200, b"[]", Cause.TOKEN_NOT_UNDERSTOOD, "no JSON object"),
    ],
)
def test_what_a_response_to_the_token_request_means(status: int, body: bytes, cause: Cause, words: str) -> None:
    finding = judged(status, body)
    assert (finding.status, finding.cause) == (StepStatus.FAILED, cause)
    assert words in finding.detail


@pytest.mark.parametrize(("seconds", "words"), [(None, ""), (90.0, "; Mangopay says to wait 90 s")])
def test_a_lockout_tells_how_long_to_wait_if_mangopay_does(seconds: float | None, words: str) -> None:
    locked_out = LockedOut("status 400", seconds)
    finding = token_finding(TokenResponse(400, {}, b"", wall=0.0), locked_out, source_address="", where="")
    assert (finding.cause, finding.detail) == (Cause.LOCKED_OUT, f"status 400{words}")


def test_a_token_is_not_shown() -> None:
    finding = judged(200, b'{"access_token": "precious", "token_type": "bearer"}')
    assert finding.status is StepStatus.OK
    assert finding.cause is None
    assert "precious" not in finding.detail
    assert "expires_in is missing" in finding.detail


HTML: Final = b"<html><title>Attention Required! | Cloudflare</title>"
RAY: Final = "8f3c2a1b4d5e6f70-CDG"


@pytest.mark.parametrize(
    ("status", "body", "cause"),
    [
        (401, b'{"error": "invalid_client"}', Cause.WRONG_KEY),
        (400, b'{"error": "unauthorized_client"}', Cause.LOCKED_OUT),
        (400, b'{"error": "invalid_request"}', Cause.TOKEN_REQUEST_REFUSED),
        (403, b"", Cause.ADDRESS_NOT_ALLOWED),
        (403, b'{"error": "access_denied"}', Cause.ADDRESS_NOT_ALLOWED),
        (403, HTML, Cause.EDGE_PAGE),
        (401, HTML, Cause.EDGE_PAGE),
        (429, HTML, Cause.EDGE_PAGE),
        (520, HTML, Cause.EDGE_PAGE),
        (400, b"<html>No required SSL certificate was sent", Cause.CLIENT_CERTIFICATE_REQUIRED),
        (400, b"<html>The SSL certificate error", Cause.CLIENT_CERTIFICATE_REFUSED),
        (302, HTML, Cause.REDIRECTED),
        (200, HTML, Cause.TOKEN_NOT_UNDERSTOOD),
        (404, b"", Cause.TOKEN_NOT_UNDERSTOOD),
        (408, b"", Cause.NO_ANSWER),
    ],
)
def test_a_page_of_the_edge_a_refusal_and_a_403_are_told_apart(status: int, body: bytes, cause: Cause) -> None:
    finding = judged(status, body, RAY)
    assert finding.cause is cause
    assert (RAY in finding.detail) == (body is HTML)
    assert ("from here" in finding.detail) == (cause is Cause.ADDRESS_NOT_ALLOWED)


@pytest.mark.parametrize("status", [200, 204, 401, 403, 404, 409, 429, 500, 302, 408])
def test_every_response_to_the_get_is_explained(status: int) -> None:
    finding = call_finding(GetResponse(status, ErrorReport()), source_address="from here")
    assert (finding.cause is None) == (status < 300)
    assert str(status) in finding.detail


def test_an_sca_challenge_is_no_failure() -> None:
    assert call_finding(GetResponse(401, ErrorReport(), is_sca=True), source_address="").status is StepStatus.OK


@pytest.mark.parametrize("status", [401, 403, 404, 429, 502])
def test_a_page_of_the_edge_is_no_response_to_the_gets(status: int) -> None:
    page = GetResponse(status, ErrorReport(cf_ray=RAY, is_page=True))
    for finding in (call_finding(page, source_address=""), read_back_finding(page)):
        assert finding == StepFinding.failed(
            Cause.EDGE_PAGE, f"status {status} with a page of the edge, or of a gateway, CF-Ray {RAY}"
        )


@pytest.mark.parametrize(
    ("status", "step", "cause"),
    [
        (400, StepStatus.WARNING, Cause.READ_BACK_UNKNOWN),
        (404, StepStatus.WARNING, Cause.READ_BACK_UNKNOWN),
        (200, StepStatus.WARNING, Cause.READ_BACK_UNKNOWN),
        (403, StepStatus.WARNING, Cause.READ_BACK_FORBIDDEN),
        (401, StepStatus.FAILED, Cause.CALL_REFUSED),
        (429, StepStatus.FAILED, Cause.RATE_LIMITED),
        (500, StepStatus.FAILED, Cause.SERVER_ERROR),
    ],
)
def test_only_a_403_says_that_the_key_may_not_read_back(status: int, step: StepStatus, cause: Cause | None) -> None:
    finding = read_back_finding(GetResponse(status, ErrorReport()))
    assert (finding.status, finding.cause) == (step, cause)


def test_another_error_than_an_unknown_key_tells_nothing_of_reading_back() -> None:
    assert read_back_finding(GetResponse(400, ErrorReport(type="param_error"))) == StepFinding.warning(
        Cause.READ_BACK_UNKNOWN, "status 400, param_error"
    )
    assert read_back_finding(GetResponse(404, ErrorReport(type="resource_not_found"))).cause is Cause.READ_BACK_UNKNOWN
    assert read_back_finding(GetResponse(404, ErrorReport(type="correlationid_not_found"))).status is StepStatus.OK


FORBIDDEN: Final = StepFinding.failed(Cause.CALL_FORBIDDEN, "status 403, forbidden; from 192.0.2.1")


@pytest.mark.parametrize(
    ("read_back", "call", "told"),
    [
        (
            StepFinding.ok("status 400, correlationid_not_found"),
            StepFinding.warning(Cause.CALL_SCOPE, "status 403, forbidden"),
            None,
        ),
        (
            StepFinding.warning(Cause.READ_BACK_FORBIDDEN, "status 403"),
            FORBIDDEN,
            StepFinding.warning(
                Cause.CALL_FORBIDDEN,
                "status 403, as to the call; if it is the key, it lacks Client.Developers (READ) too",
            ),
        ),
        (StepFinding.warning(Cause.READ_BACK_UNKNOWN, "status 404"), FORBIDDEN, None),
        (StepFinding.failed(Cause.NO_ANSWER, "timeout"), FORBIDDEN, None),
    ],
)
def test_a_forbidden_call_is_judged_beside_reading_back(
    read_back: StepFinding, call: StepFinding, told: StepFinding | None
) -> None:
    assert judged_together(FORBIDDEN, read_back) == (call, told or read_back)


def test_what_mangopay_calls_the_error_is_told() -> None:
    report = ErrorReport(id="5e83fbe8-7345-4778-8437-4aa6464b3337", type="correlationid_not_found")
    assert read_back_finding(GetResponse(400, report)) == StepFinding.ok(
        "status 400, correlationid_not_found, Id 5e83fbe8-7345-4778-8437-4aa6464b3337"
    )


@pytest.mark.parametrize(
    ("skew", "step"),
    [
        (0.4, StepStatus.OK),
        (-60.0, StepStatus.OK),
        (60.5, StepStatus.WARNING),
        (-300.0, StepStatus.WARNING),
        (301.0, StepStatus.FAILED),
        (-301.0, StepStatus.FAILED),
        (None, StepStatus.SKIPPED),
    ],
)
def test_how_far_clocks_may_differ(skew: float | None, step: StepStatus) -> None:
    assert clock_finding(skew).status is step
