"""What a port's connections may hold together: who is ended when it is too much, and what the reader gives up."""

from __future__ import annotations

from typing import Any

from sidecar.core.shared_memory import CALLS, HEADS, UNSENT, SharedMemory
from sidecar.downstream.memory import ConnectionMemory
from sidecar.downstream.request_reader import Event, RequestReader
from sidecar.turns import Turns

_LARGE = b"GET /a HTTP/1.1\r\nHost: localhost\r\n" + b"X-Large: " + b"a" * 7000 + b"\r\n\r\n"


class _Ended:
    def __init__(self) -> None:
        self.ended = False

    def abort(self) -> None:
        self.ended = True

    cut = abort


class _Source:
    def pause_reading(self) -> None:
        """Stop."""

    def resume_reading(self) -> None:
        """Go on."""


def _reader(calls: SharedMemory[Any]) -> RequestReader:
    return RequestReader(_Source(), Turns(), lambda _: None, calls)


def test_the_oldest_unproven_head_goes_and_a_proven_one_stays() -> None:
    memory = ConnectionMemory()
    proven, old, new = _Ended(), _Ended(), _Ended()
    memory.hold_head(proven, HEADS // 2, proven=True)
    memory.hold_head(old, HEADS // 2, proven=False)
    assert not old.ended
    memory.hold_head(new, 1, proven=False)
    assert (proven.ended, old.ended, new.ended) == (False, True, False)
    memory.release_head(new)


def test_the_caller_that_waits_longest_is_cut_off() -> None:
    memory = ConnectionMemory()
    old, new = _Ended(), _Ended()
    memory.hold_unsent(old, UNSENT, proven=False)
    assert not old.ended
    memory.hold_unsent(new, 1, proven=False)
    assert (old.ended, new.ended) == (True, False)
    memory.release_unsent(new)


async def test_a_head_for_which_there_is_no_room_counts_as_unread() -> None:
    """So its connection lingers: a close would reset it, and may destroy the response before on its way."""
    reader = _reader(SharedMemory(0))
    assert reader.feed(b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n") is Event.REQUEST
    reader.take()
    assert reader.feed(b"GET /b HTTP/1.1\r\n") is Event.HEAD
    reader.hold_head()
    assert reader.finish()
    assert reader.has_unread
    assert reader.sealed


async def test_a_large_head_finds_room_and_gives_it_back() -> None:
    calls: SharedMemory[Any] = SharedMemory(CALLS)
    reader = _reader(calls)
    assert reader.feed(_LARGE) is Event.REQUEST
    reader.take()
    assert calls.used == len(_LARGE)
    assert reader.finish()
    assert calls.used == 0
    assert reader.feed(_LARGE) is Event.REQUEST  # by a parser that is new


async def test_a_large_head_without_room_is_refused_as_overloaded() -> None:
    calls: SharedMemory[Any] = SharedMemory(len(_LARGE) - 1)
    reader = _reader(calls)
    assert reader.feed(_LARGE) is Event.REFUSED
    assert reader.failure is not None
    assert (reader.failure.code, reader.failure.outcome, reader.failure.__traceback__) == (
        "overloaded",
        "not-sent",
        None,
    )


async def test_what_comes_behind_a_request_is_forgotten_if_there_is_no_room_and_the_request_stays() -> None:
    calls: SharedMemory[Any] = SharedMemory(1000)
    reader = _reader(calls)
    assert reader.feed(b"GET /b HTTP/1.1\r\nHost: localhost\r\n\r\n" + _LARGE[:-2]) is Event.REQUEST
    assert (len(reader.requests), reader.sealed, reader.heads.pending) == (1, True, b"")
    reader.take()
    reader.finish()
    assert calls.used == 0


async def test_a_large_head_counts_for_as_long_as_it_is_served_whatever_comes_behind_it() -> None:
    calls: SharedMemory[Any] = SharedMemory(len(_LARGE) + 100)
    reader = _reader(calls)
    assert reader.feed(_LARGE) is Event.REQUEST
    reader.take()
    assert reader.feed(_LARGE[:200]) is Event.HEAD
    reader.hold_head()
    assert (calls.used, reader.sealed) == (len(_LARGE), True)
    assert _reader(calls).feed(_LARGE) is Event.REFUSED
    assert calls.used == len(_LARGE)
    reader.finish()
    assert calls.used == 0


async def test_a_large_head_is_parsed_whole_however_it_is_cut() -> None:
    for size in (1, 100, 4096, 5000):
        reader = _reader(SharedMemory(CALLS))
        events = [reader.feed(_LARGE[start : start + size]) for start in range(0, len(_LARGE), size)]
        assert set(events[:-1]) <= {Event.HEAD}
        assert events[-1] is Event.REQUEST
        (message, _) = reader.take()
        assert dict(message.raw_headers)[b"X-Large"] == b"a" * 7000
