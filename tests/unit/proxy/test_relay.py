"""What a caller gets of a response, to the byte, and what the call's record says of it (contract section 4.4)."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from sidecar.core.errors import ErrorCode, Outcome
from sidecar.core.resend import FailureKind
from sidecar.downstream.response import AlreadySent
from sidecar.downstream.response_writer import ResponseWriter
from sidecar.proxy.call import Call
from sidecar.proxy.relay import relay_stream, relay_whole
from sidecar.proxy.upstream_response import UpstreamResponse
from sidecar.telemetry.record import CallRecord
from sidecar.upstream.errors import before_a_byte
from tests.support.arriving import HEAD, Link, arriving, framed
from tests.support.clock import FakeClock
from tests.support.in_memory import MemoryTransport


class World:
    """A call, and what its caller receives."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        deadlines: Any = SimpleNamespace()  # nobody is waited for
        transport = MemoryTransport(asyncio.Protocol(), self.writes.append)
        self.writer = ResponseWriter(transport, deadlines, on_unix_socket=False)
        caller: Any = SimpleNamespace(task=None, writer=self.writer)
        self.record = CallRecord("id", 0.0, "GET", "/")
        self.call = Call("GET", caller, self.record, FakeClock())


def whole(body: bytes, content_length: int | None) -> UpstreamResponse:
    return UpstreamResponse(200, HEAD, body, None, has_body=True, content_length=content_length)


# --- in hand ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("body", "sent"), [(b"", b"0\r\n\r\n"), (b"hi", b"2\r\nhi\r\n0\r\n\r\n")])
def test_a_whole_body_without_a_length_ends_once(body: bytes, sent: bytes) -> None:
    """A second end would be read as the beginning of the next response."""
    world = World()
    told = relay_whole(world.call, whole(body, None), http10=False, keep_alive=True)
    head = b"HTTP/1.1 200 Fine\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert (told.head, told.body, told.keep_alive) == (head, sent, True)
    assert (world.record.status, world.record.bytes_out) == (200, len(body))


def test_how_a_call_was_mended_stands_between_upstreams_lines_and_those_of_the_connection() -> None:
    world = World()
    world.record.add_recovered("token")
    world.record.add_recovered("idempotency")
    told = relay_whole(world.call, whole(b"hi", 2), http10=False, keep_alive=False)
    head = b"HTTP/1.1 200 Fine\r\nX-A: b\r\nX-Sidecar-Recovered: token, idempotency\r\nConnection: close\r\n\r\n"
    assert (told.head, told.body, told.keep_alive) == (head, b"hi", False)


# --- as it comes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("keep_alive", "line"), [(True, b""), (False, b"Connection: close\r\n")])
async def test_what_was_read_already_is_passed_on_and_counted_with_what_comes(keep_alive: bool, line: bytes) -> None:
    world, link = World(), Link()
    rest = arriving(link, framed(3), b"l", b"lo")
    response = UpstreamResponse(200, HEAD, b"he", rest, has_body=True, content_length=5)
    told = await relay_stream(world.call, response, http10=False, keep_alive=keep_alive)
    assert isinstance(told, AlreadySent)
    assert told.keep_alive is keep_alive
    assert b"".join(world.writes) == b"HTTP/1.1 200 Fine\r\nX-A: b\r\n%b\r\nhello" % line
    assert not world.writer.unfinished
    assert (world.record.status, world.record.bytes_out, world.record.error) == (200, 5, None)
    assert (response.rest, link.finished) == (None, 1)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (FailureKind.TIMEOUT, ErrorCode.UPSTREAM_TIMEOUT),
        (FailureKind.LOST, ErrorCode.UPSTREAM_UNREACHABLE),
        (FailureKind.BROKEN, ErrorCode.UPSTREAM_UNREACHABLE),
    ],
)
async def test_one_that_breaks_off_stays_unfinished_promises_nothing_and_leaves_the_reason_in_the_log(
    kind: FailureKind, code: ErrorCode
) -> None:
    world, link = World(), Link()
    rest = arriving(link, framed(5, 5), b"he", failure=before_a_byte(kind, "for the log"))
    response = UpstreamResponse.of(rest)
    told = await relay_stream(world.call, response, http10=False, keep_alive=True)
    assert isinstance(told, AlreadySent)
    assert told.keep_alive is False
    assert b"".join(world.writes) == b"HTTP/1.1 200 Fine\r\nX-A: b\r\n\r\nhe"
    assert world.writer.unfinished
    record = world.record
    assert (record.status, record.source, record.bytes_out) == (200, "upstream", 2)
    assert (record.error, record.outcome, record.detail) == (code, Outcome.UNKNOWN, "for the log")
    assert (response.rest, link.finished) == (None, 1)
