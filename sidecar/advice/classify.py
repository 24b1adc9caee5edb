"""From what a step met (an error number, a TLS alert, a status) to its :class:`~sidecar.core.causes.Cause`."""

from __future__ import annotations

import errno
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec

from sidecar.advice.texts.calls import READ_BACK_SCOPE
from sidecar.core.causes import Cause, StepFinding, StepStatus
from sidecar.core.resend import FailureKind
from sidecar.core.stored_response import UNKNOWN_KEY
from sidecar.core.tls_alerts import is_about_our_certificate
from sidecar.core.tokens.oauth import EDGE_PAGE, Fetched, LockedOut, Refusal, Refused
from sidecar.core.tokens.state import LOCKOUT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.core.endpoint import Endpoint
    from sidecar.core.error_report import ErrorReport
    from sidecar.core.tokens.oauth import FetchResult, TokenResponse

#: Seconds by which this machine's clock may differ from the server's before it is said, and before it is a failure.
SKEW_WARNING: Final = 60.0
SKEW_FAILURE: Final = 300.0

# --- hosts -----------------------------------------------------------------------------------------------------------

_MANGOPAY: Final = ".mangopay.com"
_MTLS: Final = "api-mtls."


def certificate_fits(endpoint: Endpoint, *, client_certificate: bool) -> bool:
    """Tell whether a host of Mangopay's is the one for calls with, or without, a client certificate."""
    if not endpoint.name.endswith(_MANGOPAY):
        return True
    return endpoint.name.startswith(_MTLS) == client_certificate


# --- connections -----------------------------------------------------------------------------------------------------

_OF_ERRNO: Final[Mapping[int, Cause]] = {
    errno.ECONNREFUSED: Cause.CONNECTION_REFUSED,
    errno.ETIMEDOUT: Cause.CONNECT_TIMEOUT,
    errno.ENETUNREACH: Cause.NETWORK_UNREACHABLE,
    errno.EHOSTUNREACH: Cause.NETWORK_UNREACHABLE,
    errno.EADDRNOTAVAIL: Cause.NETWORK_UNREACHABLE,
    errno.ENETDOWN: Cause.NETWORK_UNREACHABLE,
}


def classify_connect_error(number: int | None, *, late: bool) -> Cause:
    """Name why TCP did not connect: by errno (None: each address had another), or because it took too long."""
    if late:
        return Cause.CONNECT_TIMEOUT
    return Cause.CONNECTION_REFUSED if number is None else _OF_ERRNO.get(number, Cause.CONNECTION_REFUSED)


# --- TLS -------------------------------------------------------------------------------------------------------------

_NO_TLS: Final = ("wrong version number", "http request", "unknown protocol", "packet length too long", "record layer")
_OLD_TLS: Final = ("alert protocol version", "unsupported protocol", "version too low")


def classify_tls_reason(reason: str, *, client_certificate: bool) -> Cause | None:
    """Name why TLS failed, by OpenSSL's reason in lower case with blanks; None if the reason tells nothing."""
    if is_about_our_certificate(reason):
        return Cause.CLIENT_CERTIFICATE_REFUSED if client_certificate else Cause.CLIENT_CERTIFICATE_REQUIRED
    if any(words in reason for words in _NO_TLS):
        return Cause.TLS_NOT_SPOKEN
    if any(words in reason for words in _OLD_TLS):
        return Cause.TLS_VERSION
    if "alert handshake failure" in reason:
        return Cause.CLIENT_CERTIFICATE_REFUSED if client_certificate else Cause.TLS_REFUSED
    return Cause.TLS_CUT if "eof" in reason else None


# --- exchanges -------------------------------------------------------------------------------------------------------

_OF_KIND: Final[Mapping[str | None, Cause]] = {
    FailureKind.RESOLVE: Cause.UNKNOWN_HOST,
    FailureKind.EGRESS: Cause.EGRESS_REFUSED,
    FailureKind.CONNECT: Cause.CONNECTION_REFUSED,
    FailureKind.TLS: Cause.TLS_CUT,
    FailureKind.TIMEOUT: Cause.NO_ANSWER,
    FailureKind.BROKEN: Cause.ANSWER_BROKEN,
}


def classify_exchange_failure(kind: str | None, detail: str, *, client_certificate: bool) -> Cause:
    """Name why a request got no response: by a word of FailureKind, if there is one, and a detail in words of ours."""
    if "TLS" in detail:
        cause = classify_tls_reason(detail.lower().replace("_", " "), client_certificate=client_certificate)
        if cause is not None:
            return cause
    return _OF_KIND.get(kind, Cause.CONNECTION_LOST)


# nginx speaks of a client certificate only after the handshake, with a page of its own.
_NGINX_WITHOUT: Final = b"No required SSL certificate was sent"
_NGINX_REFUSED: Final = b"The SSL certificate error"


_OF_REFUSAL: Final[Mapping[Refusal, Cause]] = MappingProxyType(
    {Refusal.CREDENTIALS: Cause.WRONG_KEY, Refusal.FORBIDDEN: Cause.ADDRESS_NOT_ALLOWED}
)


def classify_latch(cause: str | None) -> Cause:
    """Name what a latch of a sidecar that runs says, by the latch's cause."""
    return Cause.SIDECAR_LATCHED_LOCKOUT if cause == LOCKOUT else Cause.SIDECAR_LATCHED_REFUSED


