"""What a case of the threat suite is made of: bytes that are sent, and what must come of them.

A case says three things, each to the byte: what the caller gets, whether the
connection may go on, and what upstream received. So a table of cases reads::

    ROWS = (
        row("cl-te", post(b"Content-Length: 6", CHUNKED, body=b"0\\r\\n\\r\\nX"), REFUSED),
        row("dot-dot", get(b"/v2.01/../users"), refused()),
        row("plain", get(b"/v2.01/acme/users"), AS_SENT),
    )
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from sidecar.core.errors import STATUS, ErrorCode
from tests.support.recording_upstream import API_TOKEN, Received, Reply, echo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# --- requests --------------------------------------------------------------------------------------------------------

USERS: Final = b"/v2.01/acme/users"
PAY: Final = b"/v2.01/acme/transfers"

CHUNKED: Final = b"Transfer-Encoding: chunked"
#: No case may ever bring this request to upstream.
SMUGGLED: Final = b"GET /v2.01/acme/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"


def request(line: bytes, *fields: bytes, body: bytes = b"", host: bytes | None = b"Host: localhost") -> bytes:
    """Return a request line, fields and body, joined as RFC 9112 says; ``host`` may be None for none."""
    return b"\r\n".join((line, *(() if host is None else (host,)), *fields, b"", b"")) + body


def get(target: bytes = USERS, *fields: bytes) -> bytes:
    """Return a plain GET."""
    return request(b"GET %b HTTP/1.1" % target, *fields)


def post(*fields: bytes, body: bytes = b"", target: bytes = PAY) -> bytes:
    """Return a POST with exactly these fields: its framing is up to the caller."""
    return request(b"POST %b HTTP/1.1" % target, *fields, body=body)


def sized(body: bytes, *fields: bytes, target: bytes = PAY) -> bytes:
    """Return a POST that is framed by its length."""
    return post(*fields, b"Content-Length: %d" % len(body), body=body, target=target)


def chunked(chunks: bytes, *fields: bytes) -> bytes:
    """Return a chunked POST; ``chunks`` is everything after the head."""
    return post(*fields, CHUNKED, body=chunks)


# --- what upstream has to receive ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Forwarded:
    """A request as upstream must receive it: ``Host`` comes first, then ``fields``, framing and ``Authorization``."""

    line: bytes
    fields: tuple[bytes, ...] = ()
    body: bytes = b""
    chunked: bool = False
    #: Whether an empty body is said to be empty: the methods of which servers expect one.
    says_empty: bool = False
    token: bytes = API_TOKEN

    def received(self, host: bytes) -> Received:
        """Return the bytes; ``host`` is what the Host field says."""
        framing: tuple[bytes, ...] = ()
        if self.chunked:
            framing = (CHUNKED,)
        elif self.body or self.says_empty:
            framing = (b"Content-Length: %d" % len(self.body),)
        fields = (*self.fields, *framing, b"Authorization: Bearer " + self.token)
        return Received(b"\r\n".join((self.line, b"Host: " + host, *fields, b"", b"")), self.body)


def up(line: bytes, *fields: bytes, body: bytes = b"") -> Forwarded:
    """Return what upstream receives of a request with this request line."""
    return Forwarded(line, fields, body, says_empty=line.split(b" ")[0] in {b"POST", b"PUT", b"PATCH"})


def as_sent(sent: bytes) -> Forwarded:
    """Return what upstream receives of a well-formed request that passes untouched."""
    head, _, body = sent.partition(b"\r\n\r\n")
    line, *lines = head.split(b"\r\n")
    remade = (b"host:", b"content-length:", b"transfer-encoding:", b"authorization:")
    return up(line, *(each for each in lines if not each.lower().startswith(remade)), body=body)


# --- what the caller has to get --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Refusal:
    """A response of the sidecar's own."""

    code: ErrorCode = ErrorCode.BAD_REQUEST
    outcome: bytes = b"not-sent"

    @property
    def status(self) -> int:
        return STATUS[self.code]


@dataclass(frozen=True, slots=True)
class Echo:
    """Upstream's own response to the ``index``-th request that it received, byte for byte."""

    index: int = 0


@dataclass(frozen=True, slots=True)
class Exactly:
    """These bytes."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Begins:
    """A head that begins with ``status_line``, then a body that never ends cleanly."""

    status_line: bytes = b"HTTP/1.1 200 "


@dataclass(frozen=True, slots=True)
class Broken:
    """A 502 if none of the response was passed on yet, else what :class:`Begins` says: it depends on who is faster."""


@dataclass(frozen=True, slots=True)
class LocalToken:
    """A token of the sidecar's own."""


