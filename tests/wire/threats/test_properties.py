"""What is true of every request and every response, over sockets, whatever they are made of."""

from __future__ import annotations

import re
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Final

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support.recording_upstream import API_TOKEN, Received, Reply
from tests.wire.threats.caller import Caller
from tests.wire.threats.case import CHUNKED, PAY, SMUGGLED, USERS, get, post
from tests.wire.threats.reference import Message, read_requests

if TYPE_CHECKING:
    from tests.wire.threats.play import Target
    from tests.wire.threats.stage import Harness

#: The stage is shared on purpose: what an example leaves behind is what the next one is there to find.
_SETTINGS: Final = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
_PATIENCE: Final = 10.0
#: Seconds without a byte after which a stream that nobody ends is over. Too short a time would only find less.
_SILENCE: Final = 0.02

#: Names that never go up, folded; X-Forwarded-* and Proxy-* besides.
_NEVER_UP: Final = {
    *(b"connection", b"keep-alive", b"te", b"trailer", b"upgrade", b"expect", b"cookie", b"via", b"forwarded"),
    *(b"x-real-ip", b"x-http-method-override", b"x-original-url", b"transfer-encoding"),
}


def _exchange(venue: Target, sent: bytes, *, patience: float = _PATIENCE) -> tuple[bytes, list[Received]]:
    """Send bytes, and return what came back until the end or for ``patience``, and all that upstream received."""
    venue.upstream.expect(())
    responses = b""
    with Caller(venue.port, patience) as caller:
        caller.send(sent)
        with suppress(ConnectionResetError, TimeoutError):
            while piece := caller.some():
                responses += piece
    with Caller(venue.port, _PATIENCE) as caller:
        caller.send(get(b"/v2.01/acme/probe/0"))
        assert caller.head().startswith(b"HTTP/1.1 200 OK")
    return responses, venue.upstream.take()


# --- framing ---------------------------------------------------------------------------------------------------------

_LINES: Final = (
    *(b"Content-Length: 0", b"Content-Length: 3", b"Content-Length: %d" % len(SMUGGLED), b"content-length: 3"),
    *(b"Content-Length: +3", b"Content-Length:", b"Content-Length : 3", b"Content-Length: 3, 3", b"Content-Length: 03"),
    *(CHUNKED, CHUNKED, b"transfer-encoding: Chunked", b"Transfer-Encoding: identity", b"Transfer-Encoding : chunked"),
    *(b"Transfer-Encoding:\x0bchunked", b"X: y\r\n Transfer-Encoding: chunked", b"X: y", b"X: \xe9", b"X: a\rb"),
    *(b"Connection: close", b"Connection: keep-alive, X", b"Expect: 100-continue", b"Host: localhost"),
)
_STREAM: Final = st.lists(
    st.one_of(
        st.lists(st.sampled_from(_LINES), max_size=3).map(lambda lines: post(*lines)),
        st.sampled_from(
            (get(), SMUGGLED, b"abc", b"3\r\nabc\r\n", b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"3;a=b\r\nabc\r\n")
        ),
        st.sampled_from(
            (b"\r\n", b"\n", b"0\r\n", b"3 \r\nabc\r\n", b"0x3\r\nabc\r\n", b"GET / HTTP/1.0\r\n\r\n", b"\x00")
        ),
    ),
    min_size=1,
    max_size=5,
).map(b"".join)


_NUMBERS: Final = count()
_TARGETS: Final = re.compile(rb"(/v2\.01/acme/(?:u|trans|smug))(?:sers|fers|gled)")
_NUMBERED: Final = re.compile(rb"/v2\.01/acme/(?:u|trans|smug)(\d{4})")


def _numbered(sent: bytes) -> tuple[bytes, bytes]:
    """Put an example's number into its targets, which remain as long as they are; return that as well."""
    number = b"%04d" % (next(_NUMBERS) % 10_000)
    return _TARGETS.sub(rb"\g<1>" + number, sent), number


