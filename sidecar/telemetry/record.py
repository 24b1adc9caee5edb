"""One call, as the log line, the metrics and the status page will tell it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec

from sidecar.core.http.header_index import HeaderIndex, RawHeaders, index_of, select
from sidecar.core.redact import mask_path

if TYPE_CHECKING:
    from sidecar.core.admission.lane import Lane
    from sidecar.core.deprecation import Deprecation
    from sidecar.core.error_report import ErrorReport
    from sidecar.core.errors import ErrorCode, Outcome, SidecarError
    from sidecar.core.http.trace_context import CallTrace

Source: TypeAlias = Literal["upstream", "sidecar"]
Recovery: TypeAlias = Literal["token", "connection", "idempotency"]
#: The call itself, or reading its lost response back.
Purpose: TypeAlias = Literal["call", "read_back"]

#: Crockford's base32: no letter that reads as a digit.
_DIGITS: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS: Final = tuple(high + low for high in _DIGITS for low in _DIGITS)

#: A correlation header longer than this is not kept: both known kinds are far shorter.
_MAX_CORRELATION: Final = 128
_CORRELATING: Final = frozenset((b"traceparent", b"x-request-id"))
_CORRELATION: Final = select(lambda name: name.lower() if name.lower() in _CORRELATING else b"")


class Attempt(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One attempt of a call to get a response from Mangopay. Times are seconds.

    ``result`` is the status that Mangopay answered; else why there was none:
    a word of ``FailureKind``, the ``ErrorCode`` if there was no token, ``cut``
    if the call was stopped.
    """

    #: When it began, after the call's head was there.
    at: float
    #: How long it waited for a connection, then for a token, then for Mangopay: from the request's first byte to the
    #: head of the response.
    connection: float
    token: float
    upstream: float
    result: int | str
    purpose: Purpose = "call"
    #: That of the token which the request carried; 0: there was none to write it with.
    generation: int = 0


class CallRecord(msgspec.Struct, gc=False):
    """What is known of one call. The handler fills it in while the call runs.

    It holds no body, no query and no header but the two for correlation; its
    ``path`` is masked when it is shown. Times are seconds.
    """

    #: The id of the log line and of an own error's ``Id``.
    id: str
    #: ``Clock.now()`` when the request's head was there.
    started: float
    method: str
    #: The target's path without the query, as the caller wrote it; never shown as it is.
    path: str
    #: The same as it may be shown, once it is worked out.
    masked: str = ""
    #: Status sent to the caller; 0 while there is none, and if the caller left before one.
    status: int = 0
    #: Who made the response: Mangopay ("upstream") or the sidecar.
    source: Source = "upstream"
    duration: float = 0.0
    #: When the call was over (``Clock.wall``).
    ended_at: float = 0.0
    #: From the request written to the head of upstream's response (an upload included), all attempts together.
    upstream_seconds: float = 0.0
    token_wait_seconds: float = 0.0
    #: Times that at least one byte of the request was written; 0: nothing went to Mangopay.
    deliveries: int = 0
    recovered: tuple[Recovery, ...] = ()
    #: In the order in which they ended.
    timeline: tuple[Attempt, ...] = ()
    #: Body bytes from the caller and to the caller.
    bytes_in: int = 0
    bytes_out: int = 0
    error: ErrorCode | None = None
    outcome: Outcome | None = None
    #: For the operator, never for the caller; free of secrets and request bytes.
    detail: str | None = None
    idempotency_key: str | None = None
    caller: Literal["gone"] | None = None
    #: The call ended with a 401 that a new token did not help, or that started no refresh.
    futile: bool = False
    #: The path names another ClientId than ours (contract section 4.2).
    foreign: bool = False
    #: The call's lane, if it is not the normal one, and how long it was held there.
    lane: Lane | None = None
    held_seconds: float = 0.0
    #: The path is one that Mangopay calls deprecated.
    deprecation: Deprecation | None = None
    #: What upstream's response from 400 on tells for support.
    report: ErrorReport | None = None
    #: As the caller sent it; with traces, that of the call's own span.
    traceparent: str | None = None
    caller_request_id: str | None = None
    #: The spans of the call; None without traces.
    trace: CallTrace | None = None

    @property
    def ended(self) -> float:
        """When the call was over (``Clock.now``)."""
        return self.started + self.duration

    @property
    def shown_path(self) -> str:
        """The path as it may be shown: ids masked; ``-`` if there is none, or what came is none."""
        return self.masked or (mask_path(self.path) if self.path.startswith("/") else "-")

    def add_recovered(self, how: Recovery) -> None:
        """Note that the call was recovered; each way counts once."""
        if how not in self.recovered:
            self.recovered = (*self.recovered, how)

    def failed(self, error: SidecarError) -> None:
        """Note that the sidecar ended the call with ``error``: by its own response, or by cutting upstream's short."""
        self.error = error.code
        self.outcome = error.outcome
        self.detail = error.detail
        if not self.status:
            self.status = error.status
            self.source = "sidecar"

    def traced(self, trace: CallTrace) -> None:
        """Note the call's spans; from now on its ``traceparent`` names the call's own."""
        self.trace, self.traceparent = trace, trace.traceparent

    def correlate(self, raw: RawHeaders, header_index: HeaderIndex | None = None) -> None:
        """Keep the caller's ``traceparent`` and ``X-Request-Id``, if they are short printable ASCII.

        ``raw`` is the request's raw headers, ``header_index`` theirs, where the caller has it.
        """
        for field, index in (index_of(raw) if header_index is None else header_index)[_CORRELATION]:
            value = _printable(raw[index][1])
            if field == b"traceparent":
                self.traceparent = value
            else:
                self.caller_request_id = value


def _printable(value: bytes) -> str | None:
    if not value or len(value) > _MAX_CORRELATION or not value.isascii():
        return None
    text = value.decode("ascii")
    return text if text.isprintable() else None


class RequestIds:
    """Ids that are unique among processes and cheap to make: a random prefix and a counter, in base32."""

    __slots__ = ("_block", "_low", "_prefix", "_stem")

    def __init__(self, entropy: bytes) -> None:
        """``entropy`` is at least 5 random bytes (40 bits, 8 digits of prefix)."""
        if len(entropy) < 5:
            raise ValueError("a request id's prefix needs 5 random bytes")
        self._prefix = _base32(int.from_bytes(entropy[:5]), width=8)
        self._block = 0
        self._stem = f"{self._prefix}-{_base32(0, width=4)}"
        self._low = 0

    def new(self) -> str:
        """Return the next id, ``<8 digits>-<6 or more digits>``."""
        low = self._low
        if low == len(_PAIRS):
            self._block += 1
            self._stem = f"{self._prefix}-{_base32(self._block, width=4)}"
            low = 0
        self._low = low + 1
        return self._stem + _PAIRS[low]


def _base32(number: int, *, width: int) -> str:
    digits = ""
    while number or len(digits) < width:
        number, digit = divmod(number, 32)
        digits = _DIGITS[digit] + digits
    return digits