@dataclass(frozen=True, slots=True)
class About:
    """What the port says that it is."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """The connection is closed without a word."""


ExpectedResponse = Refusal | Echo | Exactly | Begins | Broken | LocalToken | About | Nothing


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that must come of a case."""

    responses: tuple[ExpectedResponse, ...]
    #: None: the one request, as it was sent.
    forwarded: tuple[Forwarded, ...] | None = ()
    #: The connection is closed after the last response, from the sidecar's side.
    closes: bool = False


AS_SENT: Final = Outcome((Echo(),), None)
#: Forwarded as it was sent, and the connection is closed after the response.
AS_SENT_LAST: Final = Outcome((Echo(),), None, closes=True)
#: Framing is in doubt: nothing is forwarded, and nothing more is read.
REFUSED: Final = Outcome((Refusal(),), closes=True)
#: The connection ends without a word, and nothing was forwarded.
SILENT: Final = Outcome((Nothing(),), closes=True)
LOCAL_TOKEN: Final = Outcome((LocalToken(),))
ABOUT: Final = Outcome((About(),))
#: A response of upstream that cannot be trusted.
BAD_GATEWAY: Final = Outcome((Refusal(ErrorCode.UPSTREAM_UNREACHABLE, b"unknown"),), None)
#: A response that breaks behind its head.
CUT: Final = Outcome((Broken(),), None, closes=True)


_BROKEN_RESPONSES: Final = (BAD_GATEWAY, CUT)


def refused(code: ErrorCode = ErrorCode.BAD_REQUEST, *, closes: bool = False) -> Outcome:
    """Nothing is forwarded; the connection stays open unless ``closes``."""
    return Outcome((Refusal(code),), closes=closes)


def forwarded(*requests: Forwarded, closes: bool = False) -> Outcome:
    """Exactly these requests reach upstream, and their responses the caller."""
    return Outcome(tuple(Echo(index) for index in range(len(requests))), requests, closes=closes)


def answered(data: bytes, *, closes: bool = False) -> Outcome:
    """The request passes as it was sent, and this response comes back."""
    return Outcome((Exactly(data),), None, closes=closes)


# --- cases -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Case:
    """One row. ``sent`` in several pieces: between two of them one response is awaited."""

    title: str
    sent: tuple[bytes, ...]
    outcome: Outcome
    #: Which of the stage's sidecars it is for.
    sidecar: str = "plain"
    #: What upstream answers, instead of an echo.
    replies: tuple[Reply, ...] = ()
    #: The caller says that it sends no more.
    half_closes: bool = False
    #: After this, upstream's connection must carry no other call.
    distrusts: bool = False
    #: Bytes that upstream sends on its idle connections once the case is over.
    injected: bytes = b""
    threat: str = field(default="", kw_only=True)

    @property
    def requests(self) -> tuple[Forwarded, ...]:
        """What upstream has to receive."""
        if self.outcome.forwarded is None:
            return (as_sent(b"".join(self.sent)),)
        return self.outcome.forwarded

    def expected(self, host: bytes) -> list[Received]:
        """Return what upstream has to receive if it is known as ``host``."""
        return [each.received(host) for each in self.requests]

    def response_to(self, index: int, host: bytes) -> bytes:
        """Return what upstream answers to a request."""
        return self.replies[index].data if index < len(self.replies) else echo(self.expected(host)[index])


def row(
    title: str,
    sent: bytes | tuple[bytes, ...],
    outcome: Outcome,
    *,
    on: str = "plain",
    replies: Iterable[bytes | Reply] = (),
    half_closes: bool = False,
    distrusts: bool = False,
    injected: bytes = b"",
) -> Case:
    """Return a row of a table."""
    return Case(
        title,
        sent if isinstance(sent, tuple) else (sent,),
        outcome,
        on,
        tuple(Reply(each) if isinstance(each, bytes) else each for each in replies),
        half_closes,
        distrusts or outcome in _BROKEN_RESPONSES or bool(injected),
        injected,
    )


def group(threat: str, *rows: Case | Iterable[Case]) -> tuple[Case, ...]:
    """Return the rows of one threat."""
    flat: list[Case] = []
    for each in rows:
        flat.extend((each,) if isinstance(each, Case) else each)
    return tuple(replace(each, threat=threat) for each in flat)


def each(
    values: dict[str, bytes], make: Callable[[bytes], bytes], outcome: Outcome, *, on: str = "plain"
) -> list[Case]:
    """Return one row for each named value."""
    return [row(title, make(value), outcome, on=on) for title, value in values.items()]
