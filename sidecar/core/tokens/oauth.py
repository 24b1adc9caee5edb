"""The client credentials grant (RFC 6749 section 4.4) as Mangopay speaks it: the request, and what a response means.

The first line that fits::

    status   body                                 result
    any      a page (``core.edge``: HTML)         Transient   of the edge or a gateway: it says nothing of the key
    2xx      a token                              Fetched
    2xx      anything else                        Transient
    408,429  any                                  Transient
    400      {"error": "unauthorized_client"}     LockedOut   Mangopay has locked the account for a while
    4xx      a JSON object with an ``error``      Refused     nobody but a person can change that
    401,403  any other, or none                   Refused     the status says enough
    other    any (404 without an error, 3xx, 5xx) Transient   redirects are not followed

A 401 or 403 whose body breaks off or stalls, or whose coding cannot be undone,
counts as one without a body, unless its ``Content-Type`` announces a page:
asking again at once with a wrong key could lock the account.
"""

from __future__ import annotations

import base64
import re
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from sidecar.core.backoff import read_retry_after
from sidecar.core.content_coding import decode_content
from sidecar.core.edge import BOM, is_html_type, is_page, read_cf_ray
from sidecar.core.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.core.resend import FailureKind

#: Below the base URL. Mangopay's version segment is part of it.
TOKEN_PATH: Final = "/v2.01/oauth/token"  # noqa: S105 - a path, not a password
#: RFC 6749 section 4.4.2; Mangopay wants no ``scope``.
REQUEST_BODY: Final = b"grant_type=client_credentials"
#: Bytes, before and after decoding. A token response has some hundred; more is no token (contract section 5.7).
BODY_LIMIT: Final = 64 * 1024
#: What :attr:`Transient.failure` says of a web page in place of a response of Mangopay's.
EDGE_PAGE: Final = "edge_page"
#: What it says if neither Mangopay nor the network has failed here: the cause is in the detail alone.
ELSEWHERE: Final = "elsewhere"
#: It answered 5xx, or 429.
SERVER_ERROR: Final = "server_error"
RATE_LIMITED: Final = "rate_limited"
#: Seconds of life of a token whose ``expires_in`` makes no sense (contract section 5.3).
DEFAULT_LIFE: Final = 300.0
#: Seconds. No token counts as living longer.
LONGEST_LIFE: Final = 86_400.0

# RFC 6750 section 2.1 allows fewer (b64token); what matters is that one header line can carry it.
_ACCESS_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
#: RFC 6749 section 5.2. Only these are repeated in messages: any other word is the server's own, and not shown.
_ERROR_CODES: Final = frozenset({
    "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type",
    "invalid_scope",
})  # fmt: skip


class Refusal(StrEnum):
    """Why Mangopay gives out no token until a person changes something."""

    CREDENTIALS = "credentials"  # 401: the ClientId or the API key
    FORBIDDEN = "forbidden"  # 403: usually the address that the call came from
    CERTIFICATE = "certificate"  # a TLS alert about the client certificate
    REQUEST = "request"  # any other 4xx


#: The statuses that say enough by themselves.
_REFUSALS: Final = {401: Refusal.CREDENTIALS, 403: Refusal.FORBIDDEN}


class Pause(msgspec.Struct, frozen=True):
    """How long to keep quiet, as a shared store has decided it for all its sidecars (moments of ``Clock.now``)."""

    #: When Mangopay said no for the first of ``count`` consecutive times.
    since: float
    until: float
    #: Consecutive times that Mangopay said no.
    count: int


class Fetched(msgspec.Struct, frozen=True):
    """A token. Its life of ``expires_in`` seconds counts from ``sent_at``, when it was asked for (``Clock.now``)."""

    value: Secret
    expires_in: float
    sent_at: float
    #: Sentences about what was odd in the response, without any of its values.
    warnings: tuple[str, ...] = ()
    #: It comes from a shared store: another sidecar asked for it.
    shared: bool = False


class LockedOut(msgspec.Struct, frozen=True):
    """Mangopay has locked the account for a while; ``retry_after`` in seconds if it said for how long.

    In this and the next two a ``pause`` has been decided already, and ``retry_after`` is part of it.
    """

    detail: str
    retry_after: float | None = None
    pause: Pause | None = None


class Refused(msgspec.Struct, frozen=True):
    """Mangopay does not accept these credentials; asking again changes nothing."""

    refusal: Refusal
    detail: str
    retry_after: float | None = None
    pause: Pause | None = None


class Transient(msgspec.Struct, frozen=True):
    """No token this time; asking again may help. ``detail`` holds nothing from the server but a ``CF-Ray``."""

    detail: str
    retry_after: float | None = None
    #: How the network failed, or one of the words above; None: what responded gave no token, and no error of its own.
    failure: FailureKind | Literal["edge_page", "elsewhere", "server_error", "rate_limited"] | None = None
    pause: Pause | None = None


FetchResult = Fetched | LockedOut | Refused | Transient