def token_finding(response: TokenResponse, result: FetchResult, *, source_address: str, where: str) -> StepFinding:
    """Judge the response to the token request, of which ``result`` is what it means.

    ``source_address`` says by which address calls leave, ``where`` which key of
    which environment was tried. Of the body nothing is shown.
    """
    if isinstance(result, Fetched):
        warnings = f" ({'; '.join(result.warnings)})" if result.warnings else ""
        return StepFinding.ok(f"a token for {result.expires_in:g} s{warnings}")
    status, document = response.status, response.document or b""
    if status == 400 and _NGINX_WITHOUT in document:
        return StepFinding.failed(Cause.CLIENT_CERTIFICATE_REQUIRED, "status 400: no client certificate was sent")
    if status == 400 and _NGINX_REFUSED in document:
        return StepFinding.failed(Cause.CLIENT_CERTIFICATE_REFUSED, "status 400: the client certificate was refused")
    if isinstance(result, LockedOut):
        after = f"; Mangopay says to wait {result.retry_after:g} s" if result.retry_after else ""
        return StepFinding.failed(Cause.LOCKED_OUT, result.detail + after)
    if isinstance(result, Refused):
        cause = _OF_REFUSAL.get(result.refusal, Cause.TOKEN_REQUEST_REFUSED)
        about = {Cause.WRONG_KEY: f" ({where})", Cause.ADDRESS_NOT_ALLOWED: f"; {source_address}"}.get(cause, "")
        return StepFinding.failed(cause, result.detail + about)
    if result.failure == EDGE_PAGE and status >= 400:
        return StepFinding.failed(Cause.EDGE_PAGE, result.detail)
    return StepFinding.failed(_of_status(status, Cause.TOKEN_NOT_UNDERSTOOD), result.detail)


class GetResponse(msgspec.Struct, frozen=True):
    """The response to one of the harmless GETs."""

    status: int
    report: ErrorReport
    #: It is a 401 that asks for the user's own authentication.
    is_sca: bool = False


def call_finding(reply: GetResponse, *, source_address: str) -> StepFinding:
    """Judge the response to the GET of the platform's own record; ``source_address`` as above."""
    status, said = reply.status, _said(reply)
    if 200 <= status < 300:
        return StepFinding.ok(said)
    if reply.report.is_page and status >= 400:
        return StepFinding.failed(Cause.EDGE_PAGE, said)
    if status == 401:
        if reply.is_sca:
            return StepFinding.ok(f"{said}, with SCA asked for")
        return StepFinding.failed(Cause.CALL_UNAUTHORIZED, said)
    if status == 403:
        return StepFinding.failed(Cause.CALL_FORBIDDEN, f"{said}; {source_address}")
    if status == 404:
        return StepFinding.failed(Cause.CALL_NOT_FOUND, said)
    return StepFinding.failed(_of_status(status, Cause.CALL_REFUSED), said)


def judged_together(call: StepFinding, read_back: StepFinding) -> tuple[StepFinding, StepFinding]:
    """Judge a forbidden call once more, beside what reading back found with the same key from the same address.

    If that was answered as it should be, the address is right, and the key lacks a scope that its calls may never need.
    If both are forbidden, it may be the address as well as the key.
    """
    said = call.detail.partition("; ")[0]  # behind it stands which address may have to be listed
    if read_back.status is StepStatus.OK:
        return StepFinding.warning(Cause.CALL_SCOPE, said), read_back
    if read_back.cause is Cause.READ_BACK_FORBIDDEN:
        return call, StepFinding.warning(
            Cause.CALL_FORBIDDEN,
            f"{read_back.detail}, as to the call; if it is the key, it lacks {READ_BACK_SCOPE} too",
        )
    return call, read_back


def read_back_finding(reply: GetResponse) -> StepFinding:
    """Judge the response to reading back by a key that nobody used: 400 ``correlationid_not_found`` is right.

    Only a 403 of Mangopay's own says that the API key may not read responses. Neither that nor a response which is not
    known stops a call, so both are warnings.
    """
    status, said = reply.status, _said(reply)
    if reply.report.is_page and status >= 400:
        return StepFinding.failed(Cause.EDGE_PAGE, said)
    if status == 403:
        return StepFinding.warning(Cause.READ_BACK_FORBIDDEN, said)
    if status in (400, 404) and reply.report.type == UNKNOWN_KEY:
        return StepFinding.ok(said)
    if 200 <= status < 300 or status in (400, 404):
        return StepFinding.warning(Cause.READ_BACK_UNKNOWN, said)
    return StepFinding.failed(_of_status(status, Cause.CALL_REFUSED), said)


def _said(reply: GetResponse) -> str:
    report = reply.report
    parts = [f"status {reply.status}"]
    if report.is_page:
        parts[0] += " with a page of the edge, or of a gateway"
    if report.type is not None:
        parts.append(report.type)
    if report.id is not None:
        parts.append(f"Id {report.id}")
    if report.cf_ray is not None:
        parts.append(f"CF-Ray {report.cf_ray}")
    return ", ".join(parts)


def _of_status(status: int, otherwise: Cause) -> Cause:
    if 300 <= status < 400:
        return Cause.REDIRECTED
    if status == 429:
        return Cause.RATE_LIMITED
    if status == 408:
        return Cause.NO_ANSWER
    return Cause.SERVER_ERROR if status >= 500 else otherwise


def clock_finding(skew: float | None) -> StepFinding:
    """Judge by how many seconds this machine's clock is ahead of the server's; None: the server did not say."""
    if skew is None:
        return StepFinding.skipped("no answer with a Date")
    size = abs(skew)
    detail = f"{size:.0f} s {'ahead of' if skew > 0 else 'behind'} the server's" if size >= 2 else "as the server's"
    if size > SKEW_FAILURE:
        return StepFinding.failed(Cause.CLOCK_SKEW, detail)
    return StepFinding.warning(Cause.CLOCK_SKEW, detail) if size > SKEW_WARNING else StepFinding.ok(detail)