def _is_late(received: Received, number: bytes) -> bool:
    """Say whether this belongs to an earlier example; what has no number at all belongs to this one."""
    found = _NUMBERED.search(received.head)
    return found is not None and found[1] != number


def _agrees(received: Received, message: Message) -> bool:
    """Say whether upstream received what the reference reader has read."""
    line = b"%b %b HTTP/1.1\r\n" % (message.method, message.target)
    return received.head.startswith(line) and received.body == message.body


@_SETTINGS
@given(_STREAM)
@example(post(b"Content-Length: 0") + SMUGGLED)
@example(post(CHUNKED) + b"0\r\nX: y\r\n\r\n" + SMUGGLED)
@example(get() + post(b"Content-Length: 3", CHUNKED) + b"0\r\n\r\n" + SMUGGLED)
def test_upstream_receives_no_request_that_a_strict_reader_would_not_see(stage: Harness, sent: bytes) -> None:
    """It may receive fewer: what is malformed in one packet with other requests takes them with it."""
    sent, number = _numbered(sent)
    _, received = _exchange(stage.venue("plain"), sent, patience=_SILENCE)
    received = [each for each in received if not _is_late(each, number)]
    reference = read_requests(sent)
    assert len(received) <= len(reference)
    assert all(_agrees(got, must) for got, must in zip(received, reference, strict=False)), received


# --- targets ---------------------------------------------------------------------------------------------------------

_SEGMENTS: Final = (
    *(b"/", b"/", b".", b"..", b"%2e", b"%2E", b"%2f", b"%5c", b"\\", b"%00", b"%25", b"%", b";", b"?", b"#", b"@"),
    *(
        b"v2.01",
        b"acme",
        b"oauth",
        b"token",
        b"%6fauth",
        b"users",
        b"a",
        b":",
        b"%c0%ae",
        b"127.0.0.1:{elsewhere}",
        b"//",
    ),
)


@_SETTINGS
@given(st.lists(st.sampled_from(_SEGMENTS), max_size=10).map(b"".join))
@example(b"v2.01/acme/users?")
@example(b"@127.0.0.1:{elsewhere}/")
def test_a_target_goes_up_to_the_byte_or_not_at_all(stage: Harness, tail: bytes) -> None:
    venue = stage.venue("plain")
    target = b"/" + tail.replace(b"{elsewhere}", b"%d" % venue.elsewhere.port)
    strays = venue.elsewhere.accepted
    responses, received = _exchange(venue, get(target, b"Connection: close"))
    if received:
        assert [each.head.split(b"\r\n")[0] for each in received] == [b"GET %b HTTP/1.1" % target]
        assert b"token" not in responses[:9]
    elif responses.startswith(b"HTTP/1.1 200 "):
        assert target.partition(b"?")[0] == b"/"
        assert b'"name": "mangopay-sidecar"' in responses
    else:
        refused_as = b"client_id_mismatch" if responses.startswith(b"HTTP/1.1 403 ") else b"bad_request"
        assert b"\r\nX-Sidecar-Error: %b\r\n" % refused_as in responses
    assert venue.elsewhere.accepted == strays


# --- fields ----------------------------------------------------------------------------------------------------------

_NAMES: Final = st.sampled_from(
    (
        *(b"X-A", b"x-a", b"X_A", b"Accept", b"Idempotency-Key", b"Authorization", b"Cookie", b"Via", b"Connection"),
        *(
            b"X-Forwarded-For",
            b"X_Forwarded_Host",
            b"Proxy-X",
            b"TE",
            b"Upgrade",
            b"Keep-Alive",
            b"X-Real-IP",
            b"Forwarded",
        ),
        *(b"X-HTTP-Method-Override", b"X_Original_URL", b"X-Sidecar-Note", b"Trailer", b"X A", b"", b"X\x00"),
    )
)
_VALUES: Final = st.sampled_from(
    (
        b"",
        b"1",
        b"a, b",
        b"X-A",
        b"close",
        b"keep-alive, x-a",
        b'"X-A"',
        b"Bearer x",
        b"caf\xe9",
        b"a\tb",
        b"a\rb",
        b"a\x00b",
    )
)