class TokenResponse(msgspec.Struct, frozen=True):
    """The token endpoint's response as it came, which :func:`read_response` judges. Its repr shows no foreign text."""

    status: int
    #: Names in lower case; the first value of each.
    headers: Mapping[str, str]
    #: As received, :data:`BODY_LIMIT` bytes and a little more at most. It holds the token.
    body: bytes
    #: When its head arrived (Unix seconds, by this machine's clock).
    wall: float
    #: The body was read to its end, or past the limit.
    complete: bool = True

    def __repr__(self) -> str:
        return f"TokenResponse(status={self.status!r}, wall={self.wall!r}, complete={self.complete!r})"

    @property
    def retry_after(self) -> float | None:
        """The seconds that ``Retry-After`` asks for; None if it asks for nothing."""
        return read_retry_after(self.headers.get("retry-after"), date=self.headers.get("date"), wall=self.wall)

    @property
    def document(self) -> bytes | None:
        """The body without its content coding and BOM; None if the coding cannot be undone."""
        decoded = decode_content(self.body, self.headers.get("content-encoding", ""), limit=BODY_LIMIT)
        return None if decoded is None else decoded.removeprefix(BOM)


def request_headers(client_id: str, api_key: Secret) -> tuple[tuple[str, str], ...]:
    """Return the headers of the token request that depend on us: Basic credentials (RFC 7617, UTF-8) and the form.

    Mangopay takes id and key as they are, not form-encoded first as RFC 6749
    section 2.3.1 would have it.
    """
    credentials = base64.b64encode(f"{client_id}:{api_key.reveal()}".encode()).decode("ascii")
    return (
        ("Authorization", f"Basic {credentials}"),
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Accept", "application/json"),
        ("Accept-Encoding", "identity"),
    )


def read_response(response: TokenResponse, *, sent_at: float) -> FetchResult:
    """Return what the token endpoint's response means; see the table above. ``sent_at``: ``Clock.now``."""
    status, retry_after, document = response.status, response.retry_after, response.document
    if _is_page(response, document):
        return Transient(_describe_page(response), retry_after, EDGE_PAGE)
    if 200 <= status < 300:
        return _read_token(document, retry_after, sent_at)
    if not 400 <= status < 500 or status in (408, 429):
        if status == 429:
            return Transient(f"status {status}", retry_after, RATE_LIMITED)
        return Transient(f"status {status}", retry_after, SERVER_ERROR if 500 <= status < 600 else None)
    error = _read_error(document)
    detail = f"status {status}, {error}" if error in _ERROR_CODES else f"status {status}"
    if status == 400 and error == "unauthorized_client":
        return LockedOut(detail, retry_after)
    if error is None and status not in _REFUSALS:
        return Transient(f"{detail}, without an error of Mangopay's", retry_after)
    return Refused(_REFUSALS.get(status, Refusal.REQUEST), detail, retry_after)


def _is_page(response: TokenResponse, document: bytes | None) -> bool:
    content_type = response.headers.get("content-type", "")
    if response.complete and not response.body:
        return False  # whatever its headers announce
    if document is None or not (document or response.complete):
        return is_html_type(content_type)  # what was announced cannot be looked at
    return is_page(content_type, document)


def _describe_page(response: TokenResponse) -> str:
    ray = read_cf_ray(response.headers.get("cf-ray"))
    return (
        f"status {response.status} with a page of the edge before Mangopay, or of a gateway, "
        f"{'without a CF-Ray' if ray is None else f'CF-Ray {ray}'}"
    )


def is_access_token(value: str) -> bool:
    """Whether a header line can carry ``value``."""
    return _ACCESS_TOKEN.fullmatch(value) is not None


def _read_token(document: bytes | None, retry_after: float | None, sent_at: float) -> Fetched | Transient:
    if document is None:
        return Transient("the response's content coding cannot be undone", retry_after)
    response = _read_object(document)
    if response is None:
        return Transient("the answer is no JSON object", retry_after)
    value = response.get("access_token")
    if not isinstance(value, str) or not is_access_token(value):
        return Transient("the answer's access_token is not a string that a header can carry", retry_after)
    # RFC 6749 section 5.1 requires token_type, and has it compared without case. One that is
    # missing harms nobody; one of another kind would be used wrongly.
    token_type = response.get("token_type", "Bearer")
    if not isinstance(token_type, str) or token_type.lower() != "bearer":
        return Transient("the answer's token_type is not Bearer", retry_after)
    expires_in, warning = read_expires_in(response.get("expires_in"))
    return Fetched(Secret(value), expires_in, sent_at, (warning,) if warning else ())


def read_expires_in(value: object) -> tuple[float, str | None]:
    """Return a token's life in seconds, and a warning if ``expires_in`` was odd (contract section 5.3)."""
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = float(value)
    if value is None:
        return DEFAULT_LIFE, "expires_in is missing: 300 s assumed"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return DEFAULT_LIFE, "expires_in is not a number: 300 s assumed"
    if value <= 0:
        return DEFAULT_LIFE, "expires_in is zero or negative: 300 s assumed"
    if value > LONGEST_LIFE:
        return LONGEST_LIFE, "expires_in is over a day: a day assumed"
    return float(value), None


def _read_error(document: bytes | None) -> str | None:
    """Return the ``error`` of RFC 6749 section 5.2; None if there is none, empty if it is no string.

    It may be any text: only those of _ERROR_CODES are repeated.
    """
    response = _read_object(document) if document else None
    error = None if response is None else response.get("error")
    return error if isinstance(error, str | None) else ""


def _read_object(body: bytes) -> dict[str, Any] | None:
    """Return a JSON object; None if ``body`` is anything else, over-long or nested without end."""
    if len(body) > BODY_LIMIT:
        return None
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
