"""The writing end of a connection, without a socket: pace, 100 Continue, and how a response is cut."""

from __future__ import annotations

import asyncio
import math
import socket
import struct
from types import SimpleNamespace
from typing import Any

import pytest

from sidecar.downstream.errors import CallerGoneError
from sidecar.downstream.memory import ConnectionMemory
from sidecar.downstream.response import AlreadySent, RawResponse, ResponseStream
from sidecar.downstream.response_writer import ResponseWriter
from tests.support.proxy_port import listen_limits

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class _Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.options: list[tuple[int, int, bytes]] = []
        self.unsent = 0
        self.closed = False

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = True

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        assert name == "socket"
        return SimpleNamespace(setsockopt=lambda *option: self.options.append(option))


def _writer(*, on_unix_socket: bool = False) -> tuple[ResponseWriter, _Transport]:
    transport = _Transport()
    limits = listen_limits(body_timeout=30.0)
    deadlines = SimpleNamespace(limits=limits, next_deadline_base=1000.0, memory=ConnectionMemory())
    return ResponseWriter(transport, deadlines, on_unix_socket=on_unix_socket), transport


# --- 100 Continue ----------------------------------------------------------------------------------------------------


def test_100_continue_is_written_once_a_request_and_is_no_response() -> None:
    writer, transport = _writer()
    writer.send_continue()
    writer.send_continue()
    assert (transport.writes, writer.started) == ([_CONTINUE], False)
    writer.begin()
    writer.send_continue()
    assert transport.writes == [_CONTINUE] * 2


def test_100_continue_is_not_written_behind_a_response_nor_to_a_closing_connection() -> None:
    writer, transport = _writer()
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    writer.send_continue()
    assert len(transport.writes) == 1
    writer.begin()
    transport.closed = True
    writer.send_continue()
    assert len(transport.writes) == 1


# --- writing ---------------------------------------------------------------------------------------------------------


def test_a_caller_that_left_is_not_written_to() -> None:
    writer, transport = _writer()
    transport.closed = True
    with pytest.raises(CallerGoneError):
        writer.write(b"x")
    assert (writer.started, transport.writes) == (False, [])


def test_a_small_response_leaves_in_one_write_and_a_large_one_is_not_copied() -> None:
    writer, transport = _writer()
    RawResponse(b"head", b"body", True).write_to(writer)
    assert transport.writes == [b"headbody"]
    RawResponse(b"head", b"x" * 65_537, True).write_to(writer)
    assert transport.writes[1:] == [b"head", b"x" * 65_537]
    AlreadySent(keep_alive=True).write_to(writer)
    assert len(transport.writes) == 3


async def test_a_stream_is_unfinished_from_its_head_to_its_end() -> None:
    writer, transport = _writer()
    stream = ResponseStream(writer, chunked=True)
    stream.start(b"head", b"ab")
    assert (writer.started, writer.unfinished) == (True, True)
    await stream.write(b"")
    await stream.write(b"c" * 17)
    stream.finish()
    assert (writer.started, writer.unfinished) == (True, False)
    assert transport.writes == [b"head2\r\nab\r\n", b"11\r\n" + b"c" * 17 + b"\r\n", b"0\r\n\r\n"]
    writer.begin()
    assert (writer.started, writer.unfinished) == (False, False)


# --- pace ------------------------------------------------------------------------------------------------------------


async def test_drain_waits_until_the_transport_has_room_and_has_a_deadline_meanwhile() -> None:
    writer, transport = _writer()
    await writer.drain()  # nothing to wait for
    writer.paused, transport.unsent = True, 100
    draining = asyncio.ensure_future(writer.drain())
    await asyncio.sleep(0)
    assert (draining.done(), writer.deadline) == (False, 1030.0)
    writer.resume()
    await draining
    assert (writer.paused, writer.deadline) == (False, math.inf)


async def test_a_caller_that_took_something_gets_as_long_again_and_one_that_did_not_is_cut() -> None:
    writer, transport = _writer()
    writer.paused, transport.unsent = True, 100
    draining = asyncio.ensure_future(writer.drain())
    await asyncio.sleep(0)
    transport.unsent = 99
    writer.overdue()
    assert (transport.closed, writer.deadline) == (False, 1030.0)
    writer.overdue()
    assert transport.closed
    writer.lost()
    with pytest.raises(CallerGoneError):
        await draining
    with pytest.raises(CallerGoneError):
        await writer.drain()


async def test_a_caller_that_takes_too_little_on_average_is_cut_in_the_end() -> None:
    """It takes something before each look."""
    writer, transport = _writer()
    deadlines = writer._deadlines
    writer.paused, transport.unsent = True, 100
    draining = asyncio.ensure_future(writer.drain())
    await asyncio.sleep(0)
    for _ in range(29):
        deadlines.next_deadline_base += 1.0
        transport.unsent -= 1
        writer.overdue()
        assert not transport.closed
    deadlines.next_deadline_base += 1.0
    transport.unsent -= 1
    writer.overdue()  # a moment is left for the 30 bytes
    deadlines.next_deadline_base += 1.0
    transport.unsent -= 1
    writer.overdue()
    assert transport.closed
    writer.lost()
    with pytest.raises(CallerGoneError):
        await draining


async def _wait(writer: ResponseWriter, transport: _Transport, seconds: float, taken: int) -> float:
    """Have a caller take ``taken`` bytes in a wait of ``seconds``; return for how long it would have been waited."""
    base = writer._deadlines.next_deadline_base
    writer.paused, transport.unsent = True, 100_000
    draining = asyncio.ensure_future(writer.drain())
    await asyncio.sleep(0)
    patience = writer.deadline - base
    writer._deadlines.next_deadline_base = base + seconds
    transport.unsent -= taken
    writer.resume()
    await draining
    return patience


async def test_all_waits_of_one_response_count_together() -> None:
    writer, transport = _writer()
    assert await _wait(writer, transport, 25.0, 10 * 1024) == 30.0
    assert await _wait(writer, transport, 5.0, 1024) == 15.0
    assert await _wait(writer, transport, 1.0, 0) == 11.0
    writer.begin()
    assert await _wait(writer, transport, 1.0, 0) == 30.0


async def test_a_drain_that_was_cancelled_leaves_no_deadline() -> None:
    writer, _ = _writer()
    writer.paused = True
    draining = asyncio.ensure_future(writer.drain())
    await asyncio.sleep(0)
    draining.cancel()
    await asyncio.wait([draining])
    assert writer.deadline == math.inf
    writer.resume()


# --- cutting ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("on_unix_socket", [False, True])
def test_a_cut_resets_tcp_and_closes_a_unix_socket(on_unix_socket: bool) -> None:
    writer, transport = _writer(on_unix_socket=on_unix_socket)
    writer.cut()
    reset = (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert (transport.closed, transport.options) == (True, [] if on_unix_socket else [reset])


def test_nothing_is_cut_that_is_gone() -> None:
    writer, transport = _writer()
    writer.lost()
    writer.cut()
    assert (transport.closed, transport.options) == (False, [])