@_SETTINGS
@given(st.lists(st.tuples(_NAMES, _VALUES), max_size=6))
@example([(b"Connection", b"X-A"), (b"X-A", b"1"), (b"x-a", b"2"), (b"X_A", b"3")])
def test_fields_go_up_as_they_came_or_not_at_all(stage: Harness, fields: list[tuple[bytes, bytes]]) -> None:
    venue = stage.venue("plain")
    lines = [b"%b: %b" % field for field in fields]
    responses, received = _exchange(venue, get(USERS, *lines, b"Connection: close"))
    if not received:
        assert responses.startswith(b"HTTP/1.1 4")
        return
    (request,) = received
    line, host, *middle, token = request.head[:-4].split(b"\r\n")
    assert (line, host) == (b"GET %b HTTP/1.1" % USERS, b"Host: " + venue.host)
    assert token == b"Authorization: Bearer " + API_TOKEN
    remaining = iter(lines)
    assert all(each in remaining for each in middle), "lines were changed, added or moved"
    names = {each.partition(b":")[0].lower().replace(b"_", b"-") for each in middle}
    assert not names & {*_NEVER_UP, b"authorization", b"host"}
    assert not [name for name in names if name.startswith((b"x-forwarded-", b"proxy-"))]


# --- answers ---------------------------------------------------------------------------------------------------------

_RESPONSE_LINES: Final = (
    *(b"Content-Length: 3", b"Content-Length: 3", b"Content-Length: 0", b"Content-Length: 44", b"content-length: 5"),
    *(
        CHUNKED,
        b"Transfer-Encoding: foo",
        b"Transfer-Encoding: gzip, chunked",
        b"Connection: close",
        b"X: y",
        b"X: a\nb",
    ),
    *(b"X : y", b"X: a\r\n b", b"Content-Length: +3", b"X-Sidecar-Error: x"),
)
_STATUS_LINES: Final = (
    b"HTTP/1.1 200 OK",
    b"HTTP/1.1 200 OK",
    b"HTTP/1.1 204 No",
    b"HTTP/1.1 304 No",
    b"HTTP/1.1 100 Go",
)
_POISON: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON"
_RESPONSE: Final = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(_STATUS_LINES), st.lists(st.sampled_from(_RESPONSE_LINES), max_size=2)).map(
            lambda parts: b"\r\n".join((parts[0], *parts[1], b"", b""))
        ),
        st.sampled_from(
            (_POISON, b"abc", b"3\r\nabc\r\n", b"0\r\n\r\n", b"\r\n", b"zz\r\n", b"HTTP/1.1 101 X\r\n\r\n", b"\x00")
        ),
    ),
    min_size=1,
    max_size=4,
).map(b"".join)


@_SETTINGS
@given(_RESPONSE)
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc" + _POISON)
@example(b"HTTP/1.1 204 No\r\nContent-Length: 3\r\n\r\nabc" + _POISON)
def test_the_next_call_gets_its_own_response_whatever_upstream_sends(stage: Harness, response: bytes) -> None:
    venue = stage.venue("plain")
    venue.upstream.expect((Reply(response, close=True),))
    with Caller(venue.port, _PATIENCE) as caller:
        caller.send(post(b"Content-Length: 2", b"Connection: close", body=b"{}"))
        with suppress(ConnectionResetError):
            head = caller.head()
            length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
            body = caller.rest()
            assert length is None or len(body) <= int(length[1])
            assert length is not None or not body or b"chunked" in head
    with Caller(venue.port, _PATIENCE) as caller:
        caller.send(get(PAY + b"/own"))
        head = caller.head()
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        own = b"GET %b/own, 0 bytes of body" % PAY
        assert caller.exactly(len(own)) == own
